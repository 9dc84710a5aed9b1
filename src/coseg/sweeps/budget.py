"""Trainings of one budget, each with its test: what ``make compare`` runs, and goes on with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coseg.errors import CosegError
from coseg.evaluation.comparison import Finished, comparison_table, read_records, write_record
from coseg.evaluation.results import read_results
from coseg.evaluation.table import as_markdown
from coseg.files import write_text_atomically
from coseg.sweeps.child import program, run_child
from coseg.sweeps.claims import alone, claim
from coseg.training.errors import Stopped

EPOCHS = 4
"""Stretches of a training, each of which ends with a validation."""

BASELINE = "cross_correlation"

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
            with what came out of each (`coseg.evaluation.comparison`), and the tables.
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
        """Run what is not finished, and what no other process is at; write the tables after each.

        Args:
            jobs: in their order.
            time_only: count how many steps fit, and train nothing yet.

        Raises:
            CosegError: a job failed; the others can be run without it.
        """
        with alone(self.out / _LOCK):  # one after the other, or neither has the machine for itself
            for job in jobs:
                self._count(job)
        if time_only:
            return
        for number, job in enumerate(jobs, 1):
            lock = claim(self._folder(job) / _LOCK)
            if lock is None:
                continue
            try:
                if not self._record_path(job).is_file():
                    print(f"{number} of {len(jobs)}: {' '.join(job.overrides)}", flush=True)
                    self._run(job, lock)
                    self._record(job)
                    write_tables(self.out / "records", self.out)
            finally:
                os.close(lock)
        write_tables(self.out / "records", self.out)

    def _count(self, job: Job) -> None:
        """Write down how many steps fit into the time, before anything else keeps the machine busy."""
        state = self._state(job)
        if "step_seconds" not in state:
            self._keep(job, state | self._time(job))

    def _run(self, job: Job, lock: int) -> None:
        folder = self._folder(job)
        state = self._state(job)
        if "run" not in state:
            last = max(folder.glob("*/checkpoints/last.ckpt"), default=None)
            began = time.monotonic()
            if last is not None:
                peak = self._call("train", [f"resume={last.parent.parent}"], lock)
            else:
                pairs = max(1, round(state["steps"] / EPOCHS)) * state["batch"]
                place = [f"runs={self.out}", f"name={job.kind}/{job.name}/{job.seed}"]
                length = [f"trainer.max_epochs={EPOCHS}", f"data.pairs_per_epoch={pairs}"]
                peak = self._call("train", [*self.training, *job.overrides, *place, *length, *self.shared], lock)
            run = max(folder.glob("*/checkpoints/best.ckpt")).parent.parent
            state |= {"run": run.name, "peak_gb": peak, "seconds": round(time.monotonic() - began, 1)}
            self._keep(job, state)
        if not self._results(job):
            best = folder / state["run"] / "checkpoints" / "best.ckpt"
            self._call("test", [*self.testing, *self.shared, f"ckpt={best}", "panels=0"], lock)

    def _time(self, job: Job) -> dict[str, Any]:
        """Seconds of a step, and how many fit."""
        known = sorted((self.out / job.kind / job.name).glob("*/job.json"))  # of another seed: the same steps
        if known:
            state = json.loads(known[0].read_text(encoding="utf-8"))
            return {key: state[key] for key in ("step_seconds", "steps", "batch", "parameters")}
        told = subprocess.run(
            [*program("train"), *self.training, *job.overrides, "check=true"],
            stdout=subprocess.PIPE,
            text=True,
        )
        found = re.search(r"([\d.]+) M parameters.*?a step: ([\d.]+) s; ([\d.]+) pairs/s", told.stdout, re.DOTALL)
        if told.returncode or found is None:
            raise self._failed(job, told.returncode)
        parameters, seconds, rate = map(float, found.groups())
        return {
            "step_seconds": seconds,
            "steps": max(EPOCHS, int(60 * self.minutes / seconds)),
            "batch": max(1, round(seconds * rate)),
            "parameters": round(1e6 * parameters),
        }

    def _call(self, command: str, overrides: Sequence[str], lock: int) -> float:
        """Run a command; its memory at the peak, in GB. A signal is passed on to it, and ends this, too."""
        ended = run_child(command, overrides, keep=(lock,))
        if ended.received is not None:
            raise Stopped(self.out, ended.received)
        if ended.code:
            raise CosegError(
                f"coseg-{command} {' '.join(overrides)} failed with exit code {ended.code}: mend what it says "
                "above, and run the comparison again; it goes on with this one."
            )
        return ended.peak_gb

    def _failed(self, job: Job, code: int) -> Exception:
        return CosegError(f"A check of {' '.join(job.overrides)} failed with exit code {code}: see above.")

    def _folder(self, job: Job) -> Path:
        return self.out / job.kind / job.name / str(job.seed)

    def _state(self, job: Job) -> dict[str, Any]:
        path = self._folder(job) / "job.json"
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return state

    def _keep(self, job: Job, state: Mapping[str, Any]) -> None:
        write_text_atomically(self._folder(job) / "job.json", json.dumps(state, indent=2) + "\n")

    def _results(self, job: Job) -> list[Path]:
        run = self._folder(job) / self._state(job).get("run", "-")
        return sorted((run / "test").glob("*/results.json"))

    def _record_path(self, job: Job) -> Path:
        return self.out / "records" / job.kind / f"{job.name}-{job.seed}.json"

    def _record(self, job: Job) -> None:
        """Write down what came out of a job, without the folders of this machine."""
        state, results = self._state(job), read_results(self._results(job)[0])
        path = self._folder(job) / state["run"] / "environment.json"
        environment = json.loads(path.read_text(encoding="utf-8"))[-1]
        finished = Finished(
            name=job.name,
            seed=job.seed,
            parameters=state["parameters"],
            step_seconds=state["step_seconds"],
            steps=state["steps"],
            peak_gb=round(state["peak_gb"], 3),
            results={key: value for key, value in results.items() if key != "checkpoint"},
            minutes=self.minutes,
            training=" ".join([*self.training, *job.overrides]),
            testing=" ".join(word for word in self.testing if not word.startswith("dataset.root=")),
            environment={key: environment[key] for key in ("commit", "platform", "threads", "accelerator")},
        )
        write_record(self._record_path(job), finished)


def write_tables(records: Path, out: Path) -> None:
    """Write ``models.md`` and ``ablations.md`` into `out`, of the records that there are."""
    models = read_records(records / "models")
    ablations = read_records(records / "ablations")
    if models:
        write_text_atomically(out / "models.md", as_markdown(comparison_table(models, "network")))
    if ablations:
        seeds = {each.seed for each in ablations}
        unchanged = [each._replace(name="none") for each in models if each.name == BASELINE and each.seed in seeds]
        table = comparison_table([*ablations, *unchanged], "variant")
        write_text_atomically(out / "ablations.md", as_markdown(table))
