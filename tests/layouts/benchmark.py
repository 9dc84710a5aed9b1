"""Benchmark files that somebody else has made: changed, with a checksum that fits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path


def resealed(path: Path, change: Callable[[str], str]) -> Path:
    """The file changed, with the checksum that belongs to it."""
    head, table = change(path.read_text()).split("# sha256: ")
    rest = table.partition("\n")[2]
    path.write_text(f"{head}# sha256: {hashlib.sha256((head + rest).encode()).hexdigest()}\n{rest}")
    return path


def shortened(path: Path, count: int, to: int) -> Path:
    """The file, of `count` lines of pairs, with the first `to` of them."""

    def first(text: str) -> str:
        lines = text.replace(f"# count: {count}", f"# count: {to}").splitlines(keepends=True)
        return "".join(lines[: len(lines) - count + to])

    return resealed(path, first)
