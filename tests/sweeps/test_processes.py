from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coseg.sweeps import processes
from coseg.sweeps.processes import locked, run_child, try_lock


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that stand in for the commands."""
    monkeypatch.setattr(processes, "program", lambda command: [sys.executable, str(tmp_path / f"{command}.py")])
    monkeypatch.setattr(processes, "POLL", 0.02)
    return tmp_path


WAIT = """
import signal, sys, time
def leave(number, frame):
    print("got", number, flush=True)
    if number == signal.SIGTERM and "stubborn" in sys.argv: return
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, leave)
print("ready", flush=True)
time.sleep(30)
"""


def test_output_code_and_environment(commands: Path) -> None:
    said = "print(sys.argv[1:], os.environ['X'])"
    (commands / "train.py").write_text(f"import os, sys; {said}; sys.exit(3)")
    output = commands / "deep" / "output.log"
    result = run_child("train", ["a=1"], output, environment={"X": "here"})
    assert (result.code, result.received) == (3, None)
    assert output.read_text() == "['a=1'] here\n"


def test_it_is_stopped_once_when_asked(commands: Path) -> None:
    (commands / "train.py").write_text(WAIT)
    output = commands / "output.log"
    result = run_child("train", [], output, lambda: "ready" in output.read_text())
    assert (result.code, result.received) == (143, None)
    assert output.read_text() == "ready\ngot 15\n"


PARENT = """
import sys
from pathlib import Path
from coseg.sweeps import processes
processes.program = lambda command: [sys.executable, "waits.py"]
print(tuple(processes.run_child("train", ["stubborn"], Path("output.log"))), flush=True)
"""


def test_signals_are_passed_on(tmp_path: Path) -> None:
    """SIGINT comes as SIGTERM first, then as it is."""
    (tmp_path / "waits.py").write_text(WAIT)
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    output = tmp_path / "output.log"
    _wait(lambda: output.is_file() and "ready" in output.read_text())
    os.kill(parent.pid, signal.SIGINT)
    _wait(lambda: "got 15" in output.read_text())
    os.kill(parent.pid, signal.SIGINT)
    told, _ = parent.communicate(timeout=20)
    assert output.read_text() == "ready\ngot 15\ngot 2\n"
    assert told == "(130, 2)\n"


def _wait(true: object) -> None:
    assert callable(true)
    for _ in range(400):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("waited for 20 seconds")


HOLD = "import time; print('ready', flush=True); time.sleep(60)"


def test_one_has_it_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "trial" / ".lock"
    first = try_lock(path)
    assert first is not None
    assert try_lock(path) is None
    os.close(first)
    again = try_lock(path)
    assert again is not None
    os.close(again)


def test_a_process_that_inherited_it_keeps_it_and_its_death_ends_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    descriptor = try_lock(path)
    assert descriptor is not None
    child = subprocess.Popen([sys.executable, "-c", HOLD], pass_fds=(descriptor,), stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        os.close(descriptor)
        assert try_lock(path) is None
    finally:
        child.kill()
        child.communicate()
    after = try_lock(path)
    assert after is not None
    os.close(after)


def test_alone_shuts_others_out(tmp_path: Path) -> None:
    with locked(tmp_path / ".lock"):
        assert try_lock(tmp_path / ".lock") is None
    with locked(tmp_path / ".lock"):
        pass
