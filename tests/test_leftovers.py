"""Files that are whole or not there, and what a killed process left of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coseg.files import atomic_path, remove_leftovers


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("before")
    with pytest.raises(ValueError, match="x"), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise ValueError("x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_what_a_killed_process_left_goes_and_all_else_stays(tmp_path: Path) -> None:
    code = "import os, sys; from coseg.files import atomic_path; c = atomic_path(sys.argv[1]); " \
        "c.__enter__().write_text('half'); os.kill(os.getpid(), 9)"  # fmt: skip
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.b.png")], check=False)
    (left,) = tmp_path.iterdir()
    dead = int(left.name.split(".")[-2].split("-")[0])
    (tmp_path / f".out.{dead}-0123abcd").mkdir()
    (tmp_path / f".out.{dead}-0123abcd" / "model.onnx").write_text("half")
    kept = [f".mine.{os.getpid()}-0123abcd.txt", ".a.jpg", f".a.{dead}.jpg", f"a.{dead}-0123abcd.txt", ".hidden"]
    for name in kept:
        (tmp_path / name).write_text("kept")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    remove_leftovers(tmp_path / "missing")
