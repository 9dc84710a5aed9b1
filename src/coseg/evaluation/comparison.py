"""Networks, or variants of one, trained with the same budget: the table that compares them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from coseg.errors import CosegError
from coseg.evaluation.collect import SCORES
from coseg.evaluation.table import NONE, Table
from coseg.files import write_text_atomically


class Finished(NamedTuple):
    """A job that was trained and tested.

    Attributes:
        name: of the network or of the variant.
        seed: of its training.
        parameters: numbers that are learned.
        step_seconds: a step of training.
        steps: of training.
        peak_gb: memory of the training process at its peak, without its workers.
        results: what ``results.json`` holds.
        minutes: of training that the steps were counted for.
        training: the overrides of `coseg-train`.
        testing: those of `coseg-test`.
        environment: the commit, the platform, the threads and the accelerator.
    """

    name: str
    seed: int
    parameters: int
    step_seconds: float
    steps: int
    peak_gb: float
    results: Mapping[str, Any]
    minutes: float = math.nan
    training: str = ""
    testing: str = ""
    environment: Mapping[str, Any] = {}

    @property
    def pair_seconds(self) -> float:
        """A test pair: encoding, matching, decoding and scoring, of a test that encodes each image once."""
        return float(self.results["seconds"]) / max(1, int(self.results["pairs"]))


def write_record(path: Path, finished: Finished) -> None:
    """Keep what came out of a job in a file of its own, which may travel."""
    write_text_atomically(path, json.dumps(finished._asdict(), indent=1, ensure_ascii=False) + "\n")


def read_records(folder: Path) -> list[Finished]:
    """The records in a folder, by name and seed.

    Raises:
        CosegError: one is damaged.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(Finished(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError) as error:
            raise CosegError(
                f"{path} is no record of a comparison ({error}): remove it, and run its job again."
            ) from None
    return sorted(found, key=lambda each: (each.name, each.seed))


def comparison_table(jobs: Sequence[Finished], what: str, notes: Sequence[str] = ()) -> Table:
    """A row for each name, the mean over its seeds, by ``jaccard``; the interval is that of the images.

    Args:
        jobs: in any order.
        what: the title of the first column.
        notes: sentences below the table, before those that say how to read it.
    """
    groups: dict[str, list[Finished]] = {}
    for job in jobs:
        groups.setdefault(job.name, []).append(job)
    ordered = sorted(groups.items(), key=lambda group: -_mean(group[1], "jaccard"))
    rows = [
        [
            name,
            *(_cell(each, score) for score in SCORES),
            f"{each[0].parameters / 1e6:.2f}",
            f"{mean(job.step_seconds for job in each):.3f}",
            str(round(mean(job.steps for job in each))),
            f"{max(job.peak_gb for job in each):.2f}",
            f"{1000 * mean(job.pair_seconds for job in each):.1f}",
        ]
        for name, each in ordered
    ]
    head = [what, *SCORES, "M parameters", "s a step", "steps", "GB", "ms a test pair"]
    told = [
        *_settings(jobs),
        "Scores in per cent, the mean over the seeds; in brackets the mean ends of their 95 % intervals by bootstrap "
        "over images, then the score of each seed.",
        "Memory is that of the training process at its peak.",
    ]
    return Table(head, [("", rows)], [*notes, *told], texts=1)


def _settings(jobs: Sequence[Finished]) -> list[str]:
    """What all jobs were trained with, where they say it."""
    words = [each.training.split() for each in jobs]
    shared = [word for word in words[0] if all(word in other for other in words)] if words else []
    shared = [word for word in shared if not word.startswith(("model=", "ablation=", "seed="))]
    minutes = {each.minutes for each in jobs if not math.isnan(each.minutes)}
    if not shared or len(minutes) != 1:
        return []
    return [f"{minutes.pop():g} minutes of training each: `{' '.join(shared)}`."]


def _mean(jobs: Sequence[Finished], score: str) -> float:
    values = [job.results[score] for job in jobs]
    return mean(values) if None not in values else -math.inf


def _cell(jobs: Sequence[Finished], score: str) -> str:
    values = [job.results[score] for job in jobs]
    if None in values:
        return NONE
    text = f"{100 * mean(values):.1f}"
    ends = [pair for job in jobs if None not in (pair := job.results["intervals"].get(score, [None]))]
    if len(ends) == len(jobs):
        low, high = (100 * mean(pair[side] for pair in ends) for side in (0, 1))
        text += f" ({low:.1f} to {high:.1f})"
    return text + (f"; {', '.join(f'{100 * value:.1f}' for value in values)}" if len(values) > 1 else "")
