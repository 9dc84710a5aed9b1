"""Outlines of objects, as polygons of unit area around their centre of gravity."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

Contour = NDArray[np.float64]
"""Vertices of a closed polygon, (n, 2) as x, y with y downwards."""


def _arc(radius: float, start: float, stop: float, n: int = 48, x: float = 0.0, y: float = 0.0) -> Contour:
    """Points on a circle around (x, y) from angle `start` to `stop` in degrees, both included."""
    t = np.deg2rad(np.linspace(start, stop, n))
    return np.stack([x + radius * np.cos(t), y + radius * np.sin(t)], axis=1)


def _radial(radii: list[float], per_turn: int, start: float = -90.0) -> Contour:
    """A polygon whose corners lie at even angles, at distances that repeat `radii`."""
    n = per_turn * len(radii)
    t = np.deg2rad(start) + np.arange(n) * (2 * np.pi / n)
    return np.tile(radii, per_turn)[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)


def _disc() -> list[Contour]:
    return [_arc(1, 0, 360, 64)[:-1]]


def _triangle() -> list[Contour]:
    return [_radial([1.0], 3)]


def _square() -> list[Contour]:
    return [_radial([1.0], 4, start=45)]


def _hexagon() -> list[Contour]:
    return [_radial([1.0], 6)]


def _star() -> list[Contour]:
    return [_radial([1.0, 0.42], 5)]


def _cross() -> list[Contour]:
    a, b = 1.0, 0.36
    corner = [
        (b, b), (a, b), (a, -b), (b, -b), (b, -a), (-b, -a),
        (-b, -b), (-a, -b), (-a, b), (-b, b), (-b, a), (b, a),
    ]  # fmt: skip
    return [np.array(corner)]


def _crescent() -> list[Contour]:
    # The tips are where the two circles meet; the inner circle lies to the right.
    shift, inner = 0.55, 0.78
    x = (1 - inner**2 + shift**2) / (2 * shift)
    y = np.sqrt(1 - x**2)
    outer_tip, inner_tip = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(y, x - shift))
    return [np.concatenate([_arc(1, outer_tip, 360 - outer_tip), _arc(inner, 360 - inner_tip, inner_tip, x=shift)])]


def _ring() -> list[Contour]:
    return [_arc(1, 0, 360, 64)[:-1], _arc(0.55, 0, 360, 48)[:-1]]


def _heart() -> list[Contour]:
    t = np.linspace(0, 2 * np.pi, 72)[:-1]
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return [np.stack([x, y], axis=1)]


def _arrow() -> list[Contour]:
    return [np.array([(1, 0), (0.1, -0.75), (0.1, -0.3), (-1, -0.3), (-1, 0.3), (0.1, 0.3), (0.1, 0.75)])]


def _gear() -> list[Contour]:
    return [_radial([1.0, 1.0, 0.72, 0.72], 8), _arc(0.3, 0, 360, 32)[:-1]]


def _bolt() -> list[Contour]:
    return [np.array([(0.25, -1.1), (-0.6, 0.2), (-0.08, 0.2), (-0.3, 1.1), (0.6, -0.3), (0.08, -0.3), (0.45, -1.1)])]


def _drop() -> list[Contour]:
    # Tangents from the tip at (0, -2) touch the unit circle at 30 degrees above the horizontal.
    return [np.concatenate([[(0.0, -2.0)], _arc(1, -30, 210)])]


def _leaf() -> list[Contour]:
    # Two arcs of the same circle that meet in two tips, with a stalk.
    right, left = _arc(1, 50, -50, x=-0.643), _arc(1, 230, 130, x=0.643)
    return [np.concatenate([[(0.05, 1.2), (0.05, 0.74)], right[2:], left[:-2], [(-0.05, 0.74), (-0.05, 1.2)]])]


def _key() -> list[Contour]:
    shaft = [(2.3, 0.2), (2.3, 0.85), (1.9, 0.85), (1.9, 0.2), (1.55, 0.2), (1.55, 0.65), (1.2, 0.65), (1.2, 0.2)]
    bow = _arc(0.75, 16, 344)
    return [np.concatenate([bow, [(2.3, -0.2)], shaft]), _arc(0.36, 0, 360, 32)[:-1]]


def _mug() -> list[Contour]:
    handle = _arc(0.68, -85, 85, x=0.6)
    body = [(0.6, 0.9), (-0.7, 0.9), (-0.7, -0.9), (0.6, -0.9)]
    hole = _arc(0.4, -85, 85, x=0.6)
    return [np.concatenate([handle, body]), hole]


_OUTLINES: dict[str, Callable[[], list[Contour]]] = {
    "disc": _disc,
    "triangle": _triangle,
    "square": _square,
    "hexagon": _hexagon,
    "star": _star,
    "cross": _cross,
    "crescent": _crescent,
    "ring": _ring,
    "heart": _heart,
    "arrow": _arrow,
    "gear": _gear,
    "bolt": _bolt,
    "drop": _drop,
    "leaf": _leaf,
    "key": _key,
    "mug": _mug,
}

SILHOUETTES = tuple(_OUTLINES)
"""The names that `silhouette` takes."""


def _moments(contour: Contour) -> tuple[float, Contour]:
    """Unsigned area of a polygon, and its centre of gravity times that area (shoelace formula)."""
    following = np.roll(contour, -1, axis=0)
    cross = contour[:, 0] * following[:, 1] - following[:, 0] * contour[:, 1]
    sign = np.sign(cross.sum())
    return float(sign * cross.sum() / 2), sign * ((contour + following) * cross[:, None]).sum(axis=0) / 6


@cache
def silhouette(name: str) -> tuple[Contour, ...]:
    """The outline `name`: first its outer contour, then its holes.

    The area inside is 1 and its centre of gravity is the origin, so that neither size nor place reveals the class.
    """
    contours = _OUTLINES[name]()
    moments = [_moments(contour) for contour in contours]
    area = moments[0][0] - sum(a for a, _ in moments[1:])
    centre = (moments[0][1] - sum((m for _, m in moments[1:]), np.zeros(2))) / area
    return tuple((contour - centre) / np.sqrt(area) for contour in contours)
