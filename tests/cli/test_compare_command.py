"""make compare: what is run, and that it goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from coseg.cli.app import choices
from coseg.cli.compare import TEST, TRAIN, Comparison, Job, all_jobs
from coseg.errors import CosegError

SCORES = ("jaccard", "jaccard_class_mean", "jaccard_global", "jaccard_distractor", "pixel_accuracy")
RESULTS = {**dict.fromkeys(SCORES, 0.5), "intervals": {}, "seconds": 1.0, "pairs": 10}
JOBS = [Job("models", "cross_correlation", 0), Job("models", "siamese", 0), Job("ablations", "use_add", 0)]


class Pretended(Comparison):
    """Leaves what the commands would, and writes down what was called."""

    def __init__(self, out: Path, fail: Sequence[str] = ()) -> None:
        super().__init__(out, 0.1, TRAIN, TEST)
        self.calls: list[str] = []
        self.fail = list(fail)

    def _time(self, job: Job) -> dict[str, Any]:
        self.calls.append(f"time {job.name}")
        return {"step_seconds": 0.25, "steps": 24, "batch": 16, "parameters": 1000}

    def _call(self, command: str, overrides: Sequence[str]) -> float:
        self.calls.append(f"{command} {' '.join(overrides)}")
        if command in self.fail:
            raise CosegError("failed")
        if command == "train" and not overrides[0].startswith("resume"):
            name = next(each for each in overrides if each.startswith("name=")).removeprefix("name=")
            for kept in ("best", "last"):
                path = self.out / name / "2026-01-01" / "checkpoints" / f"{kept}.ckpt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        elif command == "test":
            run = Path(overrides[-2].removeprefix("ckpt=")).parent.parent
            (run / "test" / "voc").mkdir(parents=True)
            (run / "test" / "voc" / "results.json").write_text(json.dumps(RESULTS))
        return 1.5


def test_each_job_is_timed_trained_and_tested_once(tmp_path: Path) -> None:
    comparison = Pretended(tmp_path)
    comparison.run(JOBS)
    assert [call.split()[0] for call in comparison.calls] == ["time", "train", "test"] * 3
    train = comparison.calls[1].split()
    assert train[: len(TRAIN) + 2] == ["train", *TRAIN, "model=cross_correlation"]
    assert {"seed=0", "trainer.max_epochs=4", "data.pairs_per_epoch=96"} <= set(train)  # 24 steps of 16 pairs
    assert "model=cross_correlation ablation=use_add seed=0" in comparison.calls[7]
    models, ablations = ((tmp_path / f"{kind}.md").read_text() for kind in ("models", "ablations"))
    assert "| siamese |" in models and "| cross_correlation |" in models
    assert "| use_add |" in ablations and "| none |" in ablations and "siamese" not in ablations

    again = Pretended(tmp_path)
    again.run(JOBS)
    assert again.calls == []


def test_a_training_that_was_stopped_is_resumed(tmp_path: Path) -> None:
    run = tmp_path / "models" / "siamese" / "0" / "2026-01-01"
    (run / "checkpoints").mkdir(parents=True)
    for kept in ("best", "last"):
        (run / "checkpoints" / f"{kept}.ckpt").touch()
    comparison = Pretended(tmp_path, fail=["test"])
    with pytest.raises(CosegError):
        comparison.run([JOBS[1]])
    assert comparison.calls[:2] == ["time siamese", f"train resume={run}"]
    comparison = Pretended(tmp_path)
    comparison.run([JOBS[1]])
    assert [call.split()[0] for call in comparison.calls] == ["test"]


def test_other_seeds_take_the_same_steps(tmp_path: Path) -> None:
    known = {"step_seconds": 0.5, "steps": 99, "batch": 16, "parameters": 7}
    (tmp_path / "models" / "siamese" / "0").mkdir(parents=True)
    (tmp_path / "models" / "siamese" / "0" / "job.json").write_text(json.dumps(known | {"run": "x"}))
    assert Comparison(tmp_path, 1, TRAIN, TEST)._time(Job("models", "siamese", 1)) == known


def test_all_networks_and_ablations_are_jobs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    jobs = list(all_jobs(["models", "ablations"], [0, 1]))
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    names = {kind: {job.name for job in jobs if job.kind == kind} for kind in ("models", "ablations")}
    assert names["models"] == set(choices("model")) >= {"siamese", "cross_correlation"}
    assert names["ablations"] == set(choices("ablation")) - {"none"}
    assert [job.name for job in all_jobs(["models"], [0], ["siamese"])] == ["siamese"]

    comparison = Pretended(tmp_path)
    comparison.run([Job("ablations", "no_pretraining", 0)])  # voc_mini has none
    assert comparison.calls == []
    assert "no change to what is trained here, so not run: no_pretraining" in capsys.readouterr().out


@pytest.mark.slow
def test_stopped_by_a_signal_and_run_again(tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> None:
    """Real commands on drawn shapes: half a minute of training, stopped, then gone on with."""
    train = ["experiment=shapes", *tiny_overrides["train"], "panels=0", "data.pairs_per_epoch=16"]
    test = ["dataset=shapes", *tiny_overrides["test"], "split=seen"]
    words = [sys.executable, "-m", "coseg.cli.compare", "--kinds", "models", "--names", "siamese", "--seeds", "0"]
    words += ["--minutes", "0.5", "--out", str(tmp_path), "--train", *train, "--test", *test]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(tmp_path.glob("models/siamese/0/*/metrics.csv")):
        time.sleep(0.2)
    time.sleep(2)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM and "Go on with the same command" in err
    (last,) = tmp_path.glob("models/siamese/0/*/checkpoints/last.ckpt")
    subprocess.run(words, cwd=tmp_path, check=True, timeout=600)
    assert list(tmp_path.glob("models/siamese/0/*/checkpoints/last.ckpt")) == [last]
    assert "| siamese |" in (tmp_path / "models.md").read_text()
