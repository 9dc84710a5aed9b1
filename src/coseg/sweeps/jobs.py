"""A sweep on disk, whichever kind made it: a grid of Hydra's (``coseg-train -m``) or a study (``coseg-sweep``)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coseg.errors import CosegError
from coseg.plain_data import read_json
from coseg.sweeps.failed import FILE, read_failure
from coseg.sweeps.study import JOURNAL, OVERRIDES, STATES, read_study
from coseg.sweeps.trial import validations
from coseg.training.run import FINISHED

RUNNING = "stopped or running"

DAMAGED = "damaged"
"""A job whose files can't be read; the others are shown."""


class SweepJob(NamedTuple):
    """One training of a sweep.

    Attributes:
        number: its place, and the name of its directory.
        values: of what differs between the jobs: the key of an override, and its value as text.
        state: ``complete``, ``pruned``, ``failed``, `RUNNING`, or `DAMAGED`.
        jaccard: the best validation Jaccard so far, 0..1; nan: none yet.
        validations: how many there were.
        seconds: that its last start took; nan: it did not come to its end.
        folder: its run directory.
        overrides: all of them.
        error: why it failed, or what is damaged.
    """

    number: int
    values: dict[str, str]
    state: str
    jaccard: float
    validations: int
    seconds: float
    folder: Path
    overrides: list[str]
    error: str = ""


class Sweep(NamedTuple):
    """The jobs of a sweep, in their order, and the keys of what differs between them."""

    folder: Path
    kind: str
    keys: list[str]
    jobs: list[SweepJob]

    def ranked(self) -> list[SweepJob]:
        """The complete jobs, the best first; the mean over seeds counts where ``seed`` is one of the keys."""
        complete = [job for job in self.jobs if job.state == "complete" and not math.isnan(job.jaccard)]
        return sorted(complete, key=lambda job: (-self.mean_over_seeds(job), -job.jaccard, job.number))

    def mean_over_seeds(self, job: SweepJob) -> float:
        """The mean Jaccard of the complete jobs with the values of `job`, whatever their seed."""

        def rest(each: SweepJob) -> dict[str, str]:
            return {key: value for key, value in each.values.items() if key != "seed"}

        alike = [each.jaccard for each in self.jobs if each.state == "complete" and rest(each) == rest(job)]
        return sum(alike) / len(alike) if alike else math.nan


def read_sweep(folder: str | Path) -> Sweep:
    """The sweep in `folder`.

    Raises:
        CosegError: there is none, or it is damaged.
    """
    folder = Path(folder)
    if any(os.path.lexists(folder / name) for name in (JOURNAL, OVERRIDES)):  # a study, of which a part may be gone
        return _study(folder)
    found = [path for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []
    runs = sorted((path for path in found if _is_job(path)), key=lambda path: int(path.name))
    if not runs:
        raise CosegError(
            f"{folder} holds no sweep: give the folder that coseg-train -m made (runs/<experiment>/sweeps/<time>), or "
            "that of a study (runs/studies/<name>)."
        )
    overrides: list[list[str] | CosegError] = [_overrides_or_error(run) for run in runs]
    known = [words for words in overrides if not isinstance(words, CosegError)]
    if not known and isinstance(overrides[0], CosegError):
        raise overrides[0]
    keys = _varied(known)
    jobs = [
        _damaged(run, [], keys, words) if isinstance(words, CosegError) else _job(run, words, keys)
        for run, words in zip(runs, overrides, strict=True)
    ]
    return Sweep(folder, "grid", keys, jobs)


def _study(folder: Path) -> Sweep:
    study = read_study(folder)
    fixed = _words(_read(folder / OVERRIDES), folder / OVERRIDES)
    jobs = []
    for trial in study.get_trials(deepcopy=False):
        values = {key: str(value) for key, value in trial.params.items()}
        drawn = [f"{key}={value}" for key, value in values.items()]
        words = [word for word in fixed if word.partition("=")[0] not in values]
        job = _job(folder / str(trial.number), [*words, *drawn], list(values))
        if job.state != DAMAGED:
            state = STATES[trial.state.name]
            job = job._replace(state=state if state in ("complete", "pruned", "failed") else RUNNING)
        jobs.append(job)
    return Sweep(folder, "study", list(dict.fromkeys(key for job in jobs for key in job.values)), jobs)


def _is_job(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() or (folder / FILE).is_file()


def _read(path: Path) -> Any:
    try:
        return read_json(path, "the sweep is damaged", verbatim=True)
    except FileNotFoundError:
        raise CosegError(f"There is no {path}: the sweep is damaged.") from None


def _words(words: Any, path: Path) -> list[str]:
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise CosegError(f"{path} holds no list of overrides: the sweep is damaged.")
    return [str(word) for word in words]


def _overrides(run: Path) -> list[str]:
    failure = read_failure(run)
    if failure is not None:
        return failure.overrides
    path = run / "environment.json"
    environments = _read(path)
    first = environments[0] if isinstance(environments, list) and environments else None
    if not isinstance(first, dict) or "overrides" not in first:
        raise CosegError(f"{path} does not tell the job's overrides: an earlier version made it, or it is damaged.")
    return _words(first["overrides"], path)


def _overrides_or_error(run: Path) -> list[str] | CosegError:
    try:
        return _overrides(run)
    except CosegError as error:
        return error


def _varied(overrides: Sequence[Sequence[str]]) -> list[str]:
    """The keys that some jobs have with other values than others, in their order."""
    found: dict[str, set[str | None]] = {}
    jobs = [dict(word.partition("=")[::2] for word in words) for words in overrides]
    for job in jobs:
        for key in job:
            found.setdefault(key, {each.get(key) for each in jobs})
    return [key for key, values in found.items() if len(values) > 1]


def _job(run: Path, overrides: Sequence[str], keys: Sequence[str]) -> SweepJob:
    """A job with its values of `keys`; one whose files can't be read is `DAMAGED`."""
    try:
        scores = validations(run)
        failure = read_failure(run)
        finished = None if failure is not None or not (run / FINISHED).is_file() else _seconds(run / FINISHED)
    except CosegError as error:
        return _damaged(run, overrides, keys, error)
    state = "failed" if failure is not None else RUNNING if finished is None else "complete"
    seconds = math.nan if finished is None else finished
    jaccard = max(scores, default=math.nan)
    reason = failure.error if failure is not None else ""
    values = _values(overrides, keys)
    return SweepJob(int(run.name), values, state, jaccard, len(scores), seconds, run, list(overrides), reason)


def _damaged(run: Path, overrides: Sequence[str], keys: Sequence[str], error: CosegError) -> SweepJob:
    values = _values(overrides, keys)
    return SweepJob(int(run.name), values, DAMAGED, math.nan, 0, math.nan, run, list(overrides), str(error))


def _values(overrides: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in overrides) if key in keys}


def _seconds(path: Path) -> float:
    finished = _read(path)
    seconds = finished.get("seconds") if isinstance(finished, dict) else None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise CosegError(f"{path} does not tell how long the training took: it is damaged.")
    return float(seconds)
