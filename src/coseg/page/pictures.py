"""Pictures that only the page shows: the clicked point, and how another photograph responds to it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_HEAT = 0.65
"""Share of the heat map over the photograph, which stays visible in grey below."""

Pixels = NDArray[np.uint8]


class Heat(NamedTuple):
    """A response over its photograph, `pixels` RGB uint8 (h, w, 3), and the similarities of its coldest and hottest."""

    pixels: Pixels
    low: float
    high: float


def heat_map(photograph: Pixels, response: NDArray[np.float32]) -> Heat:
    """A response (rows, columns), cosine similarities, over its photograph: blue is its minimum, red its maximum."""
    height, width = photograph.shape[:2]
    low, high = float(response.min()), float(response.max())
    scaled = ((response - low) / max(high - low, 1e-6)).astype(np.float32)
    wide = cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap(np.rint(255 * wide).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    grey = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)[..., None]
    mixed = _HEAT * colours.astype(np.float32) + (1 - _HEAT) * grey
    return Heat(np.rint(mixed).astype(np.uint8), low, high)


def with_point(photograph: Pixels, y: float, x: float) -> Pixels:
    """The photograph with a ring around the point (y, x), 0..1 from the top left corner."""
    height, width = photograph.shape[:2]
    centre = (round(x * (width - 1)), round(y * (height - 1)))
    radius = max(4, round(max(height, width) / 60))
    marked = photograph.copy()
    for colour, thickness in (((255, 255, 255), 5), ((220, 20, 60), 2)):
        cv2.circle(marked, centre, radius, colour, thickness, cv2.LINE_AA)
    return marked
