"""Where objects lie in a picture, and the picture and label map that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from coseg.data.drawing.silhouettes import silhouette
from coseg.data.drawing.textures import background, contrasting_colour, surface

_AREAS = {1: (0.07, 0.16), 2: (0.06, 0.14)}
"""Range of an object's area as a share of the picture, by the number of objects in it."""

_AREAS_CROWDED = (0.055, 0.1)
_SMALLEST = 0.05
_LONGEST = 0.62
"""No object is longer or wider than this share of the side."""

_OVERLAP = 0.03
"""An object may hide or cover this share of its own area, not more."""

_TRIES = 40
_FINE = 4
"""Silhouettes are drawn this much larger and then averaged down, which smooths their edges."""


class ObjectSpec(NamedTuple):
    """What to draw: the label of its pixels, its silhouette and its surface."""

    label: int
    silhouette: str
    surface: str


class Placed(NamedTuple):
    """An object in its place.

    `spec`: what it is. `top`, `left`: of its patch, in pixels. `cover`: uint8 (h, w), how much of each pixel it fills,
    0..255. `inverse`: float (2, 2), from pixels to the object's own axes. `centre`: its x, y within the patch.
    """

    spec: ObjectSpec
    top: int
    left: int
    cover: NDArray[np.uint8]
    inverse: NDArray[np.float64]
    centre: NDArray[np.float64]

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the picture that the patch takes."""
        height, width = self.cover.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def arrange(specs: Sequence[ObjectSpec], size: int, rng: np.random.Generator) -> list[Placed]:
    """Give objects a random pose, size and place, all inside the picture and hardly any hidden by another.

    Args:
        specs: one to three things to draw; later ones lie above earlier ones.
        size: side of the picture in pixels.
        rng: all randomness comes from it.

    Returns:
        one `Placed` for each of `specs`, each with at least 3.5 % of the picture visible.
    """
    low, high = _AREAS.get(len(specs), _AREAS_CROWDED)
    # A try fails when objects don't fit; each new one samples all poses anew, with smaller objects.
    while True:
        placed = _try(specs, size, low, high, rng)
        if placed is not None:
            return placed
        high = max(_SMALLEST, 0.9 * high)
        low = min(low, high)


def _try(
    specs: Sequence[ObjectSpec], size: int, low: float, high: float, rng: np.random.Generator
) -> list[Placed] | None:
    taken = np.zeros((size, size), bool)
    placed: list[Placed] = []
    for spec in specs:
        cover, inverse, centre = _pose(spec, size, rng.uniform(low, high), rng)
        height, width = cover.shape
        solid = cover >= 128
        allowed = _OVERLAP * np.count_nonzero(solid)
        for top, left in rng.integers(0, (size - height + 1, size - width + 1), (_TRIES, 2)).tolist():
            window = taken[top : top + height, left : left + width]
            if np.count_nonzero(window & solid) <= allowed:
                window |= solid
                placed.append(Placed(spec, top, left, cover, inverse, centre))
                break
        else:
            return None
    return placed


def _pose(
    spec: ObjectSpec, size: int, area: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """Turn, stretch and shear an object and draw its silhouette: its cover, inverse and centre as in `Placed`."""
    angle, aspect, shear = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(-0.16, 0.16)), rng.uniform(-0.15, 0.15)
    cos, sin = np.cos(angle), np.sin(angle)
    # Aspect and shear keep the area.
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([aspect, 1 / aspect])
    contours = [contour @ matrix.T for contour in silhouette(spec.silhouette)]
    corner, extent = contours[0].min(axis=0), np.ptp(contours[0], axis=0)
    scale = min(np.sqrt(area), _LONGEST / extent.max()) * size

    width, height = (int(n) for n in np.ceil(extent * scale).astype(int) + 1)
    fine = np.zeros((height * _FINE, width * _FINE), np.uint8)
    points = [np.rint(((c - corner) * scale + 0.5) * (_FINE * 16)).astype(np.int32) for c in contours]
    cv2.fillPoly(fine, points, 255, shift=4)
    cover = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return cover, np.linalg.inv(matrix * scale), 0.5 - corner * scale


def label_map(placed: Sequence[Placed], size: int) -> NDArray[np.uint8]:
    """Labels, uint8 (size, size): 0, or the label of the topmost object that fills at least half of the pixel."""
    labels = np.zeros((size, size), np.uint8)
    for thing in placed:
        labels[thing.window][thing.cover >= 128] = thing.spec.label
    return labels


def paint(placed: Sequence[Placed], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture of an arrangement, RGB uint8 (size, size, 3).

    Colours, background, light and noise come from `rng`; where the objects are does not depend on it.
    """
    picture, main = background(size, rng)
    for thing in placed:
        first = contrasting_colour(main, 0.25, rng)
        second = contrasting_colour([first], 0.4, rng)
        height, width = thing.cover.shape
        across = np.arange(width, dtype=np.float32) + np.float32(0.5 - thing.centre[0])
        down = np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5 - thing.centre[1])
        inverse = thing.inverse.astype(np.float32)
        scale = float(1 / np.sqrt(abs(np.linalg.det(thing.inverse))))
        share = surface(
            thing.spec.surface,
            inverse[0, 0] * across + inverse[0, 1] * down,
            inverse[1, 0] * across + inverse[1, 1] * down,
            scale,
            rng,
        )
        colour = first + share[..., None] * (second - first)
        window = picture[thing.window]
        window += (thing.cover.astype(np.float32) / 255)[..., None] * (colour - window)

    # Light that falls off to one side, then the camera's noise.
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.2)
    steps = np.linspace(-1, 1, size, dtype=np.float32)
    light = 1 + np.float32(depth * np.cos(angle)) * steps[None, :] + np.float32(depth * np.sin(angle)) * steps[:, None]
    picture *= light[..., None] * np.float32(255)
    picture += rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(2, 7))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
