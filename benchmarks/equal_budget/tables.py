"""Networks, or variants of one, trained with the same budget: the tables that compare them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import TypeVar

from coseg.files.writing import write_text_atomically
from coseg.metrics import SCORES
from coseg.reports.tables import NONE, Table, as_markdown

from .records import Finished, Gap, read_records

BASELINE = "cross_correlation"
"""The network whose ablations are run; among them it is called `UNCHANGED`."""

UNCHANGED = "none"

CONTROL = "siamese"
"""The network without matching."""

COSTS = "costs"
"""The folder among the records that holds the `Cost` of each job."""

DIFFERENCES = "differences"
"""The folder among the records that holds the `Gap` of two."""

TESTS = "tests"
"""The folder among the records that holds the records of the tests that others are compared with."""

PAIRED = ("jaccard", "jaccard_distractor")
"""The scores whose differences are reported."""

T = TypeVar("T")
K = TypeVar("K")


def write_tables(records: Path, out: Path) -> None:
    """Write ``models.md`` and ``ablations.md`` into `out`: all scores, then paired differences.

    Raises:
        CosegError: a record is damaged.
    """
    models = read_records(records / "models", Finished)
    ablations = read_records(records / "ablations", Finished)
    if ablations:
        seeds = {job.seed for job in ablations}
        same = [job._replace(name=UNCHANGED) for job in models if job.name == BASELINE and job.seed in seeds]
        ablations += same
    for kind, what, jobs in (("models", "network", models), ("ablations", "variant", ablations)):
        if not jobs:
            continue
        text = as_markdown(comparison_table(jobs, what))
        gaps = read_records(records / DIFFERENCES / kind, Gap)
        if gaps:
            text += "\n" + as_markdown(differences_table(gaps))
        write_text_atomically(out / f"{kind}.md", text)


def comparison_table(jobs: Sequence[Finished], what: str) -> Table:
    """A row for each name, the mean over its seeds, by ``jaccard``; the interval is that of the images.

    Args:
        jobs: in any order.
        what: the title of the first column.
    """
    groups = _grouped(sorted(jobs, key=lambda job: job.seed), lambda job: job.name)
    rows = [
        [
            name,
            *(_score(seeds, score) for score in SCORES),
            f"{seeds[0].cost.parameters / 1e6:.2f}",
            f"{mean(job.cost.step_seconds for job in seeds):.3f}",
            str(round(mean(job.steps for job in seeds))),
            f"{max(job.cost.peak_gb for job in seeds):.2f}",
            f"{1000 * mean(job.cost.pair_seconds for job in seeds):.0f}",
        ]
        for name, seeds in sorted(groups.items(), key=lambda group: -_mean(group[1], "jaccard"))
    ]
    head = [what, *SCORES, "M parameters", "s a step", "steps", "GB", "ms a pair"]
    notes = [
        *_settings(jobs),
        "Scores in per cent, the mean over the seeds; in brackets the mean ends of their 95 % intervals by bootstrap "
        "over images, then the score of each seed.",
        "A step, memory at its peak and a pair of photographs at original size, both encoded, are those of the check "
        "that counted the steps.",
    ]
    return Table(head, [("", rows)], notes, texts=1)


def differences_table(gaps: Iterable[Gap]) -> Table:
    """A row for each two names, the mean over their seeds: by what is subtracted, then by ``jaccard``."""
    groups = _grouped(sorted(gaps, key=lambda gap: gap.seed), lambda gap: (gap.b, gap.a))

    def order(group: tuple[tuple[str, str], list[Gap]]) -> tuple[str, float]:
        (b, _), seeds = group
        return b, -mean(gap.differences["jaccard"][0] or 0.0 for gap in seeds)

    rows = [
        [f"{a} - {b}", *(_difference(seeds, score) for score in PAIRED)]
        for (b, a), seeds in sorted(groups.items(), key=order)
    ]
    notes = [
        "Differences on the same masks in percentage points, the mean over the seeds; in brackets the mean ends of "
        "their paired 95 % intervals by bootstrap over images, then the difference of each seed."
    ]
    return Table(["A - B", *PAIRED], [("", rows)], notes, texts=1)


def _grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _settings(jobs: Sequence[Finished]) -> list[str]:
    """What all jobs were trained with, where it is known."""
    words = [job.training.split() for job in jobs]
    shared = [word for word in words[0] if all(word in other for other in words)] if words else []
    shared = [word for word in shared if not word.startswith(("model=", "ablation=", "seed="))]
    minutes = {job.minutes for job in jobs if not math.isnan(job.minutes)}
    if not shared or len(minutes) != 1:
        return []
    return [f"The steps of {minutes.pop():g} minutes each: `{' '.join(shared)}`."]


def _mean(jobs: Sequence[Finished], score: str) -> float:
    values = [job.results[score] for job in jobs]
    return mean(values) if None not in values else -math.inf


def _score(jobs: Sequence[Finished], score: str) -> str:
    values = [job.results[score] for job in jobs]
    ends = [job.results["intervals"].get(score, [None]) for job in jobs]
    return _cell(values, ends, "")


def _difference(gaps: Sequence[Gap], score: str) -> str:
    differences = [gap.differences[score] for gap in gaps]
    return _cell([value for value, *_ in differences], [ends for _, *ends in differences], "+")


def _cell(values: Sequence[float | None], ends: Sequence[Sequence[float | None]], sign: str) -> str:
    """The mean of values with that of their intervals, in per cent, then each of several."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return NONE
    text = f"{100 * mean(known):{sign}.1f}"
    pairs = [[end for end in pair if end is not None] for pair in ends]
    if all(len(pair) == 2 for pair in pairs):
        low, high = (100 * mean(pair[side] for pair in pairs) for side in (0, 1))
        text += f" ({low:{sign}.1f} to {high:{sign}.1f})"
    return text + (f"; {', '.join(f'{100 * value:{sign}.1f}' for value in known)}" if len(known) > 1 else "")
