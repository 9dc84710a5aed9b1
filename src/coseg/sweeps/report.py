"""Tables of a sweep: its jobs, the best first, and what each value of a parameter came to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import mean

from coseg.evaluation.table import NONE, Table
from coseg.sweeps.jobs import DAMAGED, Sweep, SweepJob

GROUPS = 3
"""Into so many groups, equal in number, the values of a number with more than `DISTINCT` ones are put."""

DISTINCT = 8


def jobs_table(sweep: Sweep) -> Table:
    """A row for each job: complete ones by their Jaccard, then pruned, stopped and failed ones."""
    order = ["complete", "pruned"]

    def key(job: SweepJob) -> tuple[int, float, int]:
        rank = order.index(job.state) if job.state in order else len(order) + (job.state in ("failed", DAMAGED))
        return rank, -job.jaccard if not math.isnan(job.jaccard) else 0.0, job.number

    rows = [
        [
            str(job.number),
            job.state,
            *(short(job.values.get(key, NONE)) for key in sweep.keys),
            _score(job.jaccard),
            str(job.validations),
            NONE if math.isnan(job.seconds) else f"{job.seconds:.0f}",
        ]
        for job in sorted(sweep.jobs, key=key)
    ]
    states = [job.state for job in sweep.jobs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    notes = [f"{len(states)} jobs: {counts}. The Jaccard is that of the best validation, in per cent."]
    notes += [f"Job {job.number} failed: {job.error}" for job in sweep.jobs if job.state == "failed"]
    notes += [f"Job {job.number} is damaged: {job.error}" for job in sweep.jobs if job.state == DAMAGED]
    return Table(["job", "state", *sweep.keys, "val/jaccard", "validations", "s"], [("", rows)], notes)


def values_table(sweep: Sweep) -> Table:
    """A row for each value of each parameter: how many complete jobs had it, and their mean and best Jaccard.

    Words stand by their mean, numbers in their order; those of more than `DISTINCT` are put together in `GROUPS`.
    """
    rows = []
    complete = sweep.ranked()
    for key in sweep.keys:
        having = [job for job in complete if key in job.values]
        for name, jobs in _grouped(key, having):
            scores = [job.jaccard for job in jobs]
            rows.append([key, name, str(len(jobs)), _score(mean(scores)), _score(max(scores))])
    notes = ["Complete jobs alone."]
    if len(sweep.keys) > 1:
        notes = ["Complete jobs alone, whose other values differ, too: a hint of what matters, no experiment."]
    return Table(["parameter", "value", "jobs", "mean", "best"], [("", rows)], notes)


def _grouped(key: str, jobs: Sequence[SweepJob]) -> list[tuple[str, list[SweepJob]]]:
    numbers = {job.values[key]: number(job.values[key]) for job in jobs}
    known = [value for value in numbers.values() if value is not None]
    if len(known) < len(numbers):
        parts = {text: [job for job in jobs if job.values[key] == text] for text in numbers}
        best = sorted(parts, key=lambda text: -mean(job.jaccard for job in parts[text]))
        return [(short(text), parts[text]) for text in best]
    if len(numbers) <= DISTINCT:
        order = sorted(numbers, key=lambda text: numbers[text] or 0.0)
        return [(short(text), [job for job in jobs if job.values[key] == text]) for text in order]
    ordered = sorted(jobs, key=lambda job: float(job.values[key]))
    ends = [round(k * len(ordered) / GROUPS) for k in range(GROUPS + 1)]
    thirds = [ordered[low:high] for low, high in pairwise(ends)]
    return [(f"{short(part[0].values[key])} to {short(part[-1].values[key])}", part) for part in thirds if part]


def number(text: str) -> float | None:
    """The value as a number, if it is one."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def short(text: str) -> str:
    """A value for a table: a long number with three digits."""
    found = number(text)
    return f"{found:.3g}" if found is not None and len(text) > 6 else text


def _score(value: float) -> str:
    return NONE if math.isnan(value) else f"{100 * value:.1f}"
