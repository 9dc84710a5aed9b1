from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import mentions
from omegaconf import OmegaConf

from coseg.cli.report import main as report_main
from coseg.hub.checkpoint import read_checkpoint

ONE_EPOCH = ("panels=0", "trainer.max_epochs=1", "data.pairs_per_epoch=8")
Command = Callable[..., tuple[int, str, str]]


def test_a_sweep_makes_a_run_of_each_job(
    command: Command, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    arguments = (*tiny_overrides["train"], *ONE_EPOCH, "model.kernel_sizes=[3],[3,5]")
    code, _, err = command("train", "-m", *arguments)
    assert code == 0, err
    (sweep,) = tmp_path.glob("runs/shapes/sweeps/*")
    found = {path.parent.name: OmegaConf.load(path).model.kernel_sizes for path in sweep.glob("*/config.yaml")}
    assert found == {"0": [3], "1": [3, 5]}
    for job in ("0", "1"):
        assert (sweep / job / "checkpoints" / "best.ckpt").is_file()
        assert f"run directory: {sweep / job}" in (sweep / job / "train.log").read_text()


def test_a_failed_job_does_not_end_the_sweep(
    command: Command, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    arguments = (*tiny_overrides["train"], *ONE_EPOCH, "model.kernel_sizes=[3],[4],[3,5]")
    code, _, err = command("train", "-m", *arguments)
    assert code != 0
    (line,) = [line for line in err.splitlines() if line.startswith("job ")]
    assert line.startswith("job 1: model.kernel_sizes")
    assert "Traceback" not in err
    (sweep,) = tmp_path.glob("runs/shapes/sweeps/*")
    assert [path.name for path in (sweep / "1").iterdir()] == ["failed.json"]
    assert not (sweep / "0" / "failed.json").exists()
    assert (sweep / "2" / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.slow
def test_jobs_in_parallel_one_failing_and_what_the_report_makes_of_them(
    command: Command,
    tmp_path: Path,
    tiny_overrides: dict[str, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "data.workers=1")
    arguments = (*tiny_overrides["train"], *ONE_EPOCH, "model.kernel_sizes=[3],[4],[3,5]")
    code, _, _ = command("train", "-m", *arguments, *launcher)
    assert code == 2  # of job 1, though another process had it
    (sweep,) = tmp_path.glob("runs/shapes/sweeps/*")  # one folder, chosen before the processes began
    for job, sizes in (("0", [3]), ("2", [3, 5])):
        assert OmegaConf.load(sweep / job / "config.yaml").model.kernel_sizes == sizes
        assert (sweep / job / "finished.json").is_file()

    with pytest.raises(SystemExit) as leaving:
        report_main(["sweep", str(sweep)])
    assert leaving.value.code == 0
    told = capsys.readouterr().out
    assert mentions(told, "3 jobs", "2 complete", "1 failed")
    assert mentions(told, "job 1", "model.kernel_sizes", "[4]", "odd")
    assert (sweep / "report" / "parameters.png").is_file()
    best = sweep / "report" / "experiment" / "best.yaml"
    number = best.read_text().splitlines()[1].split()[2]
    assert f"coseg-train --config-dir {sweep / 'report'} experiment=best" in told

    # The experiment is the job, and what its values refer to can still be changed in one place.
    code, out, err = command("train", "--config-dir", str(sweep / "report"), "experiment=best", "--cfg", "job")
    assert code == 0, err
    again, job = OmegaConf.create(out), OmegaConf.load(sweep / number / "config.yaml")
    own = ("name", "experiment", "runs")
    found, expected = (OmegaConf.to_container(each, resolve=True) for each in (again, job))
    assert {key: value for key, value in found.items() if key not in own} == {
        key: value for key, value in expected.items() if key not in own
    }
    assert again.name == f"{sweep.name}_best"
    assert "${augmentation.size}" in best.read_text()

    code, _, err = command(
        "train", "--config-dir", str(sweep / "report"), "experiment=best", "trainer.fast_dev_run=true"
    )
    assert code == 0, err


def test_without_its_parts_a_report_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        report_main(["sweep", str(tmp_path)])
    assert leaving.value.code == 2
    assert mentions(capsys.readouterr().err, tmp_path, "no sweep")


@pytest.mark.slow
def test_tests_in_a_sweep_leave_what_lies_where_they_are_started(
    command: Command, tmp_path: Path, trained: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    """As in a study's folder: its trials have numbers for names, too."""
    (tmp_path / "0").mkdir()
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "failed.json").write_text("that of a trial")
    run = shutil.copytree(trained, tmp_path / "run")
    words = (*tiny_overrides["test"], f"ckpt={run / 'checkpoints' / 'best.ckpt'}", "panels=0", "split=seen,nothing")
    code, _, err = command("test", "-m", *words)
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("job ")]
    assert line.startswith("job 1: ")
    assert (run / "test" / "shapes-seen-paper" / "results.json").is_file()
    assert (tmp_path / "0").is_dir() and (tmp_path / "1" / "failed.json").read_text() == "that of a trial"
    (sweep,) = tmp_path.glob("runs/tests/sweeps/*")
    assert sorted(path.name for path in sweep.iterdir()) == ["1", "multirun.yaml"]


def test_plain_ddp_is_refused_in_a_sweep(
    command: Command, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    arguments = (*tiny_overrides["train"], *ONE_EPOCH, "seed=0,1", "trainer.strategy=ddp", "trainer.devices=2")
    code, _, err = command("train", "-m", *arguments)
    assert code == 2
    assert err.count("trainer.strategy=ddp_spawn") == 2
    assert not list(tmp_path.rglob("checkpoints"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_jobs_in_parallel_and_begins_no_more(
    number: signal.Signals, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    """To the whole process group, workers too: each job leaves a checkpoint to go on from."""
    words = [sys.executable, "-m", "coseg.cli.train", "-m", *tiny_overrides["train"], "panels=0"]
    words += ["trainer.max_epochs=1000", "data.pairs_per_epoch=64", "model.kernel_sizes=[3],[1],[3,5]"]
    words += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "data.workers=1"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    jobs = "runs/shapes/sweeps/*/*"
    for _ in range(1200):
        if len(list(tmp_path.glob(f"{jobs}/checkpoints/last.ckpt"))) == 2:
            break
        time.sleep(0.1)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert err.count("coseg-train resume=") == 2
    assert "Traceback" not in err
    (sweep,) = tmp_path.glob("runs/shapes/sweeps/*")
    assert sorted(path.name for path in sweep.iterdir()) == ["0", "1", "multirun.yaml"]
    steps = [read_checkpoint(sweep / job / "checkpoints" / "last.ckpt")["global_step"] for job in ("0", "1")]
    assert all(0 < step < 16_000 for step in steps)
