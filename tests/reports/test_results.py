import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from coseg.data.catalog import Catalog
from coseg.errors import CosegError
from coseg.evaluation.outcome import build_results
from coseg.reports.records import PairRecord
from coseg.reports.results import format_table, read_results, with_checksums, write_results

RECORDS = [
    PairRecord(0, 1, "2007_a", "2007_b", ("cat", "person"), 0.5, 1 / 3, True, False),
    PairRecord(0, 2, "2007_a", "odd, id", ("cat",), 0.25, math.nan, False, True),
    PairRecord(1, 2, "2007_b", "odd, id", (), 1.0, 0.125, True, True),
]


class Names(Catalog):
    """The names alone: results need no pixels."""

    def __init__(self) -> None:
        presence = np.array([[True, False]] * 3)
        super().__init__("voc", "test", ["2007_a", "2007_b", "odd, id"], ["cat", "dog"], presence)

    def image(self, i: int) -> NDArray[np.uint8]:
        raise NotImplementedError

    def labels(self, i: int) -> NDArray[np.uint8]:
        raise NotImplementedError


def results(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "protocol": "pairs",
        "void": "background",
        "complete": True,
        "scores": {
            "jaccard": 0.44166666666,
            "jaccard_class_mean": 0.4,
            "jaccard_global": 0.3,
            "jaccard_distractor": math.nan,
            "pixel_accuracy": 0.9,
        },
        "intervals": {"jaccard": (0.4000000001, 0.5), "jaccard_distractor": (math.nan, math.nan)},
        "per_class": [0.3611111111, math.nan],
        "baselines": {"all_foreground": 0.1, "constant": 0.2, "all_objects": 0.4},
        "model": "cross_correlation",
        "checkpoint": None,
        "input_size": None,
        "seconds": 1.23456789,
    }
    return build_results(Names(), RECORDS, **(arguments | changes))


def test_results_are_rounded_and_nan_is_null(tmp_path: Path) -> None:
    built = results()
    write_results(tmp_path / "results.json", built)
    found = json.loads((tmp_path / "results.json").read_text())
    assert len(found.pop("checksum")) == 64
    assert found == built == read_results(tmp_path / "results.json")
    assert " ".join(found) == (
        "dataset split protocol void images pairs complete jaccard jaccard_class_mean jaccard_global "
        "jaccard_distractor pixel_accuracy intervals per_class by_size by_distractor baselines model checkpoint "
        "input_size seconds"
    )
    assert (found["pairs"], found["images"], found["jaccard"], found["seconds"]) == (3, 3, 0.441667, 1.234568)
    assert found["jaccard_distractor"] is None
    assert found["per_class"] == {"cat": 0.361111, "dog": None}
    assert found["intervals"] == {"jaccard": [0.4, 0.5], "jaccard_distractor": [None, None]}


def test_results_of_earlier_versions_have_todays_keys(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    built = results()
    earlier = {"references" if key == "baselines" else key: value for key, value in built.items()}
    for document in (earlier, with_checksums(earlier, tmp_path)):
        path.write_text(json.dumps(document))
        assert list(read_results(path).items()) == list(built.items())


def test_the_table_is_aligned() -> None:
    lines = format_table(results(complete=False, checkpoint="best.ckpt")).splitlines()
    assert all(fact in lines[0] for fact in ("voc test", "3 pairs", "3 images", "incomplete"))
    assert all(fact in lines[1] for fact in ("pairs", "void", "background"))
    assert "cross_correlation" in lines[2] and "best.ckpt" in lines[2]
    jaccard = next(line for line in lines if line.startswith("jaccard "))
    assert jaccard.split()[1] == "0.442"
    assert jaccard.split()[3] == "to"
    at = jaccard.index("0.442")
    for start, value in {
        "pixel_accuracy": "0.900",
        "all objects": "0.400",
        "cat": "0.361",
        "best const": "0.200",
    }.items():
        assert next(line for line in lines if line.startswith(start))[at : at + 5] == value
    assert next(line for line in lines if line.startswith("jaccard_distractor"))[at : at + 5] == "    -"
    assert not any(line.startswith("dog") for line in lines)
    part = next(line for line in lines if re.match(r"\D*distractor \(3\)", line))
    assert part[at : at + 5] == "0.542"  # the mean of 1/2, 1 and 1/8
    assert "untrained" in format_table(results())
    assert "96 x 96" not in lines[2] and "96 x 96" in format_table(results(input_size=96))
    assert "incomplete" not in format_table(results())


def test_the_table_of_a_decision() -> None:
    scores = {"decision_accuracy": 0.75, "decision_auc": float("nan"), "foreground_auc": 0.5, "false_foreground": 0.125}
    built = results(decision={"positives": 3, "negatives": 2, **scores})
    assert built["decision"] == {"positives": 3, "negatives": 2, **scores, "decision_auc": None}
    lines = format_table(built).splitlines()
    (head,) = (k for k, line in enumerate(lines) if line.startswith("decision "))
    assert re.fullmatch(r"decision +value +3 pairs .*\b2\b.*", lines[head])
    assert type(built["decision"]["positives"]) is int
    assert [line.split() for line in lines[head + 1 : head + 4]] == [
        ["decision_accuracy", "0.750"],
        ["foreground_auc", "0.500"],
        ["false_foreground", "0.125"],
    ]
    assert not any(line.startswith("decision") for line in format_table(results()).splitlines())
    assert "decision" not in results(decision={})


def test_damaged_and_missing_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(CosegError, match=r"no .*results\.json"):
        read_results(tmp_path / "results.json")
    for text in ("{", "3", "[1]", "null"):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(CosegError, match=r"results\.json.*damaged"):
            read_results(tmp_path / "results.json")
