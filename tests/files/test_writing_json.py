from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.equal_budget.records import Cost, Finished, read_record, write_record
from coseg.errors import CosegError
from coseg.files.writing import json_text
from coseg.run_dir import FINISHED
from coseg.training.run import finish_run


def strict(text: str) -> object:
    """As other languages read it."""

    def refused(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refused)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null(number: float) -> None:
    document = {"a": number, "b": [number, {"c": (1, number, "ä")}], "d": 0.1, "e": True, "f": None}
    wanted = {"a": None, "b": [None, {"c": [1, None, "ä"]}], "d": 0.1, "e": True, "f": None}
    assert strict(json_text(document)) == wanted


@pytest.mark.parametrize("jaccard", [math.nan, -math.inf, 0.5])
def test_a_finished_run(jaccard: float, tmp_path: Path) -> None:
    finish_run(tmp_path, jaccard, 8, 1.23)
    wanted = jaccard if math.isfinite(jaccard) else None
    assert strict((tmp_path / FINISHED).read_text()) == {"jaccard": wanted, "step": 8, "seconds": 1.2}


def test_a_record(tmp_path: Path) -> None:
    record = Finished("a", 0, Cost(1, 2, 0.5, math.nan, 1.0), 8, {"jaccard": None})
    write_record(tmp_path / "a.json", record)
    strict((tmp_path / "a.json").read_text())
    found = read_record(tmp_path / "a.json", Finished)
    assert math.isnan(found.minutes) and math.isnan(found.cost.pair_seconds)
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace("0.5", "0.4"))
    with pytest.raises(CosegError, match="checksum"):
        read_record(tmp_path / "a.json", Finished)
    assert (found.name, found.steps, found.cost.step_seconds, found.results) == ("a", 8, 0.5, {"jaccard": None})
