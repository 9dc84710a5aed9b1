"""Files that are whole or not there, and what a killed process left of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coseg.files import writing
from coseg.files.writing import (
    OLD,
    atomic_path,
    remove_leftovers,
    temporary_folder,
    temporary_name,
    write_text_atomically,
)


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("before")
    with pytest.raises(ValueError, match="x"), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise ValueError("x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


KILLED = (
    "import os, sys; from coseg.files.writing import atomic_path; c = atomic_path(sys.argv[1]); "
    "c.__enter__().write_text('half'); os.kill(os.getpid(), 9)"
)
ALIVE = (
    "import sys; from coseg.files.writing import atomic_path; c = atomic_path(sys.argv[1]); "
    "c.__enter__().write_text('half'); print('written', flush=True); sys.stdin.readline()"
)


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What a process left that was killed while it wrote ``a.b.png``."""
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.b.png")], check=False)
    (path,) = tmp_path.iterdir()
    return path


def test_what_a_killed_process_left_goes_and_all_else_stays(left: Path, tmp_path: Path) -> None:
    words = left.name.removesuffix(".png").rsplit(".", 1)[1]  # process-machine
    dead = words.split("-")[0]
    half = tmp_path / f".out.{words}"
    half.mkdir()
    (half / "model.onnx").write_text("half")
    kept = [
        temporary_name("mine", ".txt"), ".a.jpg", f".a.{dead}.jpg", f"a.{words}.txt", f".a.{words}0.txt", ".hidden",
        f".{words}.png", ".scan.20240131-12345678.jpg", f".scan.0{words}.jpg", f".a.{words}.tar.gz",
    ]  # fmt: skip
    for name in kept:
        (tmp_path / name).write_text("kept")
        os.utime(tmp_path / name, (time.time(), time.time() - 2 * OLD))
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    remove_leftovers(tmp_path / "missing")


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ALIVE, str(tmp_path / "a.txt")]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None and writer.stdout.readline() == "written\n"
        remove_leftovers(tmp_path)
        (path,) = tmp_path.iterdir()
        os.utime(path, (time.time(), time.time() - 2 * OLD))  # the number is a new process's by now
        remove_leftovers(tmp_path)
        assert not list(tmp_path.iterdir())
    finally:
        writer.kill()
        writer.communicate()


def test_what_another_machine_writes_stays_for_a_day(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_machine", lambda: "none")
    remove_leftovers(left.parent)
    assert left.is_file()
    os.utime(left, (time.time(), time.time() - 2 * OLD))
    remove_leftovers(left.parent)
    assert not left.exists()


def test_a_temporary_folder_of_a_killed_process_goes_when_the_next_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    code = (
        "import os; from coseg.files.writing import temporary_folder; f = temporary_folder('coseg-cache'); "
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = tmp_path.iterdir()
    other = tmp_path / left.name.replace("coseg-cache", "another")
    other.mkdir()
    with temporary_folder("coseg-cache") as folder:
        assert sorted(tmp_path.iterdir()) == sorted([other, Path(folder)])
    assert list(tmp_path.iterdir()) == [other]


def test_a_file_is_whole_or_as_before(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text_atomically(path, "first\r\nä\n")
    assert path.read_bytes() == "first\r\nä\n".encode()
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".txt"
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_bytes() == "first\r\nä\n".encode()
    with atomic_path(path) as temporary:
        temporary.write_text("second")
        assert path.read_text() == "first\nä\n"
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]
