"""Processes that ``torchrun`` starts, as on several machines: one run directory, one stop for all, and resuming."""

from __future__ import annotations

import csv
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from coseg.files.plain_data import read_json

SECONDS = 240
APART = 1.5
"""Seconds from the start of one machine to that of the next: the clock shows another second."""

SETTINGS = ("data.pairs_per_epoch=48", "trainer.max_epochs=4", "optimizer.lr=0.003", "panels=0")


class Ended(NamedTuple):
    """What a launcher printed.

    Attributes:
        text: its output.
        code: of the process that it started, which it tells, where it failed itself.
    """

    text: str
    code: int


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def wait_for(what: Callable[[], object], launchers: list[subprocess.Popen[bytes]]) -> None:
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end and all(launcher.poll() is None for launcher in launchers)
        time.sleep(0.02)


def torchrun(
    folder: Path,
    machines: int,
    *words: str,
    meanwhile: Callable[[list[subprocess.Popen[bytes]]], None] | None = None,
    last: tuple[str, ...] = (),
) -> list[Ended]:
    """Run a training as that many machines of one process each would, all of them here, started one after the other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launchers, logs = [], [folder / f"machine{k}.txt" for k in range(machines)]
    try:
        for k, log in enumerate(logs):
            command = (
                *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={machines}", "--nproc-per-node=1"),
                *(f"--node-rank={k}", "--master-addr=127.0.0.1", f"--master-port={port}", "-m", "coseg.cli.train"),
            )
            with log.open("wb") as file:
                launchers.append(
                    subprocess.Popen(
                        (*command, *words, *(last if k == machines - 1 else ())),
                        cwd=folder,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        env=os.environ | {"OMP_NUM_THREADS": "1"},
                    )
                )
            time.sleep(APART)
        if meanwhile is not None:
            meanwhile(launchers)
        end = time.monotonic() + SECONDS
        codes = [launcher.wait(max(1.0, end - time.monotonic())) for launcher in launchers]
    finally:
        for launcher in launchers:
            for pid in (*children(launcher.pid), launcher.pid):
                if launcher.poll() is None:
                    os.kill(pid, signal.SIGKILL)
    ended = []
    for code, log in zip(codes, logs, strict=True):
        text = log.read_text(errors="replace")
        told = re.findall(r"exitcode *: (-?\d+)", text)
        assert bool(told) == bool(code), text
        ended.append(Ended(text, int(told[-1]) if told else 0))
    return ended


def training(tiny_overrides: dict[str, tuple[str, ...]], machines: int) -> list[str]:
    machine = (f"+trainer.num_nodes={machines}", "trainer.devices=1", "trainer.strategy=ddp")
    return [*tiny_overrides["train"], *SETTINGS, *machine]


def numbers(run: Path) -> tuple[object, ...]:
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    finished = read_json(run / "finished.json", "")
    return finished["jaccard"], finished["step"], rows


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes as Linux shows them")
@pytest.mark.parametrize("machines", [2, 3])
def test_stopped_and_resumed(machines: int, tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    """SIGTERM to the last rank in mid-training stops all of them; resumed, they end at the numbers of a whole run."""
    words = training(tiny_overrides, machines)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    assert [ended.code for ended in torchrun(whole, machines, *words)] == [0] * machines
    (first,) = (whole / "runs").glob("*/*")
    assert len(read_json(first / "environment.json", "", verbatim=True)) == 1
    assert (first / "train.log").read_text().count("run directory: ") == 1
    assert not list(whole.glob("runs/.*"))

    def stop(launchers: list[subprocess.Popen[bytes]]) -> None:
        wait_for(lambda: list(broken.glob("runs/*/*/checkpoints/last.ckpt")), launchers)
        (pid,) = children(launchers[-1].pid)
        os.kill(pid, signal.SIGTERM)

    ended = torchrun(broken, machines, *words, "checkpoint_minutes=0.005", meanwhile=stop)
    assert [one.code for one in ended] == [143] * machines, [one.text for one in ended]
    (second,) = (broken / "runs").glob("*/*")
    assert (second / "checkpoints" / "last.ckpt").is_file() and not (second / "finished.json").exists()

    ended = torchrun(broken, machines, f"resume={second}")
    assert [one.code for one in ended] == [0] * machines, [one.text for one in ended]
    assert list((broken / "runs").glob("*/*")) == [second]
    assert numbers(second) == numbers(first)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes as Linux shows them")
def test_a_rank_that_is_killed_ends_the_others(tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    def kill(launchers: list[subprocess.Popen[bytes]]) -> None:
        wait_for(lambda: list(tmp_path.glob("runs/*/*/checkpoints/last.ckpt")), launchers)
        (pid,) = children(launchers[-1].pid)
        os.kill(pid, signal.SIGKILL)

    words = [*training(tiny_overrides, 2), "checkpoint_minutes=0.005", "trainer.max_epochs=200"]
    first, second = torchrun(tmp_path, 2, *words, meanwhile=kill)
    assert second.code == -signal.SIGKILL
    assert first.code == 2 and "Another process of this job" in first.text, first.text
    assert "Traceback" not in first.text.split("torch/distributed/elastic")[0]


@pytest.mark.slow
def test_a_rank_that_can_not_begin_ends_the_others(tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    """The data of its machine are others, say; torch would have the first one wait for half an hour."""
    began = time.monotonic()
    first, second = torchrun(tmp_path, 2, *training(tiny_overrides, 2), last=("data.pairs_per_epoch=1",))
    assert time.monotonic() - began < 100
    assert second.code == 2 and "data.batch_size" in second.text
    assert first.code == 2 and "rank 1, has failed" in first.text, first.text
    assert not list(tmp_path.glob("runs/*"))
