from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from facts import mentions

from coseg.page.actions import find_common, galleries, match

Draw = Callable[..., Path]


def _pair(tmp_path: Path, half_red: Draw) -> list[Path]:
    return [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 80, 100, 100)]


def test_a_press_shows_masks_overlays_and_cutouts(tmp_path: Path, segmenter, half_red: Draw) -> None:
    shown = find_common(segmenter, _pair(tmp_path, half_red), 0.5)
    assert shown.result is not None and shown.notice == ""
    assert mentions(shown.verdict, "object in common", "90 %")
    (mask, caption), (empty, _) = shown.galleries.masks
    assert mask.size == (90, 60) and caption.endswith("a.png")
    assert np.unique(np.asarray(mask)).tolist() == [0, 255]
    assert not np.asarray(empty).any()
    cutout = np.asarray(shown.galleries.cutouts[0][0])
    assert (cutout[..., 3] == np.asarray(mask)).all()
    overlay = np.asarray(shown.galleries.overlays[0][0])
    assert (overlay[:, :40] == (200, 0, 0)).all()  # the object keeps its colours


def test_the_threshold_moves_masks_without_the_network(tmp_path: Path, segmenter, half_red: Draw) -> None:
    result = find_common(segmenter, _pair(tmp_path, half_red), 0.5).result
    assert result is not None
    before = list(segmenter.asked)
    shares = [np.asarray(galleries(result, level).masks[1][0]).mean() / 255 for level in (0.3, 0.5)]
    assert abs(shares[0] - 0.5) < 0.05 and shares[1] == 0
    assert segmenter.asked == before


def test_the_verdict_tells_yes_no_and_unknown(tmp_path: Path, segmenter, half_red: Draw) -> None:
    verdicts = []
    for common in (0.8, 0.2, math.nan):
        segmenter.common = common
        verdicts.append(find_common(segmenter, _pair(tmp_path, half_red), 0.5).verdict)
    assert [kind in verdict for kind, verdict in zip(("yes", "no", "unknown"), verdicts, strict=True)] == [True] * 3
    assert mentions(verdicts[1], "nothing") and mentions(verdicts[2], "not calibrated")


def test_what_goes_wrong_is_said_and_shows_nothing(tmp_path: Path, segmenter, half_red: Draw) -> None:
    for files in (None, [], [half_red(tmp_path / "a.png")]):
        shown = find_common(segmenter, files, 0.5)
        assert shown.result is None and shown.verdict == "" and shown.galleries == ([], [], [])
        assert mentions(shown.notice, "two photographs")


def test_names_of_files_are_no_html(tmp_path: Path, segmenter, half_red: Draw) -> None:
    (tmp_path / "<img src=x>.png").write_text("no picture")
    notice = find_common(segmenter, [*_pair(tmp_path, half_red), tmp_path / "<img src=x>.png"], 0.5).notice
    assert mentions(notice, "&lt;img src=x&gt;.png", "image") and "<img" not in notice


def test_a_point_of_a_heats_what_is_alike_in_b(tmp_path: Path, segmenter, half_red: Draw) -> None:
    result = find_common(segmenter, _pair(tmp_path, half_red), 0.5).result
    assert result is not None
    plain = match(segmenter, result, 0, 1, None)
    assert (plain.a == result.previews[0]).all() and (plain.b == result.previews[1]).all()
    assert "response" not in segmenter.asked

    red, blue = (match(segmenter, result, 0, 1, result.place(0, x, 30)) for x in (10, 80))
    assert red.b.shape == result.previews[1].shape
    left, right = red.b[50, 10].astype(int), red.b[50, 70].astype(int)
    assert left[0] > left[2] and right[2] > right[0] + 5  # hot is red, cold is blue
    assert blue.b[50, 70, 0] > blue.b[50, 10, 0]
    assert (red.a != plain.a).any(-1).nonzero()[1].max() < 20  # a ring around the point, and nothing elsewhere
    assert "0.00 (blue) to 1.00 (red)" in red.text
