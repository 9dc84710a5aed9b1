"""What coseg-predict prints: results to standard output, problems to standard error, long lists cut."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from coseg.cli.predict_output import _LISTED, PredictOutput


def result(count: int, shares: bool | None = None) -> Any:
    class Result(list[Any]):
        common = 0.75

    made = Result(
        SimpleNamespace(name=f"{k}.jpg", foreground=0.25, confidence=0.9, belongs=float("nan")) for k in range(count)
    )
    made.shares = shares  # type: ignore[attr-defined]
    return made


def test_a_long_group_is_cut_but_for_images_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    count = _LISTED + 5
    PredictOutput().images(result(count), range(1, count + 1), on_sheet={count})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == _LISTED + 1 + 2  # those listed, the one without a name, what is cut, the note on names
    assert "25.0%" in lines[0] and "0.90" in lines[0]
    assert lines[_LISTED].split()[0] == str(count) and "4 more" in lines[-2] and str(count) in lines[-1]


def test_pairs_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    output = PredictOutput()
    for shares in (True, False, True):
        output.pair(result(2, shares))
    output.pairs()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and "75 %" in lines[0] and "2 of 3" in lines[-1] and "1 nothing" in lines[-1]


def test_quiet_prints_problems_alone(capsys: pytest.CaptureFixture[str]) -> None:
    output = PredictOutput(quiet=True)
    output.say("a result")
    output.problem("a\nproblem")
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1 and len(output.problems) == 1


def test_results_may_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    PredictOutput(to_stderr=True).say("a result")
    assert capsys.readouterr() == ("", "a result\n")


def test_a_silent_one_keeps_problems_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    output = PredictOutput(silent=True)
    output.say("a result")
    output.problem("a problem")
    output.progress("Reading", 1, 2)
    assert capsys.readouterr() == ("", "") and output.problems == ["a problem"]
