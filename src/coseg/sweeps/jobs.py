"""Read a sweep from disk: a grid of Hydra (``coseg-train -m``) or a study of Optuna (``coseg-sweep``).

``coseg-report sweep`` shows it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coseg.errors import CosegError
from coseg.files.plain_data import read_json
from coseg.run_dir import CONFIG, ENVIRONMENT, FAILED, FINISHED
from coseg.sweeps.processes import read_failure
from coseg.sweeps.search import validations
from coseg.sweeps.study import OVERRIDES, STATES, TRIALS_LOG, read_study

RUNNING = "stopped or running"

DAMAGED = "damaged"
"""The state of a job whose files can't be read; the other jobs are shown."""


class SweepJob(NamedTuple):
    """One training of a sweep.

    Attributes:
        number: its index, and the name of its directory.
        values: the overrides that differ between jobs: key to value, as text.
        state: ``complete``, ``pruned``, ``failed``, `RUNNING`, or `DAMAGED`.
        jaccard: the best validation Jaccard so far, 0..1; nan: none yet.
        validations: their number.
        seconds: from its last start or resumption to its end; nan: it has not ended.
        folder: its run directory.
        overrides: all overrides, as they were written.
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
    """The jobs of a sweep, in their order, and the keys of the overrides that differ between them.

    ``source`` is ``grid`` or ``study``.
    """

    folder: Path
    source: str
    keys: list[str]
    jobs: list[SweepJob]

    def ranked(self) -> list[SweepJob]:
        """The complete jobs, the best first, by the mean over seeds where ``seed`` is one of the keys."""
        complete = [job for job in self.jobs if job.state == "complete" and not math.isnan(job.jaccard)]
        return sorted(complete, key=lambda job: (-self.mean_over_seeds(job), -job.jaccard, job.number))

    def mean_over_seeds(self, job: SweepJob) -> float:
        """The mean Jaccard of the complete jobs with the values of `job`, whatever their seed."""

        def without_seed(other: SweepJob) -> dict[str, str]:
            return {key: value for key, value in other.values.items() if key != "seed"}

        wanted = without_seed(job)
        alike = [other.jaccard for other in self.jobs if other.state == "complete" and without_seed(other) == wanted]
        return sum(alike) / len(alike) if alike else math.nan


def read_sweep(folder: str | Path) -> Sweep:
    """The sweep in `folder`.

    Raises:
        CosegError: there is none, or it is damaged.
    """
    folder = Path(folder)
    if any(os.path.lexists(folder / name) for name in (TRIALS_LOG, OVERRIDES)):  # a study, of which a part may be gone
        return _study(folder)
    numbered = [path for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []
    runs = sorted((path for path in numbered if _is_job(path)), key=lambda path: int(path.name))
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
        sampled = [f"{key}={value}" for key, value in values.items()]
        words = [word for word in fixed if word.partition("=")[0] not in values]
        job = _job(folder / str(trial.number), [*words, *sampled], list(values))
        if job.state != DAMAGED:
            state = STATES[trial.state.name]
            job = job._replace(state=state if state in ("complete", "pruned", "failed") else RUNNING)
        jobs.append(job)
    return Sweep(folder, "study", list(dict.fromkeys(key for job in jobs for key in job.values)), jobs)


def _is_job(folder: Path) -> bool:
    return (folder / CONFIG).is_file() or (folder / FAILED).is_file()


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
    path = run / ENVIRONMENT
    environments = _read(path)
    first = environments[0] if isinstance(environments, list) and environments else None
    if not isinstance(first, dict) or "overrides" not in first:
        raise CosegError(
            f"{path} does not hold the overrides of the job: an earlier version made it, or it is damaged."
        )
    return _words(first["overrides"], path)


def _overrides_or_error(run: Path) -> list[str] | CosegError:
    try:
        return _overrides(run)
    except CosegError as error:
        return error


def _varied(overrides: Sequence[Sequence[str]]) -> list[str]:
    """The keys whose values differ between jobs, in their order."""
    values_of: dict[str, set[str | None]] = {}
    jobs = [dict(word.partition("=")[::2] for word in words) for words in overrides]
    for job in jobs:
        for key in job:
            values_of.setdefault(key, {words.get(key) for words in jobs})
    return [key for key, values in values_of.items() if len(values) > 1]


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
        raise CosegError(f"{path} does not hold the seconds that the training took: it is damaged.")
    return float(seconds)
