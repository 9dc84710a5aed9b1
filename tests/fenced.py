"""Code blocks of Markdown pages, and the command lines in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_NOT_RUN = re.compile(r"<!-- not run: .+ -->")


class Block(NamedTuple):
    """A fenced block: its language, its lines, the number of the first one, and whether it is run.

    A marker on the line before keeps it from running: ``<!-- not run: needs a GPU -->``.
    """

    language: str
    text: str
    line: int
    run: bool


def blocks(page: Path) -> Iterator[Block]:
    """The blocks fenced by three backticks, in order."""
    before, fence, lines, start = "", None, [], 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if fence is None and line.startswith("```"):
            fence, lines, start = line[3:].strip(), [], number + 1
            run = _NOT_RUN.fullmatch(before) is None
        elif fence is not None and line.startswith("```"):
            yield Block(fence, "\n".join(lines), start, run)
            fence = None
        elif fence is not None:
            lines.append(line)
        if line.strip():
            before = line.strip()


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of each simple command of a shell's script: no comments, no ``for``, ``if`` and the like."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";|&"):
                if words:
                    yield words
                words = []
            elif words or word not in ("do", "then", "else", "srun"):
                words.append(word)
