"""Small islands and strips along the border of a predicted mask, which are seldom an object: found and removed."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SMALLEST = 0.05
"""An island has less than this share of the area of the mask's largest part."""

THIN = 0.04
"""A strip reaches at most this share of the image's side in from the border."""

STRIP = 0.25
"""And it has less than this share of the area of the mask's largest part."""


def without_islands(probability: NDArray[Any], threshold: float) -> NDArray[np.float32]:
    """A probability (h, w) with 0 in the islands and strips of its mask, float32.

    The mask, `probability` > `threshold`, falls into connected parts (by sides and corners). A part is an island if its
    area is below `SMALLEST` of the largest part's. It is a strip if it touches the border of the image, lies within
    `THIN` of the side from there, and its area is below `STRIP` of the largest part's. The largest part always stays.
    """
    values = np.array(probability, np.float32)
    mask = (values > threshold).astype(np.uint8)
    count, labels, table, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count <= 2:  # the background, and one part at most
        return values
    height, width = mask.shape
    left, top, wide, high, area = table[1:].T
    share = area / area.max()
    beside = ((left == 0) | (left + wide == width)) & (wide <= THIN * width)
    above = ((top == 0) | (top + high == height)) & (high <= THIN * height)
    removed = (share < SMALLEST) | ((beside | above) & (share < STRIP))
    values[np.concatenate(([False], removed))[labels]] = 0
    return values
