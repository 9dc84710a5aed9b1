"""make compare: what is run, and that it goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coseg.cli.app import choices
from coseg.cli.compare import TRAIN, all_jobs, changing
from coseg.sweeps.budget import Job


def test_all_networks_and_ablations_are_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = list(all_jobs(["models", "ablations"], [0, 1]))
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    names = {kind: {job.name for job in jobs if job.kind == kind} for kind in ("models", "ablations")}
    assert names["models"] == set(choices("model")) >= {"siamese", "cross_correlation"}
    assert names["ablations"] == set(choices("ablation")) - {"none"}
    assert [job.name for job in all_jobs(["models"], [0], ["siamese"])] == ["siamese"]

    unchanged = Job("ablations", "no_pretraining", 0)  # voc_mini has none
    assert changing([unchanged, Job("models", "siamese", 0)], TRAIN) == [Job("models", "siamese", 0)]
    assert "no change to what is trained here, so not run: no_pretraining" in capsys.readouterr().out


@pytest.mark.slow
def test_stopped_by_a_signal_and_run_again(tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> None:
    """Real commands on drawn shapes, in a folder of any name: half a minute of training, stopped, then gone on with."""
    out = tmp_path / "a [b], c=d"
    train = ["experiment=shapes", *tiny_overrides["train"], "panels=0", "data.pairs_per_epoch=16"]
    test = ["dataset=shapes", *tiny_overrides["test"], "split=seen"]
    words = [sys.executable, "-m", "coseg.cli.compare", "--kinds", "models", "--names", "siamese", "--seeds", "0"]
    words += ["--minutes", "0.5", "--out", str(out), "--train", *train, "--test", *test]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(out.glob("models/siamese/0/*/metrics.csv")):
        time.sleep(0.2)
    time.sleep(2)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM and "Go on with the same command" in err
    (last,) = out.glob("models/siamese/0/*/checkpoints/last.ckpt")
    subprocess.run(words, cwd=tmp_path, check=True, timeout=600)
    assert list(out.glob("models/siamese/0/*/checkpoints/last.ckpt")) == [last]
    assert "| siamese |" in (out / "models.md").read_text()
