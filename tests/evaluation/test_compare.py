import itertools
import json
import math
from pathlib import Path

import pytest

from coseg.errors import CosegError
from coseg.evaluation.compare import changes, compare
from coseg.evaluation.rows import PairRow
from coseg.evaluation.rows_file import write_rows


def rows(gain: float, images: int = 8) -> list[PairRow]:
    return [
        PairRow(i, j, f"id{i}", f"id{j}", ("cat",), 0.05 * i + gain, 0.05 * j + gain / 2, i % 2 == 0, False)
        for i, j in itertools.combinations(range(images), 2)
    ]


def test_difference_by_hand_in_any_order(tmp_path: Path) -> None:
    write_rows(tmp_path / "a", rows(0.4))
    write_rows(tmp_path / "b", rows(0.0)[::-1])
    found = compare(tmp_path / "a", tmp_path / "b", draws=50)
    assert found["jaccard"] == pytest.approx((0.3, 0.3, 0.3))
    assert found["jaccard_distractor"] == pytest.approx((0.4, 0.4, 0.4))


def test_other_pairs_and_other_protocols_are_refused(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write_rows(a, rows(0.1))
    write_rows(b, rows(0.1, images=7))
    with pytest.raises(CosegError, match=r"\(28 pairs\).*\(21 pairs\) are not the same pairs: 21 are in both"):
        compare(a, b)
    write_rows(b, rows(0.1))
    for folder, void in ((a, "background"), (b, "ignored")):
        (folder / "results.json").write_text(json.dumps({"dataset": "voc", "void": void}))
    with pytest.raises(CosegError, match=r"void is 'background' in .* but 'ignored'"):
        compare(a, b)


def test_the_pairs_that_changed_most_come_first(tmp_path: Path) -> None:
    nan = math.nan
    masks = {"x": (0.5, 0.7), "y": (0.9, nan), "z": (nan, nan), "w": (0.2, 0.2)}
    others = {"x": (0.6, 0.8), "y": (0.5, nan), "z": (nan, nan), "w": (0.2, 0.2)}
    for name, scores in (("a", masks), ("b", others)):
        pairs = [
            PairRow(0, k + 1, "o", image, ("cat",), *two, False, False) for k, (image, two) in enumerate(scores.items())
        ]
        write_rows(tmp_path / name, pairs)
    found = changes(tmp_path / "a", tmp_path / "b")
    assert [(change.row.id_b, round(change.gain, 6)) for change in found] == [("y", 0.4), ("x", -0.1), ("w", 0.0)]
    assert (found[1].a, found[1].b) == pytest.approx((0.6, 0.7))
