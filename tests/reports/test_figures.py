from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coseg.errors import CosegError
from coseg.imaging.draw import PREDICTION
from coseg.reports.collect import Result
from coseg.reports.figures import BETWEEN, GAP, LINE, choose_records, draw_bars, draw_sheet
from coseg.reports.panels import PanelSide
from coseg.reports.records import PairRecord


def pair(i: int, j: int, score: float, *classes: str) -> PairRecord:
    return PairRecord(i, j, f"id{i}", f"id{j}", classes, score, score, False, False)


ROWS = [
    pair(0, 1, 0.9, "cat"), pair(0, 2, 0.5, "cat"), pair(3, 4, 0.1, "cat"), pair(5, 6, 0.8, "dog"),
    pair(7, 8, 0.2, "dog"), pair(9, 10, 0.3, "cat", "dog"), pair(11, 12, math.nan),
]  # fmt: skip


def test_pairs_for_a_sheet() -> None:
    assert choose_records(ROWS, 2, "best") == [ROWS[0], ROWS[3]]
    assert choose_records(ROWS, 2, "worst") == [ROWS[2], ROWS[4]]
    # the middle cat, a middle dog, the only pair of both, then what is next to the middle; image 0 is used
    assert choose_records(ROWS, 5, "even")[:3] == [ROWS[1], ROWS[3], ROWS[5]]
    for how in ("even", "best", "worst"):
        chosen = choose_records(ROWS, 99, how)
        images = [image for record in chosen for image in (record.i, record.j)]
        assert len(images) == len(set(images))
        assert len(chosen) == 5
    with pytest.raises(CosegError, match="Did you mean 'worst'"):
        choose_records(ROWS, 1, "wurst")
    assert choose_records([], 3) == []


def side(value: int, foreground: bool) -> PanelSide:
    mask = np.zeros((30, 30), bool)
    mask[:15] = foreground
    return PanelSide(np.full((30, 30, 3), value, np.uint8), np.zeros((30, 30), np.uint8), mask, "")


def test_a_sheet_has_inputs_in_odd_columns_and_results_in_even_ones() -> None:
    tile = 30
    rows = [(side(10 * k, True), side(10 * k + 100, False)) for k in range(3)]
    sheet = draw_sheet(rows, ["cat  0.50"] * 3, across=2, tile=tile)
    wide, high = 2 * tile + GAP, 2 * tile + GAP + LINE
    assert sheet.shape == (2 * (high + BETWEEN) + BETWEEN, 2 * (wide + BETWEEN) + BETWEEN, 3)
    for k, (line, column) in enumerate([(0, 0), (0, 1), (1, 0)]):
        left, top = BETWEEN + column * (wide + BETWEEN), BETWEEN + line * (high + BETWEEN) + LINE
        assert (sheet[top : top + tile, left : left + tile] == 10 * k).all()
        assert (sheet[top + tile + GAP : top + 2 * tile + GAP, left : left + tile] == 10 * k + 100).all()
        result = sheet[top : top + tile, left + tile + GAP : left + wide]
        assert np.abs(result[:15] - (4.5 * k + 0.55 * np.array(PREDICTION))).max() <= 1
        assert np.abs(result[15:] - 8.0 * k).max() <= 1
        assert (sheet[top - LINE : top, left : left + wide] < 128).any()  # the caption
    assert (sheet[high + BETWEEN + BETWEEN :, wide + 2 * BETWEEN :] == 255).all()  # no fourth pair


def result(name: str, **changes: Any) -> Result:
    values = {
        "dataset": "voc", "split": "val", "images": 3, "pairs": 3, "complete": True, "protocol": "paper",
        "void": "background", "model": name, "input_size": None, "jaccard": 0.5, "jaccard_class_mean": 0.5,
        "intervals": {"jaccard": [0.4, 0.6]}, "per_class": {"cat": 0.25, "dog": 0.75, "cow": None},
    }  # fmt: skip
    return Result(Path("run") / name, values | changes)


def test_bars(tmp_path: Path) -> None:
    draw_bars([result("one"), result("two", jaccard=0.9, intervals={})], tmp_path / "bars.png")
    with Image.open(tmp_path / "bars.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 20
    groups = ["bear2", "brownbear", "cheetah", "elephant", "helicopter", "hotballoon", "panda1", "panda2"]
    icoseg = result("one", dataset="icoseg", split="test", per_class=dict.fromkeys(groups, 0.5))
    draw_bars([icoseg], tmp_path / "icoseg.png")  # with the printed ones beside it
    with Image.open(tmp_path / "bars.png") as one, Image.open(tmp_path / "icoseg.png") as other:
        width = other.size[0]
        assert width > one.size[0]
    draw_bars([Result(icoseg.folder, icoseg.values | {"complete": False})], tmp_path / "part.png")
    with Image.open(tmp_path / "part.png") as part:  # a part has no published bars beside it
        assert part.size[0] < width
    with pytest.raises(CosegError, match=r"\b2\b.*voc val, voc test"):
        draw_bars([result("one"), result("two", split="test")], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_published_bars_differ_and_stand_at_the_mean_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: (drawn.append(figure), Path(path).touch()))
    groups = ["bear2", "brownbear", "cheetah", "elephant", "helicopter", "hotballoon", "panda1", "panda2"]
    ours = result("one", dataset="icoseg", split="test", per_class=dict.fromkeys(groups, 0.5), jaccard=0.25)
    draw_bars([ours], tmp_path / "bars.png")
    series = drawn[0].axes[0].containers
    heights = [[bar.get_height() for bar in bars] for bars in series]
    assert heights[0] == [50.0] * 9 + [25.0]
    assert heights[-1][:9] == [91.4, 92.4, 87.7, 91.5, 83.6, 95.6, 91.6, 85.7, 89.9]
    assert all(math.isnan(each[-1]) for each in heights[1:])
    assert len({bars[0].get_hatch() for bars in series}) == len(series) == 5
    (line,) = drawn[0].axes[0].collections
    assert line.get_segments()[0][:, 1].tolist() == [40.0, 60.0]
    assert "512 x 512" in series[2].get_label()
