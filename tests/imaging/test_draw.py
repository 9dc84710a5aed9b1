from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coseg.imaging.draw import (
    PREDICTION,
    colour_code,
    fitted,
    label_picture,
    letterboxed,
    object_colour,
    outlined,
    save_picture,
    tinted,
)


def test_a_tint_marks_the_mask_alone() -> None:
    image = np.full((4, 4, 3), 200, np.uint8)
    mask = np.zeros((4, 4), bool)
    mask[1, 2] = True
    found = tinted(image, mask, PREDICTION)
    assert found[1, 2] == pytest.approx(0.45 * 200 + 0.55 * np.array(PREDICTION), abs=1)
    assert (found[~mask] == 160).all()


def test_an_outline_is_inside_the_mask_and_not_along_the_images_border() -> None:
    mask = np.zeros((6, 6), bool)
    mask[2:, 1:5] = True
    found = (outlined(np.zeros((6, 6, 3), np.uint8), mask, (9, 9, 9)) == 9).all(-1)
    expected = mask.copy()
    expected[3:, 2:4] = False
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (7, 7)])
def test_pictures_are_fitted_into_tiles(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 77, np.uint8)
    small = fitted(image, 20)
    assert max(small.shape[:2]) == 20
    assert small.shape[0] / small.shape[1] == pytest.approx(shape[0] / shape[1])
    tile = letterboxed(small, 20)
    assert tile.shape == (20, 20, 3)
    assert (tile == 77).all(-1).sum() == small.shape[0] * small.shape[1]
    assert fitted(image[..., 0] > 0, 20).dtype == bool


def test_a_picture_is_written(tmp_path: Path) -> None:
    save_picture(tmp_path / "a" / "b.png", np.zeros((3, 5, 3), np.uint8))
    with Image.open(tmp_path / "a" / "b.png") as picture:
        assert picture.size == (5, 3)


def test_a_label_map_has_the_colours_of_its_objects() -> None:
    labels = np.array([[0, 1], [2, 1]], np.uint8)
    picture = label_picture(labels, 2)
    assert picture.mode == "P" and np.array_equal(np.array(picture), labels)
    colours = np.array(picture.convert("RGB"))
    assert colours[0, 0].tolist() == [0, 0, 0] and colours[1, 0].tolist() == list(object_colour(2))
    assert len({object_colour(n) for n in range(1, 33)}) == 32


def test_colours_of_objects_as_in_html() -> None:
    for n in range(1, 20):
        code = colour_code(n)
        assert code[0] == "#" and tuple(bytes.fromhex(code[1:])) == object_colour(n)
