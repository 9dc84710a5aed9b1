"""A run folder, or that of a test, in which another process works, is refused and stays as it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coseg.files.writing import NAME

HOLD = """
import sys
from pathlib import Path
from coseg.files.writing import in_use
with in_use(Path(sys.argv[1]), "a training"):
    print("held", flush=True)
    sys.stdin.readline()
"""

Command = Callable[..., tuple[int, str, str]]


@contextmanager
def held(folder: Path, kill: bool = False) -> Iterator[int]:
    """Another process works in `folder` during the block; its number."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        yield holder.pid
    finally:
        if kill:
            holder.kill()
        holder.communicate("\n")


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def stopped(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, one that did not come to its end."""
    folder = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("test"))
    (folder / "finished.json").unlink()
    return folder


def test_a_run_is_resumed_by_one_process(stopped: Path, command: Command) -> None:
    before = contents(stopped)
    with held(stopped) as process:
        during = contents(stopped)
        code, _, err = command("train", f"resume={stopped}")
        assert code == 2 and str(stopped) in err and f"process {process}" in err and "Traceback" not in err
        assert contents(stopped) == during
    assert contents(stopped) == before


def test_a_killed_process_leaves_no_lock_and_its_files_go(stopped: Path, command: Command) -> None:
    with held(stopped, kill=True):
        pass
    dead = subprocess.run(
        [sys.executable, "-c", "from coseg.files.writing import temporary_name as t; print(t('last', '.ckpt'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    for part in (stopped, stopped / "checkpoints", stopped / "panels"):
        (part / dead).write_bytes(b"half")
    assert (stopped / NAME).is_file()
    code, _, err = command("train", f"resume={stopped}")
    assert code == 0, err
    assert not list(stopped.rglob(".*")) and (stopped / "finished.json").is_file()


def test_a_folder_is_tested_by_one_process(
    trained: Path, tmp_path: Path, command: Command, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    run = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("test"))
    words = (*tiny_overrides["test"], f"ckpt={run}/checkpoints/best.ckpt", "split=seen", "panels=0")
    code, _, err = command("test", *words)
    assert code == 0, err
    (folder,) = (run / "test").iterdir()
    assert not list(folder.rglob(".*"))
    with held(folder) as process:
        code, _, err = command("test", *words)
        assert code == 2 and str(folder) in err and f"process {process}" in err and "Traceback" not in err


@pytest.mark.slow
def test_trainings_begun_at_once_are_runs_of_their_own(
    tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    code = """
import datetime, sys
from coseg.cli import run_folder, train
class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 31, 12, tzinfo=tz)
class Module:
    datetime = Clock
run_folder.datetime = Module
train.main()
"""
    words = [*tiny_overrides["train"], "trainer.max_epochs=1", "panels=0", "runs=runs", "name=a"]
    started = [
        subprocess.Popen([sys.executable, "-c", code, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in started:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    names = [f"2026-01-31_12-00-00{end}" for end in ("", "_2", "_3")]
    runs = sorted((tmp_path / "runs" / "a").iterdir())
    assert [run.name for run in runs] == names
    for run in runs:
        assert (run / "finished.json").is_file() and (run / "checkpoints" / "best.ckpt").is_file()
        assert (run / "environment.json").read_text().count('"command"') == 1
