"""Outlines of objects."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from coseg.data.drawing.silhouettes import SILHOUETTES, silhouette


def raster(name, side=401, reach=1.7):
    """The points of a grid over -reach..reach that lie inside the outline: inside its outer contour and no hole."""
    steps = (np.arange(side) + 0.5) / side * 2 * reach - reach
    points = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    outer, *holes = (Polygon(contour).contains_points(points) for contour in silhouette(name))
    for hole in holes:
        assert not (hole & ~outer).any()
        outer &= ~hole
    return points[outer], (2 * reach / side) ** 2, outer


@pytest.mark.parametrize("name", SILHOUETTES)
def test_silhouettes_have_unit_area_around_their_centre_of_gravity(name):
    points, cell, _ = raster(name)
    assert len(points) * cell == pytest.approx(1, abs=0.02)
    assert points.mean(axis=0) == pytest.approx([0, 0], abs=0.01)


def test_silhouettes_can_be_told_apart():
    masks = {name: raster(name)[2] for name in SILHOUETTES}
    for a, b in combinations(masks, 2):
        overlap = (masks[a] & masks[b]).sum() / (masks[a] | masks[b]).sum()
        assert overlap < 0.95, (a, b)
