"""The report of a campaign: a table on the terminal, a file, and the counts in a page of the documentation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- counts: begin -->", "<!-- counts: end -->"
"""In the page, around what a campaign renews."""


def _rows(inputs: Sequence[Any]) -> list[list[str]]:
    rows = [["bad inputs", "cases", "right", "Hydra's error (1)", "tracebacks", "hangs", "otherwise wrong"]]
    groups = list(dict.fromkeys(result.group for result in inputs))
    for group in [*groups, "all"]:
        counts = Counter(result.verdict for result in inputs if group in ("all", result.group))
        named = [counts[name] for name in ("right", "hydra", "traceback", "hang")]
        rows.append([group, *map(str, (counts.total(), *named, counts.total() - sum(named)))])
    return rows


def _kill_rows(kills: Sequence[Any]) -> list[list[str]]:
    rows = [["command", "jobs", "kills", "moves", "lost", "other numbers", "temporary files left", "otherwise wrong"]]
    names = list(dict.fromkeys(result.command for result in kills))
    for name in [*names, "all"]:
        of_name = [result for result in kills if name in ("all", result.command)]
        problems = Counter(problem.partition(":")[0] for result in of_name for problem in result.problems)
        known = [problems[word] for word in ("lost", "numbers", "left")]
        numbers = (len(of_name), sum(r.kills for r in of_name), sum(r.moves for r in of_name), *known)
        rows.append([name, *map(str, (*numbers, problems.total() - sum(known)))])
    return rows


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])


def tables(inputs: Sequence[Any], kills: Sequence[Any]) -> str:
    """The counts as Markdown."""
    parts = [_table(_kill_rows(kills))] if kills else []
    parts += [_table(_rows(inputs))] if inputs else []
    return "\n\n".join(parts)


def print_summary(inputs: Sequence[Any], kills: Sequence[Any], seconds: float) -> None:
    """Print what failed, and the counts."""
    for result in (*inputs, *kills):
        if result.failed:
            print(f"FAILED {result.describe() if hasattr(result, 'describe') else _failure(result)}")
    print(f"\n{tables(inputs, kills)}\n\n{seconds:.0f} s")


def _failure(result: Any) -> str:
    return f"{result.group}: {result.name} ({result.command}): {result.verdict}\n    {result.message[-500:]}"


def write_json(path: Path, seed: int, inputs: Sequence[Any], kills: Sequence[Any]) -> None:
    """All results."""
    document = {"seed": seed, "inputs": [asdict(result) for result in inputs], "kills": [asdict(r) for r in kills]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def write_markdown(path: Path, seed: int, inputs: Sequence[Any], kills: Sequence[Any]) -> None:
    """Renew what stands between the markers of a page.

    Raises:
        ValueError: the page has no markers.
    """
    head, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} lacks {BEGIN} and {END}")
    command = f"`python tests/campaign/run.py --seed {seed}`:"
    text = f"{head}{BEGIN}\n{command}\n\n{tables(inputs, kills)}\n{END}{tail}"
    path.write_text(text, encoding="utf-8")
