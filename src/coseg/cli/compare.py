"""``make compare``: every network, and every ablation of the paper's, trained for the same time and tested.

It takes hours, can be stopped at any time, and goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

EPOCHS = 4
"""Stretches of a training, each of which ends with a validation."""

BASELINE = "cross_correlation"


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
    """Runs jobs one after the other, each with processes of its own.

    Args:
        out: where everything is kept: ``<out>/<kind>/<name>/<seed>/`` with the run and ``job.json``, and the tables.
        minutes: of training, without validation; steps are counted out from the time of a few, once for each name.
        training: Hydra overrides of every `coseg-train`.
        testing: of every `coseg-test`.
    """

    def __init__(self, out: Path, minutes: float, training: Sequence[str], testing: Sequence[str]) -> None:
        self.out = out
        self.minutes = minutes
        self.training = list(training)
        self.testing = list(testing)

    def run(self, jobs: Sequence[Job]) -> None:
        """Run what is not finished; write the tables after each.

        An ablation that changes nothing, as leaving out the pre-training of an encoder that has none, is left out.

        Raises:
            CosegError: a job failed; the others can be run without it.
        """
        same = {job.name for job in jobs if job.kind == "ablations" and not self._changes(job)}
        if same:
            print(f"no change to what is trained here, so not run: {', '.join(sorted(same))}")
        jobs = [job for job in jobs if job.kind == "models" or job.name not in same]
        for number, job in enumerate(jobs, 1):
            if self.finished(job) is None:
                print(f"{number} of {len(jobs)}: {' '.join(job.overrides)}", flush=True)
                self._run(job)
                self.write(jobs)
        self.write(jobs)

    def _changes(self, job: Job) -> bool:
        """Whether an ablation is another training than the unchanged method."""
        from omegaconf import OmegaConf

        from coseg.cli.app import compose_config

        changed, unchanged = (
            OmegaConf.to_container(compose_config("train", [*self.training, f"model={BASELINE}", f"ablation={name}"]))
            for name in (job.name, "none")
        )
        return {**changed, "ablation": None} != {**unchanged, "ablation": None}  # type: ignore[dict-item]

    def _run(self, job: Job) -> None:
        from coseg.files import write_text_atomically

        folder = self._folder(job)
        state = self._state(job)
        if "step_seconds" not in state:
            state |= self._time(job)
            write_text_atomically(folder / "job.json", json.dumps(state, indent=2) + "\n")
        if "run" not in state:
            last = max(folder.glob("*/checkpoints/last.ckpt"), default=None)
            began = time.monotonic()
            if last is not None:
                peak = self._call("train", [f"resume={last.parent.parent}"])
            else:
                pairs = max(1, round(state["steps"] / EPOCHS)) * state["batch"]
                place = [f"runs={self.out}", f"name={job.kind}/{job.name}/{job.seed}"]
                length = [f"trainer.max_epochs={EPOCHS}", f"data.pairs_per_epoch={pairs}"]
                peak = self._call("train", [*self.training, *job.overrides, *place, *length])
            run = max(folder.glob("*/checkpoints/best.ckpt")).parent.parent
            state |= {"run": run.name, "peak_gb": peak, "seconds": round(time.monotonic() - began, 1)}
            write_text_atomically(folder / "job.json", json.dumps(state, indent=2) + "\n")
        best = folder / state["run"] / "checkpoints" / "best.ckpt"
        self._call("test", [*self.testing, f"ckpt={best}", "panels=0"])

    def _time(self, job: Job) -> dict[str, Any]:
        """Seconds of a step, and how many fit."""
        known = sorted((self.out / job.kind / job.name).glob("*/job.json"))  # of another seed: the same steps
        if known:
            state = json.loads(known[0].read_text(encoding="utf-8"))
            return {key: state[key] for key in ("step_seconds", "steps", "batch", "parameters")}
        told = subprocess.run(
            [sys.executable, "-m", "coseg.cli.train", *self.training, *job.overrides, "check=true"],
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

    def _call(self, command: str, overrides: Sequence[str]) -> float:
        """Run a command; its memory at the peak, in GB. A signal is passed on to it, and ends this, too."""
        from coseg.errors import CosegError
        from coseg.sweeps.child import run_child
        from coseg.training.errors import Stopped

        ended = run_child(command, overrides)
        if ended.received is not None:
            raise Stopped(self.out, ended.received)
        if ended.code:
            raise CosegError(
                f"coseg-{command} {' '.join(overrides)} failed with exit code {ended.code}: mend what it says "
                "above, and run the comparison again; it goes on with this one."
            )
        return ended.peak_gb

    def _failed(self, job: Job, code: int) -> Exception:
        from coseg.errors import CosegError

        return CosegError(f"A check of {' '.join(job.overrides)} failed with exit code {code}: see above.")

    def _folder(self, job: Job) -> Path:
        return self.out / job.kind / job.name / str(job.seed)

    def _state(self, job: Job) -> dict[str, Any]:
        path = self._folder(job) / "job.json"
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return state

    def finished(self, job: Job) -> Any:
        """A `Finished` job; None where it is not."""
        from coseg.evaluation.comparison import Finished
        from coseg.evaluation.results import read_results

        state = self._state(job)
        paths = sorted((self._folder(job) / state.get("run", "-") / "test").glob("*/results.json"))
        if not paths:
            return None
        figures = {key: state[key] for key in ("parameters", "step_seconds", "steps", "peak_gb")}
        return Finished(job.name, job.seed, results=read_results(paths[0]), **figures)

    def write(self, jobs: Sequence[Job]) -> None:
        """Write ``models.md`` and ``ablations.md`` of what is finished; ablations beside the unchanged method."""
        from coseg.evaluation.comparison import comparison_table
        from coseg.evaluation.table import as_markdown
        from coseg.files import write_text_atomically

        for kind, what in (("models", "network"), ("ablations", "variant")):
            found = [done for job in jobs if job.kind == kind and (done := self.finished(job)) is not None]
            if not found:
                continue
            if kind == "ablations":
                unchanged = [self.finished(Job("models", BASELINE, job.seed)) for job in jobs if job.kind == kind]
                found += {done.seed: done._replace(name="none") for done in unchanged if done is not None}.values()
            settings = f"{self.minutes:g} minutes of training each: `{' '.join(self.training)}`."
            text = as_markdown(comparison_table(found, what, [settings]))
            write_text_atomically(self.out / f"{kind}.md", text)


def all_jobs(kinds: Sequence[str], seeds: Sequence[int], names: Sequence[str] = ()) -> Iterator[Job]:
    """Every network, then every ablation, the first seed of all before the second.

    Args:
        kinds: ``models`` and ``ablations``, or one of them.
        seeds: of the trainings.
        names: only these; none: all.
    """
    from coseg.cli.app import choices

    groups = {"models": choices("model"), "ablations": [name for name in choices("ablation") if name != "none"]}
    for seed in seeds:
        for kind in kinds:
            yield from (Job(kind, name, seed) for name in groups[kind] if not names or name in names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m coseg.cli.compare", description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=("models", "ablations"), default=["models", "ablations"])
    parser.add_argument("--names", nargs="+", default=[], metavar="NAME", help="only these networks or ablations")
    parser.add_argument("--minutes", type=float, default=12.0, help="of training, for each (12)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], metavar="N", help="of the trainings (0 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), metavar="FOLDER", help="where (runs/compare)")
    parser.add_argument("--train", nargs="+", metavar="OVERRIDE", help="of coseg-train")
    parser.add_argument("--test", nargs="+", metavar="OVERRIDE", help="of coseg-test")
    return parser


TRAIN = ["experiment=voc_mini", "callbacks=ema", "model.input_size=96", "augmentation.size=96", "panels=0"]
"""One size of images, so that a step takes as long at the end as at the start."""

TEST = ["dataset=voc", "dataset.split_val=false"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    from coseg.cli.app import guard

    options = _parser().parse_args(arguments)
    comparison = Comparison(options.out.resolve(), options.minutes, options.train or TRAIN, options.test or TEST)
    guard(lambda: comparison.run(list(all_jobs(options.kinds, options.seeds, options.names))))


if __name__ == "__main__":
    main()
