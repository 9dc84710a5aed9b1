"""Tables of results beside published scores, and tables of text as Markdown, LaTeX or CSV.

Every row says whether we ran it or a paper prints it.

A column is one test: the same images, pairs, protocol and rule for void. So a score on a part of a data set, or by
another protocol, has a column of its own, and published scores stand in ours only where the images are the same and no
other protocol is known to have been used.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from coseg.errors import CosegError, unknown_choice
from coseg.metrics import COSOD_MEANS, SCORES
from coseg.reports.collect import (
    PROTOCOL,
    PublishedScores,
    PublishedTest,
    Result,
    Tested,
    names,
    published_scores,
    titles,
)
from coseg.reports.results import COSOD

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
    """A table as GitHub and others show it; rows with their titles separate several blocks."""
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


RAN, RAN_OTHERWISE = "Ran", "Ran on other images or by another protocol"
PUBLISHED, PUBLISHED_OTHERWISE = "Published", "Published, by another protocol"


def score_table(results: Sequence[Result], score: str = "jaccard") -> Table:
    """One score of each model on each test, with its interval where there is one, beside what papers print.

    Raises:
        CosegError: there is no such score.
    """
    if score not in SCORES:
        raise unknown_choice("--score", score, SCORES)
    published = published_scores()
    tests = titles(results)
    heads: dict[Hashable, str] = {test: title for test, title in tests.items()}
    columns = _published_columns(list(tests), published, score)
    for (key, protocol), column in columns.items():
        title = published.tests[key].title
        heads.setdefault(column, f"{title}, as printed" if protocol == PROTOCOL else f"{title}, {protocol}, as printed")
    rows: dict[tuple[str, str], dict[Hashable, str]] = {}
    for name, result in zip(names(results), results, strict=True):
        ends = result.values["intervals"].get(score)
        cells = rows.setdefault((name, result.origin), {})
        while result.test in cells:  # the same model, run and weights, tested twice: a row each
            name += " (again)"
            cells = rows.setdefault((name, result.origin), {})
        cells[result.test] = _percent(result.values[score], ends)
    blocks = [(RAN, [[*row, *(cells.get(head, NONE) for head in heads)] for row, cells in rows.items()])]
    if columns:
        lines = []
        for method in published.methods.values():
            at = published.column(method)
            printed = {columns[key, at]: value for key, value in method.scores.items() if (key, at) in columns}
            cells = {column: _printed(value) for column, value in printed.items()}
            if set(cells.values()) - {NONE}:
                lines.append([method.title, published.origin(method), *(cells.get(head, NONE) for head in heads)])
        blocks.append((PUBLISHED, lines))
    notes = [f"{score}, in per cent; in brackets 95 % intervals by bootstrap over images."]
    if columns:
        notes.append("Published scores are as each paper computes them; protocols differ.")
    return Table(["method", "origin", *heads.values()], [block for block in blocks if block[1]], notes)


def _published_columns(
    measured: Sequence[Tested], published: PublishedScores, score: str
) -> dict[tuple[str, str], Hashable]:
    """The column of each published test by each protocol: ours, where exactly one of our tests is comparable."""
    columns: dict[tuple[str, str], Hashable] = {}
    for key, test in published.tests.items():
        for protocol in published.protocols:
            printed = published.protocols[protocol].score
            methods = [method for method in published.methods.values() if published.column(method) == protocol]
            # A table of `jaccard` shows all that is printed; of another score, only the same score.
            if score not in ("jaccard", printed) or all(method.scores[key] is None for method in methods):
                continue
            ours = [tested for tested in measured if printed == score and is_comparable(tested, test, protocol)]
            columns[key, protocol] = ours[0] if len(ours) == 1 else (key, protocol)
    return columns


def is_comparable(tested: Tested, test: PublishedTest, protocol: str = PROTOCOL) -> bool:
    """Whether we tested everything that papers test, by `protocol`."""
    return (
        (tested.dataset, tested.split) == (test.dataset, test.split)
        and tested.complete
        and tested.images == (test.images or tested.images)
        and tested.protocol == protocol
        and tested.void == "background"
    )


def class_table(results: Sequence[Result]) -> Table:
    """The mean IoU of each class in each of the results."""
    classes = list(dict.fromkeys(name for result in results for name in result.values["per_class"]))
    tests = titles(results)
    heads = [f"{name}, {tests[result.test]}" for name, result in zip(names(results), results, strict=True)]
    rows = [
        [name, *cells]
        for name in classes
        if set(cells := [_percent(result.values["per_class"].get(name)) for result in results]) != {NONE}
    ]
    means = ["mean", *(_percent(result.values["jaccard_class_mean"]) for result in results)]
    return Table(
        ["class", *heads], [(RAN, [*rows, means])], ["Mean IoU over the masks of a class, in per cent."], texts=1
    )


def icoseg_table(results: Sequence[Result]) -> Table:
    """The groups of iCoseg: what papers print, and our results on the 8 test groups.

    Our scores of other images (a part, the other release) or by another protocol are a block of their own.

    Raises:
        CosegError: none of the results is a test of these groups.
    """
    ours = [result for result in results if result.test.dataset.startswith("icoseg")]
    if results and not ours:
        raise CosegError(
            "None of the results is of iCoseg: test with dataset=icoseg first, or give no results for the published "
            "scores alone."
        )
    published = published_scores()
    methods = [method for method in published.methods.values() if method.icoseg]
    groups = [group for group in methods[0].icoseg if group != "mean"]
    blocks: dict[str, list[list[str]]] = {title: [] for title in (RAN, RAN_OTHERWISE, PUBLISHED, PUBLISHED_OTHERWISE)}
    tests = titles(ours)
    for name, result in zip(names(ours), ours, strict=True):
        values = result.values["per_class"]
        known = [values[group] for group in groups if values.get(group) is not None]
        mean = sum(known) / len(groups) if len(known) == len(groups) else None
        row = [f"{name}, {tests[result.test]}", result.origin]
        row += [_percent(value) for value in (*(values.get(group) for group in groups), mean)]
        blocks[RAN if is_comparable(result.test, published.tests["icoseg"]) else RAN_OTHERWISE].append(row)
    for method in methods:
        cells = [_printed(method.icoseg[group]) for group in (*groups, "mean")]
        block = PUBLISHED if published.column(method) == PROTOCOL else PUBLISHED_OTHERWISE
        blocks[block].append([method.title, published.origin(method), *cells])
    notes = ["Jaccard, in per cent; what we ran: mean IoU over the masks of a group."]
    return Table(["method", "origin", *groups, "mean"], [block for block in blocks.items() if block[1]], notes)


_MAPS = {"max_f_measure": "max F", "s_measure": "S", "mae": "MAE"}
"""The scores of grey maps that papers print, in the order of ``published.yaml``."""


def cosod_table(results: Sequence[Result]) -> Table:
    """Scores of grey maps: ours as the mean over images and as that over groups, beside what papers print.

    Raises:
        CosegError: none of the results has such scores.
    """
    ours = [result for result in results if COSOD in result.values]
    if results and not ours:
        raise CosegError(
            "None of the results has scores of grey maps: test with protocol=cosod first, or give no results for the "
            "published scores alone."
        )
    published, tests = published_scores().cosod, titles(ours)
    heads: dict[Hashable, str] = {tested: title for tested, title in tests.items()}
    columns: dict[str, Hashable] = {}
    for key, test in published.tests.items():
        same = [tested for tested in tests if is_comparable(tested, test, COSOD)]
        columns[key] = same[0] if len(same) == 1 else key
        heads.setdefault(columns[key], test.title)
    blocks: dict[str, dict[tuple[str, ...], dict[Hashable, list[str]]]] = {}
    for mean in COSOD_MEANS:
        rows = blocks.setdefault(f"{RAN}, {mean.replace('_', ' ')}", {})
        for name, result in zip(names(ours), ours, strict=True):
            while result.test in rows.get((name, result.origin), {}):  # tested twice: a row each
                name += " (again)"
            cells = rows.setdefault((name, result.origin), {})
            cells[result.test] = [_three(result.values[COSOD][mean][score]) for score in _MAPS]
    blocks[PUBLISHED] = {
        (method.title, f"published, {method.source}"): {
            columns[key]: [_three(value) for value in values] for key, values in method.scores.items()
        }
        for method in published.methods.values()
    }
    nothing = [NONE] * len(_MAPS)
    lines = {
        title: [[*row, *(cell for head in heads for cell in cells.get(head, nothing))] for row, cells in rows.items()]
        for title, rows in blocks.items()
        if rows
    }
    notes = [
        "Scores of grey maps, 0 to 1; for MAE less is better. results.json has all eight, and those of each group.",
        "Papers average over images or over groups; which of the two the published ones do is not known.",
    ]
    return Table(
        ["method", "origin", *(f"{title} {score}" for title in heads.values() for score in _MAPS.values())],
        list(lines.items()),
        notes,
    )


def _three(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _percent(value: float | None, ends: Sequence[float | None] | None = None) -> str:
    """A score of ours as per cent, with its interval."""
    if value is None:
        return NONE
    text = f"{100 * value:.1f}"
    if ends and None not in ends:
        low, high = (f"{100 * end:.1f}" for end in ends if end is not None)
        text += f" ({low} to {high})"
    return text


def _printed(value: float | None) -> str:
    """A published score, which is in per cent already."""
    return NONE if value is None else f"{value:.1f}"
