"""Commands that are killed at random moments, moved in between, and run again until they end: to the same numbers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from campaign.fixtures import TEST, TRAIN, Fixtures, album, copied
from campaign.zygote import Call, Zygote, wait_for_orphans
from coseg.reports.results import read_results

_TRIES = 30
"""Starts of one job at most; kills come less often from one to the next, so that it ends."""

_SIGNALS = (signal.SIGKILL,) * 6 + (signal.SIGTERM, signal.SIGINT)
_OK = {signal.SIGKILL: (), signal.SIGTERM: (128 + signal.SIGTERM,), signal.SIGINT: (128 + signal.SIGINT,)}
_ELSEWHERE = Path("/dev/shm")


@dataclass(frozen=True)
class Killed:
    """A job: how often it was killed and moved until it ended, and what went wrong, each beginning with a word."""

    command: str
    name: str
    kills: int
    moves: int
    real: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether anything went wrong."""
        return bool(self.problems)

    def describe(self) -> str:
        """It, in a few lines."""
        return "\n    ".join([f"{self.command} {self.name}, {self.kills} kills, {self.moves} moves", *self.problems])


class Job(ABC):
    """A command with its place, and what its end must be equal to."""

    command: ClassVar[str]
    seconds = 60.0
    real: ClassVar[bool] = False
    """Whether each start is a Python of its own, no fork."""

    def __init__(self, fixtures: Fixtures, folder: Path) -> None:
        self.fixtures, self.folder = fixtures, folder
        self.originals: dict[Path, dict[str, str]] = {}
        folder.mkdir(parents=True)
        self.prepare()

    def prepare(self) -> None:
        """Copy what the command works on."""
        return

    @abstractmethod
    def arguments(self) -> Sequence[str]:
        """Of the next start."""

    @abstractmethod
    def outcome(self) -> Any:
        """What must be equal."""

    def hook(self) -> None:
        """In the process of the command, before it begins."""
        return

    def move(self, rng: np.random.Generator) -> bool:
        """Move what it works on; whether there was something to move."""
        return False

    def changed_originals(self) -> list[Path]:
        """The folders that were copied, and are no longer what they were when the copy took over."""
        return [path for path, files in self.originals.items() if _contents(path) != files]

    def left(self) -> list[Path]:
        """Temporary files, but for those that a kill left in a folder that was copied, which nobody may touch."""
        found = [path for path in self.folder.rglob(".*") if path.name != ".lock"]
        return [path for path in found if not any(path.is_relative_to(place) for place in self.originals)]

    def checkpoints(self) -> dict[str, int]:
        """The steps of the checkpoints that are there, by their names; loading fails where one is damaged."""
        return {}


class TrainJob(Job):
    """A training, resumed in its folder wherever that is."""

    command = "train"

    def prepare(self) -> None:
        self.place = self.folder / "runs"

    def run(self) -> Path | None:
        """The run where it now is, once it has a checkpoint."""
        return next((path.parents[1] for path in self.place.rglob("checkpoints/last.ckpt")), None)

    def arguments(self) -> Sequence[str]:
        run = self.run()
        if run is not None:
            return [f"resume='{run}'"]
        return [*TRAIN, "checkpoint_minutes=0.00001", f"runs={self.place}"]

    def outcome(self) -> Any:
        run = next(path.parent for path in self.place.rglob("finished.json"))
        finished = json.loads((run / "finished.json").read_text())
        return (
            (finished["jaccard"], finished["step"]), _rows(run / "metrics.csv"),
            *(_weights(run / "checkpoints" / name) for name in ("best.ckpt", "last.ckpt")),
        )  # fmt: skip

    def move(self, rng: np.random.Generator) -> bool:
        run = self.run()
        if run is None:
            return False
        self.place = self.folder / f"elsewhere {rng.integers(10**6)}"
        target = self.place / f"run-{rng.integers(10**6)}"
        target.parent.mkdir()
        if rng.integers(2):
            shutil.move(run, target)
        else:
            copied(run, target)
            self.originals[run] = _contents(run)
        return True

    def left(self) -> list[Path]:
        """As of others, but for a run that a kill ended before its first checkpoint: no start takes that up."""
        run, begun = self.run(), self.folder / "runs"
        return [
            path
            for path in super().left()
            if not path.is_relative_to(begun) or (run is not None and path.is_relative_to(run))
        ]

    def checkpoints(self) -> dict[str, int]:
        return {
            path.name: torch.load(path, weights_only=True)["global_step"]
            for path in self.place.rglob("checkpoints/*.ckpt")
            if not path.name.startswith(".")
        }


