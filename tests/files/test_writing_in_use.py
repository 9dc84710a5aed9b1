"""A folder in use belongs to one process, whatever becomes of that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from facts import mentions, naming

from coseg.errors import CosegError
from coseg.files.writing import NAME, in_use

HOLD = """
import sys, time
from pathlib import Path
from coseg.files.writing import in_use
with in_use(Path(sys.argv[1]), "a training"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_named_until_it_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(CosegError, match=f"process {holder.pid}"), in_use(tmp_path, "a training"):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / NAME).is_file()  # it was killed
    with in_use(tmp_path, "a training"):
        pass
    assert not list(tmp_path.iterdir())


def test_the_same_process_does_not_take_a_folder_twice(tmp_path: Path) -> None:
    with in_use(tmp_path / "new", "a test"):
        with pytest.raises(CosegError, match=naming(tmp_path / "new", "a test")), in_use(tmp_path / "new", "a test"):
            pass
        assert (tmp_path / "new" / NAME).is_file()
        # Nor does the attempt give it to others: a process loses its lock when it closes any descriptor of the file.
        other = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path / "new")], capture_output=True, text=True)
        assert other.returncode == 1 and mentions(other.stderr, "in use", f"process {os.getpid()}") and not other.stdout
    assert not (tmp_path / "new").exists()


def test_an_error_gives_the_folder_back(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), in_use(tmp_path, "a test"):
        raise ValueError("x")
    with in_use(tmp_path, "a test"):
        (tmp_path / "result").write_text("kept")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
