"""A training over tasks of a real SLURM, a job that is preempted twice, a time limit, and a grid by submitit."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from metrics_file import read_losses
from slurm_jobs import Slurm, command

pytestmark = pytest.mark.slow

Overrides = dict[str, tuple[str, ...]]


def losses(folder: Path) -> int:
    """Steps in the tables of a folder's runs."""
    return max((len(read_losses(path.parent)) for path in folder.glob("runs/**/metrics.csv")), default=0)


def test_two_tasks_train_as_one_run(slurm: Slurm, tiny_overrides: Overrides, tmp_path: Path) -> None:
    words = (*tiny_overrides["train"], "panels=0", "trainer.max_epochs=1", "trainer.strategy=ddp", "trainer.devices=2")
    out = slurm.finish(slurm.submit(f"srun {command('train', *words)}", "--ntasks-per-node=2"))
    (run,) = tmp_path.glob("runs/shapes/*")
    assert [step for step, _ in read_losses(run)] == [0, 1]  # 16 pairs in batches of 4 in each of two tasks
    assert out.count("run directory") == 1
    refused = slurm.submit(f"srun {command('train', *words)} || echo code $?", "--ntasks=2")
    assert "--ntasks-per-node" in slurm.finish(refused) and "code 2" in slurm.output(refused)


def test_a_job_that_is_preempted_twice_ends_as_one_that_is_not(
    slurm: Slurm, tiny_overrides: Overrides, tmp_path: Path
) -> None:
    words = (*tiny_overrides["train"], "panels=0", "trainer.max_epochs=2", "data.pairs_per_epoch=480", "data.workers=1")
    line = f"srun {command('train', *words)}"
    undisturbed = Slurm(slurm.environment, tmp_path / "undisturbed")
    undisturbed.folder.mkdir()
    undisturbed.finish(undisturbed.submit(line, "--partition=high"))
    job = slurm.submit(line, "--partition=low", "--requeue", "--exclusive")
    done = 0
    for _ in range(2):
        slurm.wait(job, lambda done=done: losses(tmp_path) > done + 3)  # type: ignore[misc]
        slurm.finish(slurm.submit("true", "--partition=high", "--exclusive"))
        done = losses(tmp_path)
        assert done < 240, "the job was not preempted in its training"
    out = slurm.finish(job)
    assert slurm.restarts(job) == 2
    assert out.count("queued") == 2 and out.count("best checkpoint") == 1
    (run,), (whole,) = tmp_path.glob("runs/shapes/*"), undisturbed.folder.glob("runs/shapes/*")
    assert len(read_losses(whole)) == 240
    assert read_losses(run) == read_losses(whole)


def test_a_time_limit_is_no_end(slurm: Slurm, tiny_overrides: Overrides, tmp_path: Path) -> None:
    words = (
        *tiny_overrides["train"],
        "panels=0",
        "trainer.max_epochs=100",
        "data.pairs_per_epoch=160",
        "trainer=slurm",
    )
    job = slurm.submit(f"srun --kill-on-bad-exit {command('train', *words)}", "--requeue", "--ntasks-per-node=2")
    slurm.wait(job, lambda: losses(tmp_path) > 3)
    slurm.call("scancel", "--signal=USR1", job)  # what --signal=USR1@N does N seconds before the limit
    slurm.wait(job, lambda: slurm.restarts(job) == 1)
    steps = losses(tmp_path)
    slurm.wait(job, lambda: losses(tmp_path) > steps + 3)
    slurm.call("scancel", job)
    slurm.wait(job, lambda: slurm.state(job) == "CANCELLED")
    assert slurm.output(job).count("queued") == 1, "a user's scancel does not queue the job again"
    (run,) = tmp_path.glob("runs/shapes/*")
    numbers = [step for step, _ in read_losses(run)]
    assert numbers == list(range(len(numbers)))


def test_a_grid(slurm: Slurm, tiny_overrides: Overrides, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    words = (*tiny_overrides["train"], "panels=0", "trainer.max_epochs=1", "seed=0,1,2")
    launcher = ("hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=null")
    slurm.call(*shlex.split(command("train", "-m", *words, *launcher)))
    runs = sorted(path.parent for path in tmp_path.glob("runs/shapes/sweeps/*/*/finished.json"))
    assert [run.name for run in runs] == ["0", "1", "2"]
    assert len({run.parent for run in runs}) == 1
