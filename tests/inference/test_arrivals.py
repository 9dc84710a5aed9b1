"""Photographs that arrive: when they are segmented, and with which others."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
from red_network import RedNetwork, picture

from coseg.inference import arrivals
from coseg.inference.arrivals import PATIENCE, Arrivals
from coseg.inference.segmenter import CoSegmenter


class Folder:
    """A folder that is watched, and a clock that stands still unless it is moved."""

    def __init__(self, folder: Path, *known: str) -> None:
        self.folder = folder
        self.now = 0.0
        self.problems: list[str] = []
        segmenter = CoSegmenter(RedNetwork(), {"size": 64, "threshold": 0.5, "cooccurrence": None}, "cpu")
        paths = [folder / name for name in known]
        listed = lambda: sorted(folder.iterdir())  # noqa: E731
        self.arrivals = Arrivals(segmenter, listed, self.problems.append, paths, lambda: self.now)

    def look(self, seconds: float = 1.0) -> dict[str, float]:
        """What is complete after some seconds: the shares of foreground."""
        self.now += seconds
        return {path.name: round(segment.foreground, 2) for path, segment in self.arrivals.look()}


def test_the_first_photograph_waits_for_a_second(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.look() == {}
    picture(str(tmp_path / "a.png"), 16)
    assert folder.look() == folder.look() == folder.look() == {}
    picture(str(tmp_path / "b.png"), 32)
    assert folder.look() == {}  # it may still be written
    assert folder.look() == {"a.png": 0.25, "b.png": 0.5}
    assert folder.look() == {}
    picture(str(tmp_path / "c.png"), 48)
    assert (folder.look(), folder.look()) == ({}, {"c.png": 0.75})
    assert not folder.problems


def test_what_is_known_is_a_partner(tmp_path: Path) -> None:
    picture(str(tmp_path / "a.png"), 16)
    folder = Folder(tmp_path, "a.png")
    picture(str(tmp_path / "b.png"), 32)
    assert (folder.look(), folder.look()) == ({}, {"b.png": 0.5})


def test_a_copy_that_goes_on_is_waited_for(tmp_path: Path) -> None:
    picture(str(tmp_path / "a.png"), 16)
    whole = picture(str(tmp_path / "b.bmp"), 32).read_bytes()
    (tmp_path / "b.bmp").write_bytes(b"")
    folder = Folder(tmp_path, "a.png")
    for end in (0, 1000, 2000, 3000):
        (tmp_path / "b.bmp").write_bytes(whole[:end])
        os.utime(tmp_path / "b.bmp", (1, 1))  # as `cp -p` leaves it
        assert folder.look() == folder.look(PATIENCE / 2) == {}
    (tmp_path / "b.bmp").write_bytes(whole)
    assert (folder.look(), folder.look()) == ({}, {"b.bmp": 0.5})
    assert not folder.problems


def test_a_broken_one_is_reported_once_and_tried_again_when_it_changes(tmp_path: Path) -> None:
    picture(str(tmp_path / "a.png"), 16)
    (tmp_path / "b.png").write_bytes(b"no picture")
    folder = Folder(tmp_path, "a.png")
    for _ in range(5):
        assert folder.look(PATIENCE) == {}
    assert len(folder.problems) == 1 and "b.png" in folder.problems[0]
    picture(str(tmp_path / "b.png"), 32)
    assert (folder.look(), folder.look()) == ({}, {"b.png": 0.5})


def test_one_that_was_half_copied_at_the_start(tmp_path: Path) -> None:
    picture(str(tmp_path / "a.png"), 16)
    (tmp_path / "b.png").write_bytes(b"no picture")
    folder = Folder(tmp_path, "a.png", "b.png")
    assert folder.look(PATIENCE) == folder.look(PATIENCE) == {} and not folder.problems
    picture(str(tmp_path / "b.png"), 32)
    assert (folder.look(), folder.look()) == ({}, {"b.png": 0.5})


def test_many_at_once_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "PARTNERS", 2)
    folder = Folder(tmp_path)
    for k in range(5):
        picture(str(tmp_path / f"{k}.png"), 16)
    looks = [len(folder.look()) for _ in range(5)]
    assert looks == [0, 2, 2, 1, 0]
