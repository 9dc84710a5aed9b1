import colorsys
from itertools import combinations

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from coseg.data.drawing.backgrounds import background, contrast, contrasting_colour, random_colour
from coseg.data.drawing.compose import Kind, arrange, label_map, paint
from coseg.data.drawing.silhouettes import SILHOUETTES, silhouette
from coseg.data.drawing.surfaces import SURFACES, smooth_noise, surface


def generator(seed=0):
    return np.random.default_rng(seed)


def raster(name, side=401, reach=1.7):
    """The points of a grid over -reach..reach that lie inside the outline: inside its outer contour and no hole."""
    steps = (np.arange(side) + 0.5) / side * 2 * reach - reach
    points = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    outer, *holes = (Polygon(contour).contains_points(points) for contour in silhouette(name))
    for hole in holes:
        assert not (hole & ~outer).any()
        outer &= ~hole
    return points[outer], (2 * reach / side) ** 2, outer


# silhouettes


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


# surfaces


def grid(side=64):
    steps = ((np.arange(side, dtype=np.float32) + 0.5) / side - 0.5) * np.float32(1.2)
    x, y = np.meshgrid(steps, steps)
    return x, y, side / 1.2


@pytest.mark.parametrize("name", SURFACES)
def test_surfaces_are_shares_of_two_colours(name):
    x, y, scale = grid()
    share = surface(name, x, y, scale, generator())
    assert (share.shape, share.dtype) == (x.shape, np.float32)
    assert share.min() >= 0
    assert share.max() <= 1
    assert np.array_equal(share, surface(name, x, y, scale, generator()))
    if name == "plain":
        assert not share.any()
    else:
        assert share.std() > 0.15
        assert 0.05 < share.mean() < 0.95


@pytest.mark.parametrize("name", ["stripes", "waves", "zigzag", "rings", "checker", "grid", "dots", "gradient"])
def test_regular_surfaces_turn_with_the_object(name):
    x, y, scale = grid()
    upright = surface(name, x, y, scale, generator(3))
    turned = surface(name, y, -x, scale, generator(3))  # the object's axes turned by a quarter
    assert np.allclose(turned, np.rot90(upright, -1), atol=1e-3)


def test_smooth_noise_varies_slowly():
    noise = smooth_noise(50, 70, 10, generator())
    assert noise.shape == (50, 70)
    assert noise.min() >= 0
    assert noise.max() <= 1
    assert noise.std() > 0.1
    assert np.abs(np.diff(noise, axis=1)).mean() < 0.25 * np.abs(noise - np.roll(noise, 25, axis=1)).mean()


# colours and backgrounds


def test_colours_are_hue_saturation_value_within_range():
    for seed in range(100):
        rng = generator(seed)
        hue, saturation, value = rng.uniform(0, 6), rng.uniform(0.15, 0.85), rng.uniform(0.25, 1.0)
        assert random_colour(generator(seed)) == pytest.approx(
            colorsys.hsv_to_rgb(hue / 6, saturation, value), abs=1e-5
        )


def test_contrast_weighs_brightness():
    black, grey, blue = (np.array(colour, np.float32) for colour in ([0, 0, 0], [0.5, 0.5, 0.5], [0, 0, 1]))
    assert contrast(black, black) == 0
    assert contrast(black, grey) == pytest.approx(0.5 + 0.4 * 0.75**0.5, abs=1e-5)
    assert contrast(black, blue) == contrast(blue, black) == pytest.approx(0.11 + 0.4, abs=1e-5)


def test_contrasting_colours_stand_out():
    others = [np.full(3, 0.1, np.float32), np.full(3, 0.5, np.float32)]
    for seed in range(100):
        colour = contrasting_colour(others, 0.25, generator(seed))
        assert min(contrast(colour, other) for other in others) >= 0.25
    # where none is far enough, the best of some tries
    far = [contrast(contrasting_colour(others[:1], 9.0, generator(seed)), others[0]) for seed in range(50)]
    plain = [contrast(random_colour(generator(seed)), others[0]) for seed in range(50)]
    assert np.mean(far) > np.mean(plain) + 0.2


def test_backgrounds_are_textured_and_seeded():
    picture, colours = background(64, generator(1))
    assert (picture.shape, picture.dtype, len(colours)) == ((64, 64, 3), np.float32, 2)
    assert picture.std() > 0.02
    assert np.array_equal(picture, background(64, generator(1))[0])
    assert not np.allclose(picture, background(64, generator(2))[0])


# arrangement

KINDS = [Kind(7, "disc", "dots"), Kind(3, "key", "plain"), Kind(5, "star", "rings")]


@pytest.mark.parametrize("size", [48, 97])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_objects_lie_inside_and_hardly_hide_each_other(count, size):
    for seed in range(10):
        placed = arrange(KINDS[:count], size, generator(seed))
        assert [thing.kind for thing in placed] == KINDS[:count]
        labels = label_map(placed, size)
        assert set(np.unique(labels)) == {0, *(kind.label for kind in KINDS[:count])}
        for thing in placed:
            height, width = thing.cover.shape
            assert 0 <= thing.top <= size - height
            assert 0 <= thing.left <= size - width
            assert max(height, width) <= 0.62 * size + 2
            whole, visible = (thing.cover >= 128).sum(), (labels == thing.kind.label).sum()
            assert visible >= 0.9 * whole
            assert 0.04 * size**2 <= visible <= 0.17 * size**2


def test_the_last_object_lies_on_top():
    below, above = arrange(KINDS[:2], 64, generator())
    below = below._replace(top=0, left=0)
    above = above._replace(top=0, left=0)
    labels = label_map([below, above], 64)
    assert (labels == 3).sum() == (above.cover >= 128).sum()


def test_paint_follows_the_arrangement_and_its_own_generator():
    placed = arrange(KINDS, 64, generator())
    picture = paint(placed, 64, generator(1))
    assert (picture.shape, picture.dtype) == ((64, 64, 3), np.uint8)
    assert np.array_equal(picture, paint(placed, 64, generator(1)))
    assert not np.array_equal(picture, paint(placed, 64, generator(2)))
    # the same stream without the objects differs where they are
    without = paint([], 64, generator(1)).astype(int)
    inside = label_map(placed, 64) > 0
    change = np.abs(picture.astype(int) - without).mean(axis=2)
    assert change[inside].mean() > 2 * change[~inside].mean()