class TestJob(Job):
    """A test, whose parts are written after each batch; its run moves in between."""

    command = "test"
    __test__ = False

    def prepare(self) -> None:
        self.run = copied(self.fixtures.run, self.folder / "run")
        shutil.rmtree(self.run / "test")

    def arguments(self) -> Sequence[str]:
        return [*TEST, f"ckpt='{self.run}/checkpoints/best.ckpt'", "split=seen"]

    def hook(self) -> None:
        from coseg.evaluation import lightning_test

        lightning_test.WRITE_SECONDS = 0.0

    def outcome(self) -> Any:
        (results,) = self.run.rglob("results.json")
        read_results(results)  # it and the tables are as its checksums say
        document = json.loads(results.read_text())
        volatile = ("seconds", "checkpoint", "sha256", "checksum", "checksums")  # the checksum is of the seconds, too
        return {k: v for k, v in document.items() if k not in volatile}, (results.parent / "pairs.csv").read_text()

    def move(self, rng: np.random.Generator) -> bool:
        target = self.folder / f"run {rng.integers(10**6)}"
        if rng.integers(2):
            self.run.rename(target)
        else:
            copied(self.run, target)
            self.originals[self.run] = _contents(self.run)
        self.run = target
        return True


class PredictJob(Job):
    """Photographs, cut out."""

    command = "predict"

    def prepare(self) -> None:
        album(self.folder / "album", 6, 400, 300)
        self.place = self.folder / "place"

    def arguments(self) -> Sequence[str]:
        out = self.place.relative_to(self.folder) / "out"
        words = ["album", "--out", str(out), "--json", str(out / "scores.json"), "--overwrite"]
        return [*words, "--checkpoint", str(self.fixtures.model)]

    def outcome(self) -> Any:
        scores = self.place / "out" / "scores.json"
        text = scores.read_text().replace(f"{self.place.name}/out/", "out/")
        scores.unlink()
        return text, _contents(self.place / "out")

    def move(self, rng: np.random.Generator) -> bool:
        return _moved(self, rng)


class SweepJob(Job):
    """A study of two trials."""

    command = "sweep"

    def prepare(self) -> None:
        self.place = self.folder / "place"

    def move(self, rng: np.random.Generator) -> bool:
        return _moved(self, rng)

    def arguments(self) -> Sequence[str]:
        words = [f"study.runs='{self.place}'", "study.trials=2", "study.pruner=null", "model.kernel_sizes=[3],[1,3]"]
        return [*words, *TRAIN, "trainer.max_epochs=1", "checkpoint_minutes=0.00001"]

    def outcome(self) -> Any:
        from coseg.sweeps.study import read_study

        trials = read_study(self.place / "study").get_trials()
        return [(trial.number, trial.state.name, trial.params, trial.value) for trial in trials]


class ExportJob(Job):
    """A shared model."""

    command = "export"
    format = "safetensors"

    def prepare(self) -> None:
        self.place = self.folder / "place"

    def arguments(self) -> Sequence[str]:
        return [str(self.fixtures.run), "--format", self.format, "--out", str(self.place / "out"), "--overwrite"]

    def outcome(self) -> Any:
        return _contents(self.place / "out")

    def move(self, rng: np.random.Generator) -> bool:
        return _moved(self, rng)


class OnnxJob(ExportJob):
    """Graphs."""

    format = "onnx"
    seconds = 120.0


class RealTrainJob(TrainJob):
    """A training whose starts are processes of their own."""

    real = True
    seconds = 120.0


class RealPredictJob(PredictJob):
    """The same of photographs."""

    real = True
    seconds = 120.0


_JOBS: tuple[type[Job], ...] = (TrainJob, TestJob, PredictJob, TrainJob, ExportJob, SweepJob)
_SLOW: tuple[type[Job], ...] = (RealTrainJob, OnnxJob, RealPredictJob)

_LEAST = 6
"""Kills of processes of their own, and of exports of graphs."""


def _moved(job: PredictJob | ExportJob | SweepJob, rng: np.random.Generator) -> bool:
    """Rename the folder in which a command writes its own, if it is there."""
    if not job.place.is_dir():
        return False
    job.place = job.place.rename(job.folder / f"place {rng.integers(10**6)}")
    return True


def _difference(outcome: Any, expected: Any) -> str:
    """The parts that differ, shortened."""
    if isinstance(outcome, tuple | list) and len(outcome) == len(expected):
        pairs = [(a, b) for a, b in zip(outcome, expected, strict=True) if a != b]
        return "; ".join(_difference(a, b) for a, b in pairs)[:1500]
    return f"{str(outcome)[:300]!r} is not {str(expected)[:300]!r}"


