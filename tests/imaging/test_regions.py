"""Run lengths and polygons, against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest

from coseg.imaging.regions import (
    MAX_OUTLINE,
    Polygons,
    Runs,
    compressed_counts,
    expanded_counts,
    mask_runs,
    region_of,
)

oracle = pytest.importorskip("pycocotools.mask")


def drawn(seed: int, height: int, width: int) -> np.ndarray:
    """A mask of runs of all lengths."""
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < rng.random()
    mask[: height // 3] = seed % 2
    return mask


@pytest.mark.parametrize("seed", range(20))
def test_runs_are_those_of_pycocotools(seed: int) -> None:
    size = (1 + 7 * seed, 200 - 9 * seed)
    mask = drawn(seed, *size)
    runs = mask_runs(mask)
    encoded = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = compressed_counts(runs.counts)
    assert text == encoded["counts"].decode()
    assert (expanded_counts(text) == runs.counts).all()
    for counts in (text, runs.counts.tolist()):
        region = region_of({"size": list(size), "counts": counts})
        assert (region.mask(*size) == mask).all()
        assert region.area == mask.sum()


@pytest.mark.parametrize("mask", [np.zeros((3, 4), bool), np.ones((3, 4), bool)])
def test_runs_of_nothing_and_of_everything(mask: np.ndarray) -> None:
    assert (mask_runs(mask).mask(3, 4) == mask).all()
    assert (
        compressed_counts(mask_runs(mask).counts)
        == oracle.encode(np.asfortranarray(mask.view(np.uint8)))["counts"].decode()
    )


def outlines(seed: int, height: int, width: int) -> list[list[float]]:
    """Polygons of many forms: stars, slivers, crossing ones, ones that leave the picture, whole and broken numbers."""
    rng = np.random.default_rng(seed)
    polygons = []
    for _ in range(1 + seed % 3):
        points = rng.uniform(-0.3, 1.3, (rng.integers(3, 40), 2)) * (width, height)
        if seed % 4 == 1:
            points = np.round(points)
        if seed % 4 == 2:
            points[:, 0] = points[0, 0] + rng.uniform(-1.5, 1.5, len(points))
        if seed % 4 == 3:
            points = np.round(points, 2)
            points[1] = points[0]  # twice the same corner
        polygons.append(points.ravel().tolist())
    return polygons


@pytest.mark.parametrize("seed", range(120))
def test_polygons_are_those_of_pycocotools(seed: int) -> None:
    height, width = 31 + seed, 90 - seed // 2
    polygons = outlines(seed, height, width)
    merged = oracle.merge(oracle.frPyObjects(polygons, height, width))
    assert (region_of(polygons).mask(height, width) == oracle.decode(merged).astype(bool)).all()


def test_the_area_of_polygons() -> None:
    triangle, square = [10, 10, 10, 14, 18, 14], [0, 0, 3, 0, 3, 3, 0, 3]
    assert region_of([triangle, square]).area == pytest.approx(16 + 9)
    assert region_of([square]).mask(5, 5).sum() == 9


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        (None, "no segmentation"),
        ([], "empty"),
        ("text", "type"),
        ([[1, 2, 3, 4]], "3 points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "3 points"),
        ([1, 2, 3, 4, 5, 6], "3 points"),
        ([[1, 2, 3, 4, 5, "6"]], "number"),
        ([[1, 2, 3, 4, 5, True]], "number"),
        ([[1, 2, 3, 4, 5, float("nan")]], "finite"),
        ([[1, 2, 3, 4, 5, float("inf")]], "finite"),
        ([[1, 2, 3, 4, 5, 10**400]], "finite"),
        ({"size": [3, 4]}, "whole numbers"),
        ({"size": [3, 4], "counts": [5, 6]}, "sum"),
        ({"size": [3, 4], "counts": [13, -1]}, "whole numbers"),
        ({"size": [3, 4], "counts": [6.0, 6.0]}, "whole numbers"),
        ({"size": [3, 4], "counts": [2**70]}, "whole numbers"),
        ({"size": [3, 4], "counts": "\x00é"}, "compressed"),
        ({"size": [3, 4], "counts": "P"}, "compressed"),
        ({"size": [3, 4], "counts": "o" * 12 + "0"}, "compressed"),
        ({"size": [3, 4], "counts": ""}, "sum"),
        ({"size": [3, 4], "counts": "9"}, "sum"),
        ({"size": [3, 10**9], "counts": [1]}, "size"),
        ({"size": [3, -4], "counts": [1]}, "size"),
        ({"size": "3x4", "counts": [1]}, "size"),
    ],
)
def test_what_is_no_region(segmentation: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        region_of(segmentation)


def test_regions_that_do_not_fit_the_picture() -> None:
    with pytest.raises(ValueError, match="4x3"):
        Runs((3, 4), np.array([12])).mask(4, 3)
    with pytest.raises(ValueError, match="outside"):
        region_of([[0, 0, 1e9, 0, 5, 5]]).mask(10, 10)
    zigzag = np.tile([[0.0, 0.0], [30_000.0, 5.0]], (20, 1))
    with pytest.raises(ValueError, match="longer"):
        Polygons((zigzag,)).mask(10, 30_000)
    assert MAX_OUTLINE < 2 * 20 * 30_000 * 5
