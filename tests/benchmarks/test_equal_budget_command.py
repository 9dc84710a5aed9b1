"""make compare: what is run, and that it goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from facts import mentions

from benchmarks.equal_budget.__main__ import SETTINGS, all_jobs, changing, main
from benchmarks.equal_budget.runner import Job
from coseg.configs import choices


def test_all_networks_and_ablations_are_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = list(all_jobs(["models", "ablations"], [0, 1]))
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    names = {kind: {job.name for job in jobs if job.kind == kind} for kind in ("models", "ablations")}
    assert names["models"] == set(choices("model")) >= {"siamese", "cross_correlation"}
    assert names["ablations"] == set(choices("ablation")) - {"none"}
    assert [job.name for job in all_jobs(["models"], [0], ["siamese"])] == ["siamese"]

    unchanged = Job("ablations", "no_pretraining", 0)  # voc_mini has none
    assert changing([unchanged, Job("models", "siamese", 0)], SETTINGS["from_scratch"][0]) == [
        Job("models", "siamese", 0)
    ]
    assert mentions(capsys.readouterr().out, "not run", "no_pretraining")
    layer, gate = (Job("ablations", name, 0) for name in ("conv4_3_stride_8", "use_gate"))  # the first: VGG16's alone
    assert changing([layer, gate, unchanged], SETTINGS["pretrained"][0]) == [gate]
    assert mentions(capsys.readouterr().out, "not run", "conv4_3_stride_8", "no_pretraining")


@pytest.mark.slow
def test_stopped_by_a_signal_and_run_again(tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> None:
    """Real commands on drawn shapes, in a folder of any name: half a minute of training, stopped, then gone on with."""
    out = tmp_path / "a [b], c=d"
    train = ["experiment=shapes", *tiny_overrides["train"], "panels=0", "data.pairs_per_epoch=16"]
    test = ["dataset=shapes", *tiny_overrides["test"], "split=seen"]
    words = [sys.executable, "-m", "benchmarks.equal_budget", "--kinds", "models", "--names", "siamese", "--seeds", "0"]
    words += ["--minutes", "0.5", "--out", str(out), "--train", *train, "--test", *test]
    process = subprocess.Popen(words, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(out.glob("models/siamese/0/*/metrics.csv")):
        time.sleep(0.2)
    time.sleep(2)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM and mentions(err, "same command")
    (last,) = out.glob("models/siamese/0/*/checkpoints/last.ckpt")
    subprocess.run(words, cwd=Path(__file__).parents[2], check=True, timeout=600)
    assert list(out.glob("models/siamese/0/*/checkpoints/last.ckpt")) == [last]
    assert "| siamese |" in (out / "models.md").read_text()


@pytest.mark.parametrize("option", ["--minutes", "--seeds", "--threads"])
@pytest.mark.parametrize("value", ["foo", "nan", "-1", "4294967296000000000000"])
def test_numbers_out_of_range(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"{option}={value}"])
    assert ended.value.code == 2 and mentions(capsys.readouterr().err, option, value)
