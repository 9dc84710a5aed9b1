from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coseg.errors import CosegError
from coseg.page.look import MOST_FILES, take_look

Draw = Callable[..., Path]


def test_photographs_are_encoded_once_and_cosegmented(tmp_path: Path, segmenter, half_red: Draw) -> None:
    files = [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 1000, 500)]
    steps: list[tuple[int, int, str]] = []
    look, told = take_look(segmenter, files, lambda *step: steps.append(step))
    assert told == []
    assert segmenter.asked == ["encode", "encode", "cosegment"]
    assert steps == [(0, 2, "a.png"), (1, 2, "b.png")]
    assert [each.shape for each in look.previews] == [(60, 90, 3), (384, 768, 3)]  # of a pair, at most 768 pixels
    assert [each.size for each in look.result] == [(60, 90), (500, 1000)]


def test_masks_have_the_size_of_the_previews(tmp_path: Path, segmenter, half_red: Draw) -> None:
    look, _ = take_look(segmenter, [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png", 1000, 500, 100)])
    mask = look.mask(0, 0.5)
    assert mask.shape == (60, 90)
    assert mask[:, :40].all() and not mask[:, 50:].any()
    assert not look.mask(1, 0.5).any()  # its red is 100 of 255
    assert look.mask(1, 0.3)[:, :360].all()
    assert segmenter.asked.count("encode") == 2


def test_points_of_a_preview_are_places_of_the_photograph(tmp_path: Path, segmenter, half_red: Draw) -> None:
    look, _ = take_look(segmenter, [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png")])
    assert look.place(0, 0, 0) == pytest.approx((0.5 / 60, 0.5 / 90))
    assert look.place(0, 89, 59) == pytest.approx((59.5 / 60, 89.5 / 90))
    assert look.place(0, 500, -7) == (0.0, 1.0)


def test_files_that_are_no_photographs_are_told_by_name_and_the_rest_goes_on(
    tmp_path: Path, segmenter, half_red: Draw
) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    whole = half_red(tmp_path / "whole.png", 300, 300).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    files = [tmp_path / "notes.jpg", half_red(tmp_path / "a.png"), tmp_path / "cut.png", half_red(tmp_path / "b.png")]
    look, told = take_look(segmenter, files)
    assert look.names == ("a.png", "b.png")
    assert told[0].startswith("notes.jpg is not an image") and told[1].startswith("cut.png ")
    assert str(tmp_path) not in " ".join(told)


@pytest.mark.parametrize("good", [0, 1])
def test_fewer_than_two_photographs_are_refused_with_all_reasons(
    tmp_path: Path, segmenter, half_red: Draw, good: int
) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    files = [tmp_path / "notes.jpg", *[half_red(tmp_path / f"{k}.png") for k in range(good)]]
    with pytest.raises(CosegError, match=r"notes\.jpg is not an image.*It takes two photographs") as refused:
        take_look(segmenter, files)
    assert ("only 0.png" in str(refused.value)) == bool(good)
    assert "cosegment" not in segmenter.asked


def test_names_that_are_alike_are_told_apart(tmp_path: Path, segmenter, half_red: Draw) -> None:
    files = [half_red(tmp_path / str(k) / name) for k, name in enumerate(("a.png", "A.png", "a.bmp", "a (2).png"))]
    look, _ = take_look(segmenter, files)
    assert look.names == ("a.png", "A (2).png", "a (3).bmp", "a (2) (2).png")


def test_the_same_picture_twice_is_told(tmp_path: Path, segmenter, half_red: Draw) -> None:
    segmenter.repeated = ((0, 1),)
    _, told = take_look(segmenter, [half_red(tmp_path / "a.png"), half_red(tmp_path / "b.png")])
    assert len(told) == 1 and told[0].startswith("a.png and b.png show the same picture")


def test_too_many_files_are_left_out_and_told(tmp_path: Path, segmenter, half_red: Draw) -> None:
    one = half_red(tmp_path / "a.png", 500, 20)
    look, told = take_look(segmenter, [one] * (MOST_FILES + 3))
    assert len(look.files) == MOST_FILES
    assert "the last 3 were left out" in told[0]
    assert {each.shape for each in look.previews} == {(13, 320, 3)}  # many are shown small
    assert np.unique(look.names).size == MOST_FILES
