"""What a co-segmentation says of each image, and of all of them together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coseg.errors import CosegError

NUMBERS = (int, float, np.integer, np.floating)
_STRIP = 16  # rows of a large mask that are made at once: few enough for the processor's cache


@dataclass(frozen=True)
class Segment:
    """The common object in one image.

    Attributes:
        name: of the image: its file name, or what it was called instead.
        size: (H, W) of the original, in pixels.
        probability: float16 (h, w), 0..1, at working size: how likely each pixel is one of the common object.
        threshold: of `mask`, where it is given no other.
        note: what is wrong with the photograph, to follow "<name> is": almost black, say; None: nothing.

    >>> segment = Segment("a.jpg", (4, 4), np.array([[0.9, 0.1], [0.1, 0.1]], np.float16), 0.5)
    >>> segment.mask().astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 0, 0],
           [0, 0, 0, 0],
           [0, 0, 0, 0]])
    >>> segment.foreground, round(segment.confidence, 3)
    (0.25, 0.9)
    """

    name: str
    size: tuple[int, int]
    probability: NDArray[np.float16]
    threshold: float = 0.5
    note: str | None = None

    def mask(self, threshold: float | None = None) -> NDArray[np.bool_]:
        """The pixels above `threshold` at the original size, bool (H, W); made anew each time.

        The probability is enlarged (bilinear), then cut. It is done in strips, so that the mask of a large photograph
        takes little more memory than itself.

        Raises:
            CosegError: `threshold` is not in 0..1.
        """
        limit = checked_threshold(self.threshold if threshold is None else threshold)
        height, width = self.size
        wide = _enlarged(self.probability.astype(np.float32).T, 0, width, width).T
        mask = np.empty((height, width), bool)
        for start in range(0, height, _STRIP):
            stop = min(start + _STRIP, height)
            mask[start:stop] = _enlarged(wide, start, stop, height) > limit
        return mask

    @property
    def foreground(self) -> float:
        """The share of the pixels above `threshold`, 0..1, measured at working size."""
        return float((self.probability.astype(np.float32) > self.threshold).mean())

    @property
    def confidence(self) -> float:
        """How sure the network is of its pixels: the mean of max(p, 1 - p) over the image, 0.5..1.

        It is no measure of whether the mask is right: an empty mask of which the network is sure has 1.
        """
        values = self.probability.astype(np.float32)
        return float(np.maximum(values, 1 - values).mean())


@dataclass(frozen=True)
class Cosegmentation:
    """What two or more images have in common. It can be iterated over, and indexed, as its segments.

    Attributes:
        segments: of each image, in their order.
        common: how likely the images have an object in common at all, 0..1, as the model was calibrated (see
            `coseg.inference.commonness`): on pairs for two images, on groups for more. Nan for a model without a
            calibration. Of a model that was calibrated on pairs alone it is, for more than two images, the mean over
            pairs of them, which is not calibrated.
        repeated: places (i, j), i < j, of images that show the same picture: what they have in common is everything,
            so neither their masks nor `common` mean much.
    """

    segments: tuple[Segment, ...]
    common: float = math.nan
    repeated: tuple[tuple[int, int], ...] = ()

    @property
    def shares(self) -> bool | None:
        """Whether the images have an object in common: `common` >= 0.5; None where the model is not calibrated."""
        return None if math.isnan(self.common) else self.common >= 0.5

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __getitem__(self, k: int) -> Segment:
        return self.segments[k]


def checked_threshold(threshold: float, what: str = "The threshold") -> float:
    """`threshold`, a probability, which the user set as `what`.

    Raises:
        CosegError: it is not in 0..1.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, NUMBERS) or not 0 <= threshold <= 1:
        raise CosegError(f"{what} is {threshold!r}, but must be a probability, from 0 to 1: 0.5, say.")
    return float(threshold)


def _enlarged(values: NDArray[np.float32], start: int, stop: int, rows: int) -> NDArray[np.float32]:
    """The rows from `start` to `stop` of `values` (h, w) resized to (rows, w), linear; pixels are areas."""
    here = (np.arange(start, stop, dtype=np.float32) + 0.5) * (len(values) / rows) - 0.5
    here = here.clip(0, len(values) - 1)
    above = here.astype(np.intp)
    below = np.minimum(above + 1, len(values) - 1)
    weight = (here - above)[:, None]
    enlarged: NDArray[np.float32] = values[above] * (1 - weight) + values[below] * weight
    return enlarged
