import itertools
import json
import math
from pathlib import Path

import pytest

from coseg.errors import CosegError
from coseg.reports.compare import changes, compare
from coseg.reports.records import PairRecord, write_records


def records(gain: float, images: int = 8) -> list[PairRecord]:
    return [
        PairRecord(i, j, f"id{i}", f"id{j}", ("cat",), 0.05 * i + gain, 0.05 * j + gain / 2, i % 2 == 0, False)
        for i, j in itertools.combinations(range(images), 2)
    ]


def test_difference_by_hand_in_any_order(tmp_path: Path) -> None:
    write_records(tmp_path / "a", records(0.4))
    write_records(tmp_path / "b", records(0.0)[::-1])
    found = compare(tmp_path / "a", tmp_path / "b", resamples=50)
    assert found["jaccard"] == pytest.approx((0.3, 0.3, 0.3))
    assert found["jaccard_distractor"] == pytest.approx((0.4, 0.4, 0.4))


def test_other_pairs_and_other_protocols_are_refused(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write_records(a, records(0.1))
    write_records(b, records(0.1, images=7))
    with pytest.raises(CosegError, match=r"\(28 pairs\).*\(21 pairs\) are not the same pairs: 21 are in both"):
        compare(a, b)
    write_records(b, records(0.1))
    for folder, void in ((a, "background"), (b, "ignored")):
        (folder / "results.json").write_text(json.dumps({"dataset": "voc", "void": void}))
    with pytest.raises(CosegError, match=r"void.*'background'.*'ignored'"):
        compare(a, b)


def test_the_pairs_that_changed_most_come_first(tmp_path: Path) -> None:
    nan = math.nan
    masks = {"x": (0.5, 0.7), "y": (0.9, nan), "z": (nan, nan), "w": (0.2, 0.2)}
    others = {"x": (0.6, 0.8), "y": (0.5, nan), "z": (nan, nan), "w": (0.2, 0.2)}
    for name, scores in (("a", masks), ("b", others)):
        pairs = [
            PairRecord(0, k + 1, "o", image, ("cat",), *two, False, False)
            for k, (image, two) in enumerate(scores.items())
        ]
        write_records(tmp_path / name, pairs)
    found = changes(tmp_path / "a", tmp_path / "b")
    assert [(change.record.id_b, round(change.gain, 6)) for change in found] == [("y", 0.4), ("x", -0.1), ("w", 0.0)]
    assert (found[1].a, found[1].b) == pytest.approx((0.6, 0.7))
