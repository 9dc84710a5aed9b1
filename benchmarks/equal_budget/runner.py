"""Trainings of one budget, each with its test: what ``make compare`` runs and resumes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coseg.configs import quoted
from coseg.errors import CosegError
from coseg.files.plain_data import read_json
from coseg.files.writing import json_text, temporary_folder, write_text_atomically
from coseg.reports.compare import compare
from coseg.reports.records import read_records, records_file, write_records
from coseg.reports.results import read_results
from coseg.signals import Stopped
from coseg.sweeps.processes import locked, program, run_child, try_lock

from .records import Cost, Finished, Gap, read_record, write_record
from .tables import BASELINE, CONTROL, COSTS, DIFFERENCES, PAIRED, TESTS, UNCHANGED, write_tables

EPOCHS = 4
"""Stretches of a training, each of which ends with a validation."""

SHORTEST = 1e-6
"""Seconds of a step at least: records of earlier versions are rounded, to 0 for the shortest steps."""

_LOCK = ".lock"
"""In the folder of a job, and in that of all."""


class Job(NamedTuple):
    """One training with its test: `kind` is ``models`` or ``ablations``."""

    kind: str
    name: str
    seed: int

    @property
    def overrides(self) -> list[str]:
        """What makes it another training than the others."""
        chosen = [f"model={self.name}"] if self.kind == "models" else [f"model={BASELINE}", f"ablation={self.name}"]
        return [*chosen, f"seed={self.seed}"]


class Comparison:
    """Runs jobs one after the other, each with processes of its own; started twice, each runs what the other does not.

    Args:
        out: where everything is kept: ``<out>/<kind>/<name>/<seed>/`` with the run and ``job.json``, ``<out>/records``
            with the record of each (`records.py`) and the records of the tests that others are compared
            with, so that another machine can resume them, and the tables.
        minutes: of training, without validation; steps are counted out from the time of a few, once for each name.
        training: Hydra overrides of every `coseg-train`.
        testing: of every `coseg-test`.
        threads: of each training and test, not of those few steps, so that several of them can share a machine that
            was idle when they were counted; None: all.
    """

    def __init__(
        self, out: Path, minutes: float, training: Sequence[str], testing: Sequence[str], threads: int | None = None
    ) -> None:
        self.out = out
        self.minutes = minutes
        self.training = list(training)
        self.testing = list(testing)
        self.shared = [] if threads is None else [f"threads={threads}"]

    def run(self, jobs: Sequence[Job], time_only: bool = False) -> None:
        """Run what is neither finished nor run by another process; write the tables after each.

        Args:
            jobs: in their order.
            time_only: count how many steps fit, and train nothing yet.

        Raises:
            CosegError: a job failed; the others can be run without it.
        """
        with locked(self.out / _LOCK):  # one after the other, or neither has the machine for itself
            for job in jobs:
                self._cost(job)
        if time_only:
            return
        self._differences(jobs)  # of records of an earlier call
        for number, job in enumerate(jobs, 1):
            lock = try_lock(self._folder(job) / _LOCK)
            if lock is None:
                continue
            try:
                if not self._record_path(job).is_file():
                    print(f"{number} of {len(jobs)}: {' '.join(job.overrides)}", flush=True)
                    self._run(job, lock)
                    self._record(job)
                    self._differences(jobs)
                    write_tables(self._records, self.out)
            finally:
                os.close(lock)
        write_tables(self._records, self.out)

    def _cost(self, job: Job) -> Cost:
        """Counted before anything else keeps the machine busy, and the same for all seeds."""
        path = self._records / COSTS / job.kind / f"{job.name}.json"
        return cost(path, [*self.training, *job.overrides])

    def _steps(self, job: Job) -> int:
        return max(EPOCHS, int(60 * self.minutes / max(self._cost(job).step_seconds, SHORTEST)))

    def _run(self, job: Job, lock: int) -> None:
        folder = self._folder(job)
        state = self._state(job)
        if "run" not in state:
            last = max(folder.glob("*/checkpoints/last.ckpt"), default=None)
            began = time.monotonic()
            if last is not None:
                self._call("train", [f"resume={quoted(last.parent.parent)}"], lock)
            else:
                pairs = max(1, round(self._steps(job) / EPOCHS)) * self._cost(job).batch
                place = [f"runs={quoted(self.out)}", f"name={job.kind}/{job.name}/{job.seed}"]
                length = [f"trainer.max_epochs={EPOCHS}", f"data.pairs_per_epoch={pairs}"]
                self._call("train", [*self.training, *job.overrides, *place, *length, *self.shared], lock)
            run = max(folder.glob("*/checkpoints/best.ckpt")).parent.parent
            state |= {"run": run.name, "seconds": round(time.monotonic() - began, 1)}
            self._keep(job, state)
        if not self._results(job):
            best = folder / state["run"] / "checkpoints" / "best.ckpt"
            self._call("test", [*self.testing, *self.shared, f"ckpt={quoted(best)}", "panels=0"], lock)

    def _call(self, command: str, overrides: Sequence[str], lock: int) -> None:
        """Run a command. A signal is passed on to it, and ends this, too."""
        ended = run_child(command, overrides, keep=(lock,))
        if ended.received is not None:
            raise Stopped(self.out, ended.received)
        if ended.code:
            raise CosegError(
                f"coseg-{command} {' '.join(overrides)} failed with exit code {ended.code}: mend what it says "
                "above, and run the comparison again; it resumes with this job."
            )

    def _folder(self, job: Job) -> Path:
        return self.out / job.kind / job.name / str(job.seed)

    def _state(self, job: Job) -> dict[str, Any]:
        path = self._folder(job) / "job.json"
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return state

    def _keep(self, job: Job, state: Mapping[str, Any]) -> None:
        write_text_atomically(self._folder(job) / "job.json", json_text(state))

    def _results(self, job: Job) -> list[Path]:
        run = self._folder(job) / self._state(job).get("run", "-")
        return sorted((run / "test").glob("*/results.json"))

    @property
    def _records(self) -> Path:
        return self.out / "records"

    def _record_path(self, job: Job) -> Path:
        return self._records / job.kind / f"{job.name}-{job.seed}.json"

    def _record(self, job: Job) -> None:
        """Write the record of a finished job, without the folders of this machine."""
        state, results = self._state(job), read_results(self._results(job)[0])
        path = self._folder(job) / state["run"] / "environment.json"
        environment = json.loads(path.read_text(encoding="utf-8"))[-1]
        finished = Finished(
            name=job.name,
            seed=job.seed,
            cost=self._cost(job),
            steps=self._steps(job),
            results={key: value for key, value in results.items() if key != "checkpoint"},
            minutes=self.minutes,
            training=" ".join([*self.training, *job.overrides]),
            testing=" ".join(word for word in self.testing if not word.startswith("dataset.root=")),
            environment={key: environment[key] for key in ("commit", "platform", "threads", "accelerator")},
        )
        if job.kind == "models" and job.name in (BASELINE, CONTROL):
            write_records(self._kept(job), read_records(self._tested(job)), compressed=True)
        write_record(self._record_path(job), finished)

    def _kept(self, job: Job) -> Path:
        return self._records / TESTS / f"{job.name}-{job.seed}"

    def _tested(self, job: Job) -> Path:
        """The folder of the records of a job's test: of this run, or as another machine kept them."""
        results = self._results(job)
        return results[0].parent if results else self._kept(job)

    def _differences(self, jobs: Sequence[Job]) -> None:
        """Compare each finished job with the finished jobs that it is measured by."""
        for job in jobs:
            for rival in _rivals(job):
                name = UNCHANGED if rival.kind != job.kind else rival.name
                path = self._records / DIFFERENCES / job.kind / f"{job.name}-{name}-{job.seed}.json"
                sources = [self._record_path(compared) for compared in (job, rival)]
                test, rival_test = self._tested(job), self._tested(rival)
                if not all(path.is_file() for path in (*sources, records_file(test), records_file(rival_test))):
                    continue
                if _as_new(path, sources):
                    continue
                intervals = compare(test, rival_test)
                differences = {score: _rounded(intervals[score]) for score in PAIRED}
                write_record(path, Gap(job.name, name, job.seed, differences))


