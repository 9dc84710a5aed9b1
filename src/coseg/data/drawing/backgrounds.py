"""Textured backgrounds with clutter, in colours from the same range as the objects' colours."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from coseg.data.drawing.surfaces import smooth_noise, surface

Colour = NDArray[np.float32]
"""RGB in 0..1, shape (3,)."""

_BRIGHTNESS = np.array([0.3, 0.59, 0.11], np.float32)

_TEXTURES = ("stripes", "waves", "checker", "grid", "dots", "zigzag", "rings", "speckle", "noise", "plain", "gradient")


def random_colour(rng: np.random.Generator) -> Colour:
    """Any hue, saturation 0.15..0.85, value 0.25..1."""
    hue, saturation, value = rng.uniform(0, 6), rng.uniform(0.15, 0.85), rng.uniform(0.25, 1.0)
    # The usual formula from HSV, for the three channels at once.
    k = np.mod(np.array([5.0, 3.0, 1.0]) + hue, 6)
    return (value * (1 - saturation * np.clip(np.minimum(k, 4 - k), 0, 1))).astype(np.float32)


def contrast(a: Colour, b: Colour) -> float:
    """How far apart two colours are, about 0..1.4: the difference in brightness counts most, hue and saturation too."""
    difference = a - b
    return float(abs(difference @ _BRIGHTNESS) + 0.4 * np.linalg.norm(difference))


def contrasting_colour(others: Sequence[Colour], least: float, rng: np.random.Generator) -> Colour:
    """A colour with a `contrast` of at least `least` to all of `others`, or the best of 30 that were tried."""
    best, most = random_colour(rng), -1.0
    for _ in range(30):
        colour = random_colour(rng)
        nearest = min(contrast(colour, other) for other in others)
        if nearest > most:
            best, most = colour, nearest
        if most >= least:
            break
    return best


def background(size: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], list[Colour]]:
    """A picture without objects.

    Returns:
        float32 (size, size, 3), RGB in 0..1, and its two main colours.
    """
    first = random_colour(rng)
    second = (0.45 * first + 0.55 * random_colour(rng)).astype(np.float32)
    blend = smooth_noise(size, size, max(4, size // int(rng.integers(2, 6))), rng)
    picture = first + blend[..., None] * (second - first)

    # The objects' own patterns, paler and at another scale: a pattern alone is no sign of an object.
    unit = size * rng.uniform(0.25, 0.7)
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.float32(np.cos(angle) / unit), np.float32(np.sin(angle) / unit)
    centre = rng.uniform(0, size, 2).astype(np.float32)
    steps = np.arange(size, dtype=np.float32)
    across, down = (steps - centre[0])[None, :], (steps - centre[1])[:, None]
    name = _TEXTURES[int(rng.integers(len(_TEXTURES)))]
    pattern = surface(name, cos * across + sin * down, cos * down - sin * across, unit, rng)
    tint = (random_colour(rng) - first) * np.float32(rng.uniform(0.12, 0.4))
    picture += pattern[..., None] * tint

    _clutter(picture, rng)
    return picture, [first, second]


def _clutter(picture: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Draw lines and specks over `picture`, too small to be objects."""
    size = len(picture)
    # OpenCV smooths edges in 8-bit pictures only, so clutter is drawn as 8-bit coverage and mixed in.
    for draw in (_lines, _specks):
        cover = np.zeros((size, size), np.uint8)
        draw(cover, rng)
        alpha = cover.astype(np.float32)[..., None] * np.float32(rng.uniform(0.4, 0.9) / 255)
        picture += alpha * (random_colour(rng) - picture)


def _lines(cover: NDArray[np.uint8], rng: np.random.Generator) -> None:
    size = len(cover)
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.integers(0, size, 2)
        length, angle = rng.uniform(0.15, 0.6) * size, rng.uniform(0, 2 * np.pi)
        end = (int(x + length * np.cos(angle)), int(y + length * np.sin(angle)))
        cv2.line(cover, (int(x), int(y)), end, 255, max(1, size // 96), cv2.LINE_AA)


def _specks(cover: NDArray[np.uint8], rng: np.random.Generator) -> None:
    size = len(cover)
    for _ in range(int(rng.integers(2, 11))):
        x, y = (int(v) for v in rng.integers(0, size * 16, 2))
        radius = int(rng.uniform(0.008, 0.026) * size * 16)
        cv2.circle(cover, (x, y), radius, 255, -1, cv2.LINE_AA, 4)
