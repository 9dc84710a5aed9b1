"""A table of text as Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

NONE = "-"
"""What an empty cell shows."""


class Table(NamedTuple):
    """Cells as text, ready for any format.

    Attributes:
        head: titles of the columns.
        blocks: groups of rows, each with a title: what we ran, and what papers print.
        notes: sentences below the table.
        texts: how many of the first columns are words; the others are numbers, on the right.
    """

    head: list[str]
    blocks: list[tuple[str, list[list[str]]]]
    notes: list[str]
    texts: int = 2


def as_markdown(table: Table) -> str:
    """A table as GitHub and others show it; several blocks are told apart by rows with their titles."""
    lines = [_markdown_row(table.head), "|" + "---|" * table.texts + "---:|" * (len(table.head) - table.texts)]
    for title, rows in table.blocks:
        if len(table.blocks) > 1:
            lines.append(_markdown_row([f"**{title}**", *[""] * (len(table.head) - 1)]))
        lines += [_markdown_row(row) for row in rows]
    return "\n".join([*lines, "", *table.notes]) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}


def as_latex(table: Table) -> str:
    """A ``tabular`` without any package; notes are comments below it."""

    def escaped(text: str) -> str:
        return "".join(_LATEX.get(character, character) for character in text)

    def row(cells: Sequence[str]) -> str:
        return " & ".join(map(escaped, cells)) + r" \\"

    columns = "l" * table.texts + "r" * (len(table.head) - table.texts)
    lines = [f"\\begin{{tabular}}{{{columns}}}", r"\hline", row(table.head)]
    for title, rows in table.blocks:
        lines += [r"\hline", f"\\multicolumn{{{len(table.head)}}}{{l}}{{\\textit{{{escaped(title)}}}}} \\\\"]
        lines += [row(cells) for cells in rows]
    return "\n".join([*lines, r"\hline", r"\end{tabular}", *(f"% {note}" for note in table.notes)]) + "\n"


def as_csv(table: Table) -> str:
    """A line for each row, its block in the first column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["block", *table.head])
    writer.writerows([title, *row] for title, rows in table.blocks for row in rows)
    return text.getvalue()


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": as_markdown, "latex": as_latex, "csv": as_csv}