def _contents(folder: Path) -> dict[str, str]:
    """A digest of each file, by its place in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _rows(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line]


def _weights(path: Path) -> str:
    state = torch.load(path, weights_only=True)
    digest = hashlib.sha256(str(state["global_step"]).encode())
    for key, value in sorted(state["state_dict"].items()):
        digest.update(key.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def run_kills(zygote: Zygote, folder: Path, seed: int, count: int) -> list[Killed]:
    """Jobs of each command in turn until so many kills have come."""
    fixtures = Fixtures(folder / "fixtures", zygote)
    whole: dict[type[Job], tuple[Any, float]] = {}
    results: list[Killed] = []
    while len(results) < 2 * count:
        number = len(results)
        kind = _next_kind(results, count)
        if kind is None:
            break
        if kind not in whole:
            job = kind(fixtures, folder / f"whole-{kind.__name__}")
            ended = zygote.run(Call(job.command, job.arguments(), job.folder, prepare=job.hook, real=job.real), 300)
            if ended.code:
                raise RuntimeError(f"coseg-{job.command} ended with {ended.code}: {ended.err}")
            whole[kind] = job.outcome(), ended.seconds
        rng = np.random.default_rng([seed, number])
        result = _kill(zygote, kind(fixtures, folder / f"job-{number}"), *whole[kind], rng, number % 2 == 1)
        results.append(result)
        if result.failed:
            print(result.describe(), flush=True)
    return results


def _next_kind(results: Sequence[Killed], count: int) -> type[Job] | None:
    """The kind of the next job: the slow ones first, until each of their sorts has its kills, then the others."""
    real = sum(result.kills for result in results if result.real)
    graphs = sum(result.kills for result in results if result.name.startswith("OnnxJob"))
    wanted = [kind for kind in _SLOW if (real if kind.real else graphs) < min(_LEAST, count)]
    if wanted:
        return wanted[len(results) % len(wanted)]
    return _JOBS[len(results) % len(_JOBS)] if sum(result.kills for result in results) < count else None


def _kill(zygote: Zygote, job: Job, expected: Any, seconds: float, rng: np.random.Generator, elsewhere: bool) -> Killed:
    """Kill one job again and again until it ends, and compare."""
    kills = moves = 0
    problems: list[str] = []
    temporary = tempfile.mkdtemp(dir=_ELSEWHERE if elsewhere and os.access(_ELSEWHERE, os.W_OK) else job.folder.parent)
    before: dict[str, int] = {}
    for attempt in range(_TRIES):
        call = Call(job.command, job.arguments(), job.folder, {"TMPDIR": temporary}, job.hook, job.real)
        running = zygote.start(call)
        number = _SIGNALS[rng.integers(len(_SIGNALS))]
        sent = not running.wait(float(rng.uniform(0.1, 1.1 + attempt / 10)) * seconds)
        if sent:
            running.send(number)
        ended = running.end(job.seconds)
        if ended.has_traceback and "KeyboardInterrupt" not in ended.err:
            problems.append(f"traceback: {ended.err[-400:]}")
        if not wait_for_orphans(job.seconds) or ended.late:
            problems.append("hang: it did not end")
        if ended.code == 0:
            break
        if not sent or (ended.code != -number and ended.code not in _OK[number]):
            problems.append(f"exit code {ended.code}: {ended.err[-400:]}")
            break
        kills += 1
        try:
            after = job.checkpoints()
            problems += [
                f"lost: {name} went from step {step} to {after.get(name)}"
                for name, step in before.items()
                if after.get(name, -1) < step
            ]
            before = after
        except Exception as error:
            problems.append(f"lost: a checkpoint can't be loaded ({error})")
            break
        moves += int(rng.integers(2) == 0 and job.move(rng))
    else:
        problems.append(f"hang: not at its end after {_TRIES} starts")
    if not problems and (outcome := job.outcome()) != expected:
        problems.append(
            f"numbers: they differ from those of one that was never killed: {_difference(outcome, expected)}"
        )
    problems += [f"original: {path.relative_to(job.folder)} has changed" for path in job.changed_originals()]
    problems += [f"left: {path.relative_to(job.folder)}" for path in job.left()]
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(job.folder, ignore_errors=True)
    where = f"{type(job).__name__} {job.folder.name}, TMPDIR {'elsewhere' if elsewhere else 'beside'}"
    return Killed(job.command, where, kills, moves, job.real, problems)
