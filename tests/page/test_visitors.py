from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from coseg.page import server
from coseg.page.visitors import Held, Visits


def look(size: int) -> Any:
    return SimpleNamespace(previews=(np.zeros(size, np.uint8),), encoded=(), result=SimpleNamespace(segments=()))


def uploaded(folder: Path, name: str) -> Path:
    path = folder / name / "photograph.png"
    path.parent.mkdir()
    path.write_bytes(b"content")
    return path


def test_results_in_memory_are_bounded_and_go_with_the_page(tmp_path: Path) -> None:
    visits = Visits(tmp_path, held=Held(sessions=3, bytes=1000))
    for k in range(50):
        visits.keep(f"{k}", look(100))
    assert visits.counts()["results"] == 3
    visits.keep("large", look(900))
    assert visits.counts()["result_bytes"] == 1000 and visits.look("47") is None
    visits.end("large", "visitor")
    assert visits.look("large") is None


def test_uploads_go_with_the_last_page_of_their_visitor(tmp_path: Path) -> None:
    visits = Visits(tmp_path)
    visits.begin("1", "a")
    visits.begin("2", "a")
    path = uploaded(tmp_path, "x")
    visits.finish_upload("a", 0, [path])
    visits.end("1", "a")
    assert path.exists()
    visits.begin("3", "b")
    visits.finish_upload("b", 0, [path])  # an equal file
    visits.end("2", "a")
    assert path.exists()
    visits.end("3", "b")
    assert not path.exists()


def test_what_is_idle_goes(tmp_path: Path) -> None:
    now = [0.0]
    visits = Visits(tmp_path, age=10, clock=lambda: now[0])
    path = uploaded(tmp_path, "x")
    assert visits.start_upload("a", 7) is None
    visits.finish_upload("a", 7, [path])
    visits.keep("1", look(5))
    now[0] = 11
    visits.sweep()
    assert visits.counts() == {"results": 0, "result_bytes": 0, "files": 0, "bytes": 0} and not path.exists()


def test_the_folder_of_a_killed_page_goes_and_that_of_another_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / "coseg-page-1-dead"
    (dead / "cache").mkdir(parents=True)
    (dead / ".lock").touch()
    with server.own_folder() as first:
        assert not dead.exists() and str(os.getpid()) in first.name
        assert stat.S_IMODE(first.stat().st_mode) == 0o700
        with server.own_folder():
            assert first.exists()
    assert not list(tmp_path.iterdir())
