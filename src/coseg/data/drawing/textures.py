"""Textures: surface patterns of objects, and backgrounds with clutter in colours from the same range."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""Float values on a grid of pixels, (H, W)."""

_TURN = np.float32(2 * np.pi)


def _edge(wave: Field, period: float, scale: float) -> Field:
    """Turn a sine of the given period into two flat tones whose border is one pixel wide (no jagged edges)."""
    return np.clip(0.5 + wave * np.float32(period * scale / _TURN), 0, 1)


def _stripes(x: Field, y: Field, scale: float, rng: np.random.Generator) -> Field:
    period = rng.uniform(0.24, 0.3)
    return _edge(np.sin(_TURN / period * x + rng.uniform(0, 6)), period, scale)


def _rings(x: Field, y: Field, scale: float, rng: np.random.Generator) -> Field:
    period = rng.uniform(0.24, 0.3)
    return _edge(np.sin(_TURN / period * np.hypot(x, y) + rng.uniform(0, 6)), period, scale)


def _zigzag(x: Field, y: Field, scale: float, rng: np.random.Generator) -> Field:
    period, length = rng.uniform(0.26, 0.32), rng.uniform(0.34, 0.42)
    bend = np.abs(np.mod(y / length + rng.uniform(), 1) - 0.5) * (1.6 * length)
    return _edge(np.sin(_TURN / period * (x + bend)), period, scale)


def _waves(x: Field, y: Field, scale: float, rng: np.random.Generator) -> Field:
    period, length = rng.uniform(0.28, 0.34), rng.uniform(0.5, 0.7)
    bend = 0.09 * np.sin(_TURN / length * y + rng.uniform(0, 6))
    wave = np.sin(_TURN / period * (x + bend) + rng.uniform(0, 6))
    return 0.5 + 0.5 * wave


def _checker(x: Field, y: Field, scale: float, rng: np.random.Generator) -> Field:
    period = rng.uniform(0.38, 0.46)
    wave = np.sin(_TURN / period * x + rng.uniform(0, 6)) * np.sin(_TURN / period * y + rng.uniform(0, 6))
    return _edge(wave, period, scale)


def _grid(x: Field, y: Field, scale: float, rng: np.random.Generator) -> Field:
    period = rng.uniform(0.26, 0.32)
    wave = np.maximum(np.cos(_TURN / period * x + rng.uniform(0, 6)), np.cos(_TURN / period * y + rng.uniform(0, 6)))
    return _edge(wave - np.float32(0.75), period, scale)


def _dots(x: Field, y: Field, scale: float, rng: np.random.Generator) -> Field:
    period = rng.uniform(0.28, 0.34)
    wave = np.cos(_TURN / period * x + rng.uniform(0, 6)) + np.cos(_TURN / period * y + rng.uniform(0, 6))
    return _edge(wave - np.float32(0.55), period, scale)


def _gradient(x: Field, y: Field, scale: float, rng: np.random.Generator) -> Field:
    return np.clip(0.5 + 0.9 * x, 0, 1)


def _plain(x: Field, y: Field, scale: float, rng: np.random.Generator) -> Field:
    return np.zeros_like(x)


def _noise(x: Field, y: Field, scale: float, rng: np.random.Generator) -> Field:
    blotches = smooth_noise(x.shape[0], x.shape[1], max(2, round(0.13 * scale)), rng)
    return np.clip(0.5 + 2.5 * (blotches - 0.5), 0, 1)


def _speckle(x: Field, y: Field, scale: float, rng: np.random.Generator) -> Field:
    grain = max(1, round(0.05 * scale))
    height, width = -(-x.shape[0] // grain), -(-x.shape[1] // grain)
    specks = (rng.random((height, width), np.float32) < 0.22).astype(np.float32)
    return np.repeat(np.repeat(specks, grain, axis=0), grain, axis=1)[: x.shape[0], : x.shape[1]]


_PATTERNS: dict[str, Callable[[Field, Field, float, np.random.Generator], Field]] = {
    "plain": _plain,
    "stripes": _stripes,
    "rings": _rings,
    "zigzag": _zigzag,
    "waves": _waves,
    "checker": _checker,
    "grid": _grid,
    "dots": _dots,
    "gradient": _gradient,
    "noise": _noise,
    "speckle": _speckle,
}

SURFACES = tuple(_PATTERNS)
"""The names that `surface` takes."""


def surface(name: str, x: Field, y: Field, scale: float, rng: np.random.Generator) -> Field:
    """The pattern `name` at the points (x, y).

    Args:
        name: one of `SURFACES`.
        x: float32 (H, W), the pixels' places on the object, in units of the square root of its area.
        y: the same for the other axis.
        scale: pixels in one such unit.
        rng: gives the pattern's phase and period.

    Returns:
        float32 (H, W) in 0..1: the share of the second colour.
    """
    return _PATTERNS[name](x, y, scale, rng).astype(np.float32, copy=False)


def smooth_noise(height: int, width: int, cell: int, rng: np.random.Generator) -> Field:
    """Random values 0..1 on a lattice of `cell` pixels, interpolated between: float32 (height, width)."""
    lattice = rng.random((height // cell + 3, width // cell + 3), np.float32)
    grown = cv2.resize(lattice, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
    return np.clip(grown[cell : cell + height, cell : cell + width], 0, 1).astype(np.float32, copy=False)


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


def contrasting_colour(colours: Sequence[Colour], least: float, rng: np.random.Generator) -> Colour:
    """A colour with a `contrast` of at least `least` to all of `colours`, or the best of 30 that were tried."""
    best, most = random_colour(rng), -1.0
    for _ in range(30):
        colour = random_colour(rng)
        nearest = min(contrast(colour, other) for other in colours)
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
