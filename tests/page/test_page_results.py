from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from facts import mentions, naming
from PIL import Image

from coseg.errors import CosegError
from coseg.page.results import MOST_FILES, Showing, cosegment_files, scores, write_archive

Draw = Callable[..., Path]


def test_photographs_are_encoded_once_and_cosegmented(tmp_path: Path, segmenter, half_red: Draw) -> None:
    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 1000, 500)]
    steps: list[tuple[int, int, str]] = []
    result, told = cosegment_files(segmenter, files, lambda *step: steps.append(step))
    assert told == []
    assert segmenter.asked == ["encode", "encode", "cosegment"]
    assert [step[:2] for step in steps] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert mentions(steps[1][2], "photograph 2 of 2", "b.png") and mentions(steps[3][2], "photograph 2 of 2", "b.png")
    assert [each.shape for each in result.previews] == [(60, 90, 3), (500, 1000, 3)]  # of a pair, at most 1024 pixels
    assert [each.size for each in result.cosegmentation] == [(60, 90), (500, 1000)]


def test_masks_have_the_size_of_the_previews(tmp_path: Path, segmenter, half_red: Draw) -> None:
    result, _ = cosegment_files(segmenter, [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 1000, 500, 100)])
    mask = result.mask(0, 0.5)
    assert mask.shape == (60, 90)
    assert mask[:, :40].all() and not mask[:, 50:].any()
    assert not result.mask(1, 0.5).any()  # its red is 100 of 255
    assert result.mask(1, 0.3)[:, :360].all()
    assert segmenter.asked.count("encode") == 2


def test_files_that_are_no_photographs_are_told_by_name_and_the_rest_goes_on(
    tmp_path: Path, segmenter, half_red: Draw
) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    whole = half_red(tmp_path / "whole.png", 300, 300).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    files = [tmp_path / "notes.jpg", half_red(tmp_path / "a.png"), tmp_path / "cut.png", half_red(tmp_path / "b.png")]
    result, told = cosegment_files(segmenter, files)
    assert result.names == ("a.png", "b.png")
    assert mentions(told[0], "notes.jpg", "image") and mentions(told[1], "cut.png")
    assert str(tmp_path) not in " ".join(told)


@pytest.mark.parametrize("good", [0, 1])
def test_fewer_than_two_photographs_are_refused_with_all_reasons(
    tmp_path: Path, segmenter, half_red: Draw, good: int
) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    files = [tmp_path / "notes.jpg", *[half_red(tmp_path / f"{k}.png") for k in range(good)]]
    with pytest.raises(CosegError, match=naming("notes.jpg", "two photographs")) as refused:
        cosegment_files(segmenter, files)
    assert mentions(refused.value, "0.png") == bool(good)
    assert "cosegment" not in segmenter.asked


def test_names_that_are_alike_are_told_apart(tmp_path: Path, segmenter, half_red: Draw) -> None:
    files = [half_red(tmp_path / str(k) / name) for k, name in enumerate(("a.png", "A.png", "a.bmp", "a (2).png"))]
    result, _ = cosegment_files(segmenter, files)
    assert result.names == ("a.png", "A (2).png", "a (3).bmp", "a (2) (2).png")


def test_the_same_picture_twice_is_told(tmp_path: Path, segmenter, half_red: Draw) -> None:
    segmenter.repeated = ((0, 1),)
    _, told = cosegment_files(segmenter, [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png")])
    assert len(told) == 1 and mentions(told[0], "a.png", "b.png", "same picture")


def test_too_many_files_are_left_out_and_told(tmp_path: Path, segmenter, half_red: Draw) -> None:
    one = half_red(tmp_path / "a.png", 500, 20)
    result, told = cosegment_files(segmenter, [one] * (MOST_FILES + 3))
    assert len(result.files) == MOST_FILES
    assert mentions(told[0], 3, "left out")
    assert {each.shape for each in result.previews} == {(20, 500, 3)}  # many are shown small
    assert np.unique(result.names).size == MOST_FILES


def test_the_archive_holds_everything_at_the_photographs_own_size(tmp_path: Path, segmenter, half_red: Draw) -> None:
    segmenter.common = math.nan
    files = [half_red(tmp_path / "1" / "a.png", 1000, 600), half_red(tmp_path / "2" / "a.png", level=100)]
    result, _ = cosegment_files(segmenter, files)
    asked = list(segmenter.asked)
    path = write_archive(segmenter, result, 0.3, "a model", tmp_path / "out")
    assert segmenter.asked == asked
    assert [each.name for each in path.parent.iterdir()] == [path.name]  # nothing is left beside it
    with zipfile.ZipFile(path) as archive:
        kinds = ("mask.png", "overlay.jpg", "cutout.png")
        names = [f"{stem}_{kind}" for stem in ("a", "a (2)") for kind in kinds]
        assert archive.namelist() == [*names, "scores.json"]
        pictures = {name: Image.open(io.BytesIO(archive.read(name))) for name in names}
        scores = json.loads(archive.read("scores.json"))
    assert pictures["a_mask.png"].size == pictures["a_cutout.png"].size == (1000, 600)
    mask = np.asarray(pictures["a (2)_mask.png"])
    assert mask.shape == (60, 90) and mask[:, :40].all() and not mask[:, 50:].any()  # red 100 is above 0.3
    assert pictures["a_cutout.png"].mode == "RGBA"
    assert scores["model"] == "a model" and scores["threshold"] == 0.3
    assert scores["common"] is None and scores["shares"] is None
    assert [(each["file"], each["width"], each["height"]) for each in scores["images"]] == [
        ("a.png", 1000, 600),
        ("a (2).png", 90, 60),
    ]
    assert all(abs(each["foreground"] - 0.5) < 0.04 for each in scores["images"])


def test_the_scores_are_at_the_threshold_of_the_masks(tmp_path: Path, segmenter, half_red: Draw) -> None:
    segmenter.model_scores = lambda *_: {"calibration": {"accuracy": 0.9}}
    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", level=100)]
    result, _ = cosegment_files(segmenter, files)
    assert scores(segmenter, result, 0.5, "a model")["calibration"] == {"accuracy": 0.9}
    searched = replace(result, showing=Showing(cosegmentation=replace(result.cosegmentation, exemplars=1)))
    for threshold, outside in ((0.3, []), (0.5, [2]), (0.9, [1, 2])):  # red is 200 and 100 of 255
        written = scores(segmenter, searched, threshold, "a model")
        assert written["outside"] == outside and written["calibration"] is None
        assert [k + 1 for k, image in enumerate(written["images"]) if not image["foreground"]] == outside


def test_photographs_that_are_gone_are_told_and_leave_no_archive(tmp_path: Path, segmenter, half_red: Draw) -> None:
    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png")]
    result, _ = cosegment_files(segmenter, files)
    files[1].unlink()
    with pytest.raises(CosegError, match=naming("b.png", "removed")):
        write_archive(segmenter, result, 0.5, "a model", tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
