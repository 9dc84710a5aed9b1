"""``srun coseg-predict`` on a real SLURM: the files of one process, lost tasks, and jobs that are preempted."""

from __future__ import annotations

import io
import os
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from slurm_jobs import Slurm, command
from tiny_networks import picture

pytestmark = pytest.mark.slow

BOUND = 100.0
"""Seconds within which a step has ended after one of its tasks has failed; starting takes 20 on a busy machine."""


def album(folder: Path, count: int, height: int, width: int) -> None:
    folder.mkdir()
    for k in range(count):
        Image.fromarray(picture(height + 7 * (k % 5), width - 5 * (k % 3), k)).save(folder / f"{k:02}.png")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def complete(folder: Path) -> dict[str, bytes]:
    """Without what a killed task was writing, under a hidden name."""
    return {name: data for name, data in files(folder).items() if not name.startswith(".")}


@pytest.fixture
def slurm(slurm: Slurm) -> Slurm:
    """With one thread for each process, as a task has on a node of which it is given one core."""
    slurm.environment = slurm.environment | {"OMP_NUM_THREADS": "1"}
    return slurm


EXEMPLAR = ("--exemplar", "album/00.png:5,5,20,20")
NAMED = ("--exemplar", "one=album/00.png:5,5,20,20", "--exemplar", "two=album/01.png:9,9")


@pytest.mark.parametrize(
    ("tasks", "words"),
    [(2, ("--split-out", "split")), (2, ("--clusters", "--split-out", "split")), (4, ("--pairs",)), (2, EXEMPLAR),
     (3, NAMED)],
)  # fmt: skip
def test_tasks_write_and_print_what_one_process_does(slurm: Slurm, tasks: int, words: tuple[str, ...]) -> None:
    album(slurm.folder / "album", 5 if tasks == 4 else 8, 60, 80)
    (slurm.folder / "album" / "none.png").write_bytes(b"no image")
    line = shlex.split(command("predict", "album", *words, "--json", "out/scores.json", "--out", "out"))
    alone = slurm.run(*line)
    assert alone.returncode == 2 and "none.png" in alone.stderr, alone.stderr
    made = [slurm.folder / name for name in ("out", "split") if (slurm.folder / name).exists()]
    whole = {path.name: files(path) for path in made}
    for path in made:
        path.rename(path.with_name(f"{path.name} of one"))
    together = slurm.run("srun", f"--ntasks-per-node={tasks}", *line)
    assert together.returncode == 2 and together.stderr.count("none.png") == 1, together.stderr
    assert together.stdout == alone.stdout
    assert len(whole["out"]) > 20 and {path.name: files(path) for path in made} == whole


@pytest.mark.parametrize("kill_all", [True, False])
def test_a_task_that_is_killed_ends_the_step(slurm: Slurm, kill_all: bool) -> None:
    """And what is there is complete; the same command writes the rest."""
    album(slurm.folder / "album", 16, 500, 700)
    words = ("album", "--out", "out", "--only", "mask,cutout")
    killer = (
        'if [ "$SLURM_PROCID" = 1 ]; then (until ls out/*_mask.png >/dev/null 2>&1; do sleep 0.02; done; kill -9 $$) & '
        f"fi; exec {command('predict', *words)}"
    )
    options = ("--ntasks-per-node=2", *(["--kill-on-bad-exit"] if kill_all else []))
    began = time.monotonic()
    ran = slurm.run("srun", *options, "bash", "-c", killer)
    assert time.monotonic() - began < BOUND
    assert ran.returncode != 0 and "Traceback" not in ran.stderr
    assert "Killed" in ran.stderr and ("Stopped; out" in ran.stderr or "Another process of this job" in ran.stderr)
    some = complete(slurm.folder / "out")
    assert 0 < len(some) < 32
    slurm.run("srun", *options, sys.executable, "-m", "coseg.cli.predict", *words)
    assert not list(slurm.folder.glob("out/.*")), "what the lost process was writing"
    slurm.call(*shlex.split(command("predict", *words[:2], "whole", *words[3:])))
    assert files(slurm.folder / "out") == files(slurm.folder / "whole")
    assert some.items() <= files(slurm.folder / "out").items()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_task_that_can_not_begin_ends_the_step(slurm: Slurm, rank: int) -> None:
    album(slurm.folder / "album", 2, 60, 80)
    bad = f'if [ "$SLURM_PROCID" = {rank} ]; then set -- --device none; fi; exec {command("predict", "album")} "$@"'
    began = time.monotonic()
    ran = slurm.run("srun", "--ntasks-per-node=2", "bash", "-c", bad)
    assert time.monotonic() - began < BOUND
    assert ran.returncode != 0 and ran.stderr.count("'none' can't be used") == 1 and "Traceback" not in ran.stderr
    assert not (slurm.folder / "coseg-output").exists()


def test_a_shell_of_salloc(slurm: Slurm) -> None:
    """A command that is typed there is one process; what srun starts is a task of one job, in a script, too."""
    album(slurm.folder / "album", 3, 60, 80)
    line = shlex.split(command("predict", "album", "--out"))
    salloc = ("salloc", "--ntasks=2", "--job-name=interactive")
    typed, started = slurm.run(*salloc, *line, "one"), slurm.run(*salloc, "srun", *line, "two")
    script = slurm.run("srun", "--ntasks=2", "bash", "-c", f"{shlex.join([*line, 'three'])}; exit $?")
    for ran in (typed, started, script):
        assert ran.returncode == 0 and ran.stdout.count("Segmenting with") == 1, ran.stderr
    assert files(slurm.folder / "one") == files(slurm.folder / "two") == files(slurm.folder / "three")


@pytest.mark.parametrize("when", ["loading", "writing"])
def test_a_job_that_is_preempted_is_queued_again_and_writes_the_rest(slurm: Slurm, when: str) -> None:
    writing = when == "writing"
    count = 96 if writing else 24  # it takes SLURM seconds to preempt a job
    album(slurm.folder / "album", count, 500, 700)
    line = command("predict", "album", "--out", "out", "--json", "out/scores.json", "--split-out", "split")
    slurm.call(*shlex.split(line))
    for name in ("out", "split"):
        os.rename(slurm.folder / name, slurm.folder / f"{name} of one")
    job = slurm.submit(
        f"srun --kill-on-bad-exit {line}", "--partition=low", "--requeue", "--exclusive", "--ntasks-per-node=2"
    )
    slurm.wait(job, lambda: bool(list(slurm.folder.glob("out/*_mask.png")) if writing else slurm.output(job)))
    slurm.submit("sleep 5", "--partition=high", "--exclusive")
    slurm.wait(job, lambda: slurm.restarts(job) == 1)
    slurm.wait(job, lambda: slurm.state(job) == "PENDING")
    some = files(slurm.folder / "out")
    assert bool(some) == writing and len(some) < 3 * count + 2 and not list(slurm.folder.glob("out/.*"))
    out = slurm.finish(job)
    assert (
        out.count("has queued job") == 1
        and "Stopped; out" in out
        and ("kept" in out) == writing
        and "Traceback" not in out
    )
    assert files(slurm.folder / "split") == files(slurm.folder / "split of one")
    rest, whole = files(slurm.folder / "out"), files(slurm.folder / "out of one")
    sheets = [np.asarray(Image.open(io.BytesIO(made.pop("sheet.png"))), np.float32) for made in (rest, whole)]
    assert np.abs(sheets[0] - sheets[1]).mean() < 3  # of photographs that were only read for it, reduced otherwise
    assert rest == whole
    assert some.items() <= files(slurm.folder / "out").items()
