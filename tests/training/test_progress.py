"""How far a test is, on a terminal and in a file."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from coseg.training import progress
from coseg.training.progress import ScoreProgress


def test_a_file_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    caplog.set_level(logging.INFO)
    told, quiet = ScoreProgress(100, "pair", bar=False), ScoreProgress(100, "pair", bar=False, quiet=True)
    for _ in range(10):
        now += 12
        told.add(5)
        quiet.add(5)
    told.close()
    assert [record.message for record in caplog.records] == [
        "pair 15 of 100, about 3 min left", "pair 30 of 100, about 3 min left", "pair 45 of 100, about 2 min left",
    ]  # fmt: skip
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ScoreProgress(8, "mask", bar=True)
    bar.add(3)
    bar.add(5)
    bar.close()
    ScoreProgress(8, "mask", bar=True, quiet=True).close()
    drawn = capsys.readouterr().err
    assert "Testing: 100%" in drawn and "8/8" in drawn and drawn.count("Testing:   0%") == 1
