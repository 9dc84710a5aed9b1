import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from coseg.errors import CosegError
from coseg.evaluation.compare import compare, main
from coseg.evaluation.results import PairRow, write_pairs


def rows(gain: float, images: int = 8) -> list[PairRow]:
    return [
        PairRow(i, j, f"id{i}", f"id{j}", ("cat",), 0.05 * i + gain, 0.05 * j + gain / 2, i % 2 == 0, False)
        for i, j in itertools.combinations(range(images), 2)
    ]


def test_difference_by_hand_in_any_order(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a" / "pairs.csv", rows(0.4))
    write_pairs(tmp_path / "b" / "pairs.csv", rows(0.0)[::-1])
    found = compare(tmp_path / "a", tmp_path / "b", draws=50)
    assert found["jaccard"] == pytest.approx((0.3, 0.3, 0.3))
    assert found["jaccard_distractor"] == pytest.approx((0.4, 0.4, 0.4))


def test_other_pairs_and_other_protocols_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write_pairs(a / "pairs.csv", rows(0.1))
    write_pairs(b / "pairs.csv", rows(0.1, images=7))
    with pytest.raises(CosegError, match=r"\(28 pairs\).*\(21 pairs\) are not the same pairs: 21 are in both"):
        compare(a, b)
    assert main([str(a), str(b)]) == 2
    assert "not the same pairs" in capsys.readouterr().err
    write_pairs(b / "pairs.csv", rows(0.1))
    for folder, void in ((a, "background"), (b, "ignored")):
        (folder / "results.json").write_text(json.dumps({"dataset": "voc", "void": void}))
    with pytest.raises(CosegError, match=r"void is 'background' in .* but 'ignored'"):
        compare(a, b)


def test_runs_as_a_module_without_torch(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a" / "pairs.csv", rows(0.2))
    write_pairs(tmp_path / "b" / "pairs.csv", rows(0.0))
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "coseg.evaluation.compare",
        str(tmp_path / "a"),
        str(tmp_path / "b"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "jaccard             +0.150  +0.150 to +0.150" in done.stdout
    assert "torch" not in done.stderr
    assert "numpy" in done.stderr
