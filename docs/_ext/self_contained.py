"""Fails the build if a page loads scripts, styles, fonts or images from another machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*?\bsrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b[^>]*?\bhref=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|@import\s+(?:url\()?["']?((?:https?:)?//[^"'\s)]+)"""
    r"""|\burl\(\s*["']?((?:https?:)?//[^"'\s)]+)""",
    re.IGNORECASE,
)


def outside(text: str) -> list[str]:
    """The addresses on other machines that a page or a style sheet loads; ordinary links do not count."""
    return [next(filter(None, found.groups())) for found in _LOADED.finditer(text)]


def check(app: Any, error: Exception | None) -> None:
    """Check all pages that were built."""
    from sphinx.errors import ExtensionError

    if error is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    files = [*folder.rglob("*.html"), *folder.rglob("*.css")]
    found = {f"{path.relative_to(folder)}: {each}" for path in files for each in outside(path.read_text("utf-8"))}
    if found:
        raise ExtensionError("pages load what is on other machines:\n" + "\n".join(sorted(found)))


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
