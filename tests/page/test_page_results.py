from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facts import mentions, naming

from coseg.errors import CosegError
from coseg.page.results import MOST_FILES, cosegment_files

Draw = Callable[..., Path]


def test_photographs_are_encoded_once_and_cosegmented(tmp_path: Path, segmenter, half_red: Draw) -> None:
    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 1000, 500)]
    steps: list[tuple[int, int, str]] = []
    result = cosegment_files(segmenter, files, lambda *step: steps.append(step))
    assert result.messages == ()
    assert segmenter.asked == ["encode", "encode", "cosegment"]
    assert [step[:2] for step in steps] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert mentions(steps[1][2], "photograph 2 of 2", "b.png") and mentions(steps[3][2], "photograph 2 of 2", "b.png")
    assert [each.shape for each in result.previews] == [(60, 90, 3), (500, 1000, 3)]  # of a pair, at most 1024 pixels
    assert [each.size for each in result.cosegmentation] == [(60, 90), (500, 1000)]


def test_masks_have_the_size_of_the_previews(tmp_path: Path, segmenter, half_red: Draw) -> None:
    result = cosegment_files(segmenter, [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 1000, 500, 100)])
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
    result = cosegment_files(segmenter, files)
    told = result.messages
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
    result = cosegment_files(segmenter, files)
    assert result.names == ("a.png", "A (2).png", "a (3).bmp", "a (2) (2).png")


def test_the_same_picture_twice_is_told(tmp_path: Path, segmenter, half_red: Draw) -> None:
    segmenter.repeated = ((0, 1),)
    told = cosegment_files(segmenter, [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png")]).messages
    assert len(told) == 1 and mentions(told[0], "a.png", "b.png", "same picture")


def test_too_many_files_are_left_out_and_told(tmp_path: Path, segmenter, half_red: Draw) -> None:
    one = half_red(tmp_path / "a.png", 500, 20)
    result = cosegment_files(segmenter, [one] * (MOST_FILES + 3))
    told = result.messages
    assert len(result.files) == MOST_FILES
    assert mentions(told[0], 3, "left out")
    assert {each.shape for each in result.previews} == {(20, 500, 3)}  # many are shown small
    assert np.unique(result.names).size == MOST_FILES


def test_a_result_is_of_its_files_wherever_they_are(tmp_path: Path, segmenter, half_red: Draw) -> None:
    files = [half_red(tmp_path / "1" / "a.png"), half_red(tmp_path / "1" / "b.png")]
    result = cosegment_files(segmenter, files)
    moved = [half_red(tmp_path / "2" / path.name) for path in files]
    assert result.is_of(files[::-1]) and result.is_of(moved) and not result.is_of(files[:1])
    half_red(moved[1], level=100)  # another photograph of the same name
    assert not result.is_of(moved)
    moved[1].unlink()
    assert not result.is_of(moved)


def test_no_two_results_have_one_serial(tmp_path: Path, segmenter, half_red: Draw) -> None:
    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png")]
    assert len({cosegment_files(segmenter, files).serial for _ in range(3)}) == 3
