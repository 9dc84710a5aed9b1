"""A real SLURM on this machine: a training over tasks, a job that is preempted twice, and a grid by submitit.

It is set up by `cluster.sh`, as root, where Debian's slurm-wlm and munge are installed; elsewhere these are skipped.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from metrics_file import read_losses

CLUSTER = Path(__file__).with_name("cluster.sh")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
SECONDS = 900.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in PROGRAMS),
        reason="needs root, and slurm-wlm and munge of Debian",
    ),
]

Overrides = dict[str, tuple[str, ...]]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which commands reach it."""
    folder = Path("/tmp") / tmp_path_factory.mktemp("slurm").name  # as munge, which may not enter root's folders
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    ran = subprocess.run([CLUSTER, "start", folder], env=environment, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    try:
        yield {**environment, "SLURM_CONF": ran.stdout.split()[-1]}
    finally:
        subprocess.run([CLUSTER, "stop", folder], env=environment, check=False)
        shutil.rmtree(folder, ignore_errors=True)


class Slurm:
    """Submits jobs from a folder, and waits for them."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self.folder = folder

    def call(self, *words: str) -> str:
        ran = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=SECONDS
        )
        assert ran.returncode == 0, (words, ran.stdout, ran.stderr)
        return ran.stdout

    def submit(self, line: str, *options: str) -> str:
        """The id of a job that runs a line of shell."""
        script = self.folder / "job.sh"
        script.write_text(f"#!/bin/bash\n{line}\n")
        return self.call("sbatch", "--parsable", "--open-mode=append", "--output=%j.out", *options, str(script)).strip()

    def state(self, job: str) -> str:
        return self.call("scontrol", "show", "job", job).partition("JobState=")[2].split()[0]

    def wait(self, job: str, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not ready():
            assert time.monotonic() < end, (self.state(job), self.output(job))
            time.sleep(0.2)

    def finish(self, job: str) -> str:
        """What a job printed, once it has ended well."""
        self.wait(job, lambda: self.state(job) not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING"))
        assert self.state(job) == "COMPLETED", self.output(job)
        return self.output(job)

    def output(self, job: str) -> str:
        path = self.folder / f"{job}.out"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def slurm(cluster: dict[str, str], tmp_path: Path) -> Slurm:
    return Slurm(cluster, tmp_path)


def command(name: str, *overrides: str) -> str:
    return shlex.join([sys.executable, "-m", f"coseg.cli.{name}", *overrides])


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
    assert "Restarts=2" in slurm.call("scontrol", "show", "job", job)
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
    slurm.wait(job, lambda: "Restarts=1" in slurm.call("scontrol", "show", "job", job))
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
