"""How far long work is, on a terminal and in a file."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from coseg import progress
from coseg.progress import Progress


def test_a_file_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    caplog.set_level(logging.INFO)
    shown = Progress("Testing", 100, "pair", bar=False)
    quiet = Progress("Testing", 100, "pair", bar=False, quiet=True)
    for _ in range(10):
        now += 12
        shown.add(5)
        quiet.add(5)
    shown.close()
    assert [record.message for record in caplog.records] == [
        *(f"Testing: {done} of 100, about {left} min left" for done, left in ((15, 3), (30, 3), (45, 2))),
    ]
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Progress("Testing", 8, "mask", bar=True)
    bar.add(3)
    bar.add(5)
    bar.close()
    Progress("Testing", 8, "mask", bar=True, quiet=True).close()
    drawn = capsys.readouterr().err
    assert "Testing: 100%" in drawn and "8/8" in drawn and drawn.count("Testing:   0%") == 1


def test_a_total_may_become_known_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    lines: list[str] = []
    with Progress("Reading", 4, "image", bar=False, seconds=60, line=lines.append) as reading:
        now = 60.0
        reading.reach(1, 8)
    assert lines == ["Reading: 1 of 8, about 7 min left"]
