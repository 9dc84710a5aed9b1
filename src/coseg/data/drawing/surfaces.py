"""Surface patterns: how much of the second of two colours each point of an object has."""

from __future__ import annotations

from collections.abc import Callable

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
