"""Surfaces, colours and backgrounds."""

import colorsys

import numpy as np
import pytest

from coseg.data.drawing.textures import (
    SURFACES,
    background,
    contrast,
    contrasting_colour,
    random_colour,
    smooth_noise,
    surface,
)


def generator(seed=0):
    return np.random.default_rng(seed)


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
