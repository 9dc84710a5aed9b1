"""Networks, or variants of one, trained with the same budget: the tables that compare them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import mean
from typing import TypeVar

from coseg.evaluation.collect import SCORES
from coseg.evaluation.records import Finished, Gap
from coseg.evaluation.table import NONE, Table

PAIRED = ("jaccard", "jaccard_distractor")
"""The scores whose differences are told."""

T = TypeVar("T")
K = TypeVar("K")


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
            *(_score(each, score) for score in SCORES),
            f"{each[0].cost.parameters / 1e6:.2f}",
            f"{mean(job.cost.step_seconds for job in each):.3f}",
            str(round(mean(job.steps for job in each))),
            f"{max(job.cost.peak_gb for job in each):.2f}",
            f"{1000 * mean(job.cost.pair_seconds for job in each):.0f}",
        ]
        for name, each in sorted(groups.items(), key=lambda group: -_mean(group[1], "jaccard"))
    ]
    head = [what, *SCORES, "M parameters", "s a step", "steps", "GB", "ms a pair"]
    told = [
        *_settings(jobs),
        "Scores in per cent, the mean over the seeds; in brackets the mean ends of their 95 % intervals by bootstrap "
        "over images, then the score of each seed.",
        "A step, memory at its peak and a pair of photographs at original size, both encoded, are those of the check "
        "that counted the steps.",
    ]
    return Table(head, [("", rows)], told, texts=1)


def differences_table(gaps: Iterable[Gap]) -> Table:
    """A row for each two names, the mean over their seeds: by what is subtracted, then by ``jaccard``."""
    groups = _grouped(sorted(gaps, key=lambda gap: gap.seed), lambda gap: (gap.b, gap.a))

    def order(group: tuple[tuple[str, str], list[Gap]]) -> tuple[str, float]:
        (b, _), each = group
        return b, -mean(gap.differences["jaccard"][0] or 0.0 for gap in each)

    rows = [
        [f"{a} - {b}", *(_difference(each, score) for score in PAIRED)]
        for (b, a), each in sorted(groups.items(), key=order)
    ]
    told = [
        "Differences on the same masks in percentage points, the mean over the seeds; in brackets the mean ends of "
        "their paired 95 % intervals by bootstrap over images, then the difference of each seed."
    ]
    return Table(["A - B", *PAIRED], [("", rows)], told, texts=1)


def _grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _settings(jobs: Sequence[Finished]) -> list[str]:
    """What all jobs were trained with, where they say it."""
    words = [each.training.split() for each in jobs]
    shared = [word for word in words[0] if all(word in other for other in words)] if words else []
    shared = [word for word in shared if not word.startswith(("model=", "ablation=", "seed="))]
    minutes = {each.minutes for each in jobs if not math.isnan(each.minutes)}
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
    told = [gap.differences[score] for gap in gaps]
    return _cell([value for value, *_ in told], [ends for _, *ends in told], "+")


def _cell(values: Sequence[float | None], ends: Sequence[Sequence[float | None]], sign: str) -> str:
    """The mean of values with that of their intervals, in per cent, then each of several."""
    there = [value for value in values if value is not None]
    if len(there) < len(values):
        return NONE
    text = f"{100 * mean(there):{sign}.1f}"
    pairs = [[end for end in pair if end is not None] for pair in ends]
    if all(len(pair) == 2 for pair in pairs):
        low, high = (100 * mean(pair[side] for pair in pairs) for side in (0, 1))
        text += f" ({low:{sign}.1f} to {high:{sign}.1f})"
    return text + (f"; {', '.join(f'{100 * value:{sign}.1f}' for value in there)}" if len(there) > 1 else "")
