"""Processes that ``torchrun`` starts, as on several machines: one run directory, one stop for all, and resuming."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from machines import children, torchrun, wait_for
from omegaconf import DictConfig

from coseg.evaluation.score import score
from coseg.files.plain_data import read_json

SETTINGS = ("data.pairs_per_epoch=48", "trainer.max_epochs=4", "optimizer.lr=0.003", "panels=0")


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


def results(run: Path, protocol: str) -> tuple[object, str]:
    """What a test of the command wrote: its results without times and names, and the scores of each pair or mask."""
    folder = run / "test" / f"shapes-seen-{protocol}"
    scores = read_json(folder / "results.json", "")
    for key in ("seconds", "protocol", "checksum", "checkpoint", "run"):
        scores.pop(key, None)
    (records,) = folder.glob("*.csv")
    assert not list(folder.glob("features*"))
    return scores, records.read_text()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes as Linux shows them")
def test_a_machine_is_lost_and_the_training_resumed_and_tested(
    compose: Callable[..., DictConfig], tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    """SIGKILL to all of a machine: the other ends. Resumed and tested by two, the numbers are those of a whole run.

    And those of a test by one process, also of whole groups.
    """
    words = training(tiny_overrides, 2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    assert [ended.code for ended in torchrun(whole, 2, *words)] == [0, 0]
    (first,) = (whole / "runs").glob("*/*")

    def lose(launchers: list[subprocess.Popen[bytes]]) -> None:
        wait_for(lambda: list(broken.glob("runs/*/*/checkpoints/last.ckpt")), launchers)
        for pid in (launchers[-1].pid, *children(launchers[-1].pid)):
            os.kill(pid, signal.SIGKILL)

    left, lost = torchrun(broken, 2, *words, "checkpoint_minutes=0.005", meanwhile=lose)
    assert lost.code == -signal.SIGKILL and left.code == 2 and "Another process of this job" in left.text, left.text
    (second,) = (broken / "runs").glob("*/*")
    assert not (second / "finished.json").exists()
    ended = torchrun(broken, 2, f"resume={second}")
    assert [one.code for one in ended] == [0, 0], [one.text for one in ended]
    assert numbers(second) == numbers(first)

    of_two = ("+trainer.num_nodes=2", "trainer.devices=1", "trainer.strategy=ddp")
    settings = (*tiny_overrides["test"], "split=seen", "panels=0")
    for protocol in ("paper", "group"):
        tested = (*settings, f"protocol={protocol}", f"ckpt={second / 'checkpoints' / 'best.ckpt'}")
        ended = torchrun(broken, 2, *tested, *of_two, command="test")
        assert [one.code for one in ended] == [0, 0], [one.text for one in ended]
        score(compose("test", *tested, "protocol.name=one"))
        score(compose("test", *tested[:-1], f"ckpt={first / 'checkpoints' / 'best.ckpt'}"))
        assert results(second, protocol) == results(second, "one") == results(first, protocol)
        shutil.rmtree(second / "test" / "shapes-seen-one")


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