def _rivals(job: Job) -> list[Job]:
    """The control and the paper's network; of an ablation what it is one of."""
    if job.kind == "ablations":
        return [Job("models", BASELINE, job.seed)]
    names = [name for name in (CONTROL, BASELINE) if name != job.name]
    return [Job("models", name, job.seed) for name in names if (job.name, name) != (CONTROL, BASELINE)]


def _as_new(path: Path, sources: Sequence[Path]) -> bool:
    """Whether `path` was written after all of these."""
    return path.is_file() and path.stat().st_mtime >= max(source.stat().st_mtime for source in sources)


def _rounded(values: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(value) else round(value, 6) for value in values]


def cost(path: Path, overrides: Sequence[str]) -> Cost:
    """What a training with these overrides costs: as kept at `path`, or measured now and kept there.

    Raises:
        CosegError: the check failed; what is kept is damaged.
    """
    if not path.is_file():
        write_record(path, _measured(overrides))
    return read_record(path, Cost)


def _measured(overrides: Sequence[str]) -> Cost:
    """What ``coseg-train check=true`` measures, in a process of its own."""
    with temporary_folder("coseg-cost") as folder:
        words = [*program("train"), *overrides, "check=true", f"runs={quoted(folder)}"]
        code = subprocess.run(words).returncode
        files = sorted(Path(folder).rglob("estimate.json"))
        if code or not files:
            raise CosegError(f"A check of {' '.join(overrides)} failed with exit code {code}: see above.")
        estimate = read_json(files[0], "run the comparison again", nan=True)
    try:
        values: dict[str, Any] = {name: estimate[name] for name in Cost._fields}
    except (KeyError, TypeError):
        raise CosegError(f"A check of {' '.join(overrides)} left no estimate of its cost.") from None
    if values["step_seconds"] is None:
        raise CosegError(f"A check of {' '.join(overrides)} ran too few steps to time one: give it more pairs.")
    return Cost(**values)
