"""Where objects lie, and their picture and label map."""

import numpy as np
import pytest

from coseg.data.drawing.compose import ObjectSpec, arrange, label_map, paint


def generator(seed=0):
    return np.random.default_rng(seed)


SPECS = [ObjectSpec(7, "disc", "dots"), ObjectSpec(3, "key", "plain"), ObjectSpec(5, "star", "rings")]


@pytest.mark.parametrize("size", [48, 97])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_objects_lie_inside_and_hardly_hide_each_other(count, size):
    for seed in range(10):
        placed = arrange(SPECS[:count], size, generator(seed))
        assert [thing.spec for thing in placed] == SPECS[:count]
        labels = label_map(placed, size)
        assert set(np.unique(labels)) == {0, *(spec.label for spec in SPECS[:count])}
        for thing in placed:
            height, width = thing.cover.shape
            assert 0 <= thing.top <= size - height
            assert 0 <= thing.left <= size - width
            assert max(height, width) <= 0.62 * size + 2
            whole, visible = (thing.cover >= 128).sum(), (labels == thing.spec.label).sum()
            assert visible >= 0.9 * whole
            assert 0.04 * size**2 <= visible <= 0.17 * size**2


def test_the_last_object_lies_on_top():
    below, above = arrange(SPECS[:2], 64, generator())
    below = below._replace(top=0, left=0)
    above = above._replace(top=0, left=0)
    labels = label_map([below, above], 64)
    assert (labels == 3).sum() == (above.cover >= 128).sum()


def test_paint_follows_the_arrangement_and_its_own_generator():
    placed = arrange(SPECS, 64, generator())
    picture = paint(placed, 64, generator(1))
    assert (picture.shape, picture.dtype) == ((64, 64, 3), np.uint8)
    assert np.array_equal(picture, paint(placed, 64, generator(1)))
    assert not np.array_equal(picture, paint(placed, 64, generator(2)))
    # the same stream without the objects differs where they are
    without = paint([], 64, generator(1)).astype(int)
    inside = label_map(placed, 64) > 0
    change = np.abs(picture.astype(int) - without).mean(axis=2)
    assert change[inside].mean() > 2 * change[~inside].mean()
