"""One word for one thing: names, docstrings, messages, configuration and docs use the field's words, and no others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INSTEAD = {
    r"visit(s|ed|ing)?": "pair iteration",
    r"seams?": "interface",
    r"journals?": "partial results",
    r"marked": "predicted foreground",
    r"evidence": "pair statistics",
    r"references": "baselines",
    r"(model|network) (in|of) the box|\bbox": "the bundled model",
    r"told|said": "reported",
    r"(go|goes|gone|going|went) on with": "resume",
    r"deciding": "image-level classifier",
    r"draws": "samples, resamples",
    r"commonness": "co-occurrence probability",
    r"so-manieth": "the n-th",
    r"none of these|raises: so|that there is not": "a plain sentence",
}
"""A pattern that must not occur, and the words for it."""
OTHERS = re.compile(r"bounding[ -]box|journal\.log|optuna\.storages\.journal|JournalFile\w+", re.IGNORECASE)
"""Words of other fields and libraries."""
EARLIER = re.compile(r"in earlier versions|EARLIER_")
"""On lines that keep a name by which files of earlier versions are still read."""
NAMES = {"each", "found", "there", "own", "more", "others", "kind", "told", "said"}
"""Names of variables that say nothing of what they hold."""
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TEXTS = [
    *SOURCES,
    *sorted((ROOT / "conf").rglob("*.yaml")),
    *sorted(path for path in (ROOT / "docs").rglob("*") if path.suffix in {".md", ".py"}),
    ROOT / "README.md",
]


def test_there_is_something_to_read() -> None:
    assert len(SOURCES) > 50 and len(TEXTS) > len(SOURCES) + 50


@pytest.mark.parametrize("pattern", INSTEAD)
def test_words(pattern: str) -> None:
    word = re.compile(rf"\b({pattern})\b", re.IGNORECASE)
    places = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if word.search(OTHERS.sub("", line).replace("_", " ")) and not EARLIER.search(line)
    ]
    assert not places, f"instead: {INSTEAD[pattern]}\n" + "\n".join(places)


def test_variables_have_names_that_mean_something() -> None:
    places = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in NAMES
            if stored or (isinstance(node, ast.arg) and node.arg in NAMES):
                places.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not places, "\n".join(places)
