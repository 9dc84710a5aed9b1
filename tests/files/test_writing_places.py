from __future__ import annotations

import errno
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from facts import naming

from coseg.errors import CosegError
from coseg.files.writing import require_writable


def test_a_place_is_left_as_it_was(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    require_writable(tmp_path / "a" / "b", keep=True)
    assert not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "a" / "file").write_text("x")
    require_writable(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir() and (tmp_path / "a" / "file").read_text() == "x"


@pytest.mark.parametrize(
    "place", ["file", "file/a/b", "dangling", "/proc/x/y", "/dev/null/x", "n" * 300, "a/" + "n" * 300]
)
def test_places_that_are_none(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "else")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CosegError, match=naming("written", "(", "): take another")) as refused:
        require_writable(tmp_path / place, "take another")
    assert len(str(refused.value)) < 400
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_full_or_closed_disk(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: Full())
    with pytest.raises(CosegError, match=os.strerror(number)):
        require_writable(tmp_path / "a" / "b", keep=True)
    assert not list(tmp_path.iterdir())


def test_another_process_that_removes_its_folders_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that start at once try the same new folder: neither is refused for what the other takes away."""
    original = tempfile.TemporaryFile
    calls: list[int] = []

    def removed(dir: Path) -> Any:
        calls.append(1)
        if len(calls) == 1:
            os.rmdir(dir)
        return original(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", removed)
    require_writable(tmp_path / "a")
    assert len(calls) == 2
