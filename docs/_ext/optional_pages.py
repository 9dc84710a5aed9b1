"""Inserts the card of the bundled model into its page, and drops missing pages from the table of contents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE, PLACE = "bundled_model", "<!-- here stands the model's card when the site is built -->"
CARD = Path(__file__).resolve().parents[2] / "src" / "coseg" / "hub" / "bundled" / "README.md"

OPTIONAL = ("bundled_model", "export", "page", "tracking")
"""Pages in the table of contents that a checkout may lack."""


def body(card: str) -> str:
    """A model card without its metadata block, with headings one level deeper."""
    text = re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)
    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else re.sub(r"^#", "##", part, flags=re.MULTILINE) for part in parts)


def fill(app: Any, name: str, source: list[str]) -> None:
    """Insert the card into its page when Sphinx reads it."""
    if name == PAGE:
        source[0] = source[0].replace(PLACE, body(CARD.read_text(encoding="utf-8")))
    if name == app.config.root_doc:
        lacking = [page for page in OPTIONAL if page not in app.env.found_docs]
        source[0] = "\n".join(line for line in source[0].splitlines() if line not in lacking)


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("source-read", fill)
    app.connect("env-get-outdated", lambda app, env, added, changed, removed: [app.config.root_doc])
    return {"parallel_read_safe": True, "parallel_write_safe": True}
