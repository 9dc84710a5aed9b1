"""A signal to the whole process group ends a test, a study and processes that train together as one to them alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SIGNALS = (signal.SIGTERM, signal.SIGINT)
Overrides = dict[str, tuple[str, ...]]
LONG = ("panels=0", "trainer.max_epochs=1000", "data.pairs_per_epoch=160", "data.workers=1")


def stopped(folder: Path, words: list[str], ready: Callable[[], bool], number: int) -> str:
    """Start ``coseg-<words>`` in `folder`, send a signal to its group once it is `ready`; what it printed."""
    command = [sys.executable, "-m", f"coseg.cli.{words[0]}", *words[1:]]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None and not ready():
            time.sleep(0.05)
        os.killpg(process.pid, number)
        try:
            out, _ = process.communicate(timeout=200)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 128 + number, out
    return out


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("protocol", ["paper", "group"])
def test_a_test(number: int, protocol: str, tmp_path: Path, tiny_overrides: Overrides) -> None:
    words = ["test", *tiny_overrides["test"], "dataset.reader.seen=300", "split=seen", "ckpt=bundled"]
    words += ["data.workers=2", "panels=0", f"protocol={protocol}"]
    out = stopped(tmp_path, words, lambda: any(tmp_path.glob("**/parts/*")), number)
    assert "same command" in out and "Traceback" not in out


@pytest.mark.parametrize("number", SIGNALS)
def test_a_study(number: int, tmp_path: Path, tiny_overrides: Overrides) -> None:
    words = ["sweep", *tiny_overrides["train"], *LONG, "study.trials=2", "optimizer.lr=1e-3,1e-4"]
    out = stopped(tmp_path, words, lambda: steps(tmp_path) > 2, number)
    assert "Traceback" not in out
    assert [path.parent.parent.name for path in tmp_path.glob("**/last.ckpt")] == ["0"]  # no further trial began


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("begun", [False, True])
def test_two_processes(number: int, begun: bool, tmp_path: Path, tiny_overrides: Overrides) -> None:
    words = ["train", "trainer=ddp_cpu", *tiny_overrides["train"], *LONG]
    ready = (lambda: steps(tmp_path) > 2) if begun else (lambda: any(tmp_path.glob("**/train.log")))
    out = stopped(tmp_path, words, ready, number)
    if begun:  # before that, Python itself reports a Ctrl-C in the middle of a process's imports
        assert "resume=" in out and "Traceback" not in out and len(list(tmp_path.glob("**/last.ckpt"))) == 1


def steps(folder: Path) -> int:
    """Lines of the table of losses."""
    return max((path.read_text().count("\n") for path in folder.glob("runs/**/metrics.csv")), default=0)
