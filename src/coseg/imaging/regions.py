"""Regions of a picture as COCO's annotations hold them, run lengths or polygons, and the masks that they are.

Run lengths count pixels column by column, from the top left down, alternately outside and inside of the region; the
first count is outside and may be 0. As text (`compressed_counts`), each count from the fourth on is the difference to
the one two before, in groups of five bits, the lowest first; each group is a character.

A polygon is rasterised as COCO's own program does it (``rleFrPoly`` of pycocotools), to the pixel: its outline is
rounded to a fifth of a pixel and followed in such steps; of a column, those pixels are inside which lie between the
outline's crossings of the column's centre. Several polygons are their union.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_OUTLINE = 2**21
"""Steps of a fifth of a pixel around a polygon: 400,000 pixels, four times around the largest picture."""

_FINE = 5  # steps in a pixel
_FIRST = 48  # the character of a group of five bits that are 0
_MAX_GROUPS = 7  # of a count


@dataclass(frozen=True)
class Runs:
    """A region as run lengths.

    Attributes:
        size: height and width of the picture.
        counts: int64; they sum to its pixels.
    """

    size: tuple[int, int]
    counts: NDArray[np.int64]

    @property
    def area(self) -> float:
        """Pixels of the region."""
        return float(self.counts[1::2].sum())

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """The region in a picture, bool (H, W).

        Raises:
            ValueError: the picture is of another size.
        """
        if self.size != (height, width):
            raise ValueError(f"its run lengths are of {self.size[1]}x{self.size[0]} pixels, not {width}x{height}")
        inside = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(inside, self.counts).reshape(width, height).T


@dataclass(frozen=True)
class Polygons:
    """A region as the union of polygons.

    Attributes:
        outlines: of each, float64 (n, 2): x and y of its corners, in pixels from the picture's top left corner.
    """

    outlines: tuple[NDArray[np.float64], ...]

    @property
    def area(self) -> float:
        """Of the polygons, in square pixels; where they overlap, it counts twice."""
        return float(sum(_area(outline) for outline in self.outlines))

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """The region in a picture, bool (H, W); what lies outside of it is cut off.

        Raises:
            ValueError: a corner lies more than the picture's side away from it, or an outline is too long.
        """
        mask = np.zeros((height, width), np.bool_)
        for outline in self.outlines:
            require_near(outline, height, width)
            _fill(mask, outline)
        return mask


def region_of(segmentation: object) -> Runs | Polygons:
    """The region that the plain value of an annotation's ``segmentation`` is.

    Raises:
        ValueError: it is none; the message is the end of a sentence.
    """
    if isinstance(segmentation, list):
        if not segmentation:
            raise ValueError("its segmentation is empty")
        return Polygons(tuple(_outline(numbers) for numbers in segmentation))
    if not isinstance(segmentation, dict):
        raise ValueError("it has no segmentation" if segmentation is None else "its segmentation is of no known type")
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and 0 < side < 2**16 for side in size)):
        raise ValueError("the size of its run lengths is no height and width")
    height, width = size
    return Runs((height, width), _checked_counts(counts, height * width))


def mask_runs(mask: NDArray[np.bool_]) -> Runs:
    """The run lengths of a mask, bool (H, W)."""
    height, width = mask.shape
    pixels = mask.T.ravel()
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    ends = [0, 0] if pixels.size and pixels[0] else [0]
    edges: NDArray[np.int64] = np.concatenate([ends, changes, [pixels.size]]).astype(np.int64)
    return Runs((height, width), edges[1:] - edges[:-1])


def compressed_counts(counts: Sequence[int] | NDArray[np.int64]) -> str:
    """Run lengths as text.

    >>> compressed_counts([2, 3, 7])
    '237'
    """
    numbers = [int(count) for count in counts]
    text = bytearray()
    for k, count in enumerate(numbers):
        left = count - numbers[k - 2] if k > 2 else count
        further = True
        while further:
            group, left = left & 31, left >> 5
            further = left != (-1 if group & 16 else 0)
            text.append(_FIRST + group + 32 * further)
    return text.decode("ascii")


def expanded_counts(text: str) -> NDArray[np.int64]:
    """The inverse of `compressed_counts`.

    Raises:
        ValueError: the text is no such counts.
    """
    groups = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64) - _FIRST
    if not len(groups):
        return np.zeros(0, np.int64)
    last = groups & 32 == 0
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    lengths = np.diff(np.concatenate([starts, [len(groups)]]))
    if groups.min() < 0 or groups.max() > 63 or not last[-1] or lengths.max() > _MAX_GROUPS:
        raise ValueError("its run lengths are no compressed counts")
    bits = 5 * (np.arange(len(groups)) - np.repeat(starts, lengths))
    values = np.add.reduceat((groups & 31) << bits, starts)
    values -= np.where(groups[starts + lengths - 1] & 16, 1, 0) << (5 * lengths)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def require_near(points: NDArray[np.float64], height: int, width: int) -> None:
    """Refuse points (n, 2) that lie more than the picture's longer side away from it.

    Raises:
        ValueError: one does, or is not finite.
    """
    side = max(height, width)
    with np.errstate(invalid="ignore"):
        if not ((points >= -side) & (points <= 2 * side)).all():
            raise ValueError(f"a point of it lies far outside of its picture of {width}x{height} pixels")


def _checked_counts(counts: Any, pixels: int) -> NDArray[np.int64]:
    if isinstance(counts, str):
        numbers = expanded_counts(counts)
    elif isinstance(counts, list) and all(type(count) is int and 0 <= count <= pixels for count in counts):
        numbers = np.array(counts, np.int64)
    else:
        raise ValueError("its run lengths are no whole numbers within its size")
    if (numbers < 0).any() or (numbers > pixels).any() or numbers.sum() != pixels:
        raise ValueError(f"its run lengths do not sum to the {pixels} pixels of its size")
    return numbers


def _outline(numbers: object) -> NDArray[np.float64]:
    if not isinstance(numbers, list) or len(numbers) < 6 or len(numbers) % 2:
        raise ValueError("a polygon of it is no list of x and y of at least 3 points")
    if not all(type(number) in (int, float) for number in numbers):
        raise ValueError("a polygon of it holds what is no number")
    try:
        points = np.array(numbers, np.float64).reshape(-1, 2)
    except OverflowError:
        points = np.full((1, 2), np.inf)
    if not np.isfinite(points).all():
        raise ValueError("a polygon of it has a coordinate that is not finite")
    return points


def _area(outline: NDArray[np.float64]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        x, y = (outline - outline[0]).T
        return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _fill(mask: NDArray[np.bool_], outline: NDArray[np.float64]) -> None:
    """Set the pixels of a polygon in `mask`. The arithmetic is that of pycocotools, operation by operation."""
    height, width = mask.shape
    start = (_FINE * outline + 0.5).astype(np.int64)  # towards 0, also below it
    end = np.roll(start, -1, 0)
    extent = np.abs(end - start)
    steps = extent.max(1) + 1
    total = int(steps.sum())
    if total > MAX_OUTLINE:
        raise ValueError(f"the outline of a polygon of it is longer than {MAX_OUTLINE // _FINE:,} pixels")
    edge = np.repeat(np.arange(len(steps)), steps)
    along = np.arange(total) - np.repeat(np.cumsum(steps) - steps, steps)
    wide = extent[:, 0] >= extent[:, 1]  # x is the axis of single steps
    main = np.where(wide, 0, 1)
    edges = np.arange(len(steps))
    backwards = start[edges, main] > end[edges, main]
    low, high = np.where(backwards[:, None], end, start), np.where(backwards[:, None], start, end)
    rise = (high - low)[edges, 1 - main] / np.maximum(extent[edges, main], 1)
    along = np.where(backwards[edge], steps[edge] - 1 - along, along)
    on_axis = low[edges, main][edge] + along
    across = (low[edges, 1 - main][edge] + rise[edge] * along + 0.5).astype(np.int64)
    x, y = np.where(wide[edge], on_axis, across), np.where(wide[edge], across, on_axis)

    crossing = x[1:] != x[:-1]
    column = np.minimum(x[1:], x[:-1])[crossing]
    row = np.minimum(y[1:], y[:-1])[crossing]
    centre = (column % _FINE == _FINE // 2) & (column >= 0) & (column // _FINE < width)
    columns = column[centre] // _FINE
    if not len(columns):
        return
    rows = np.ceil(np.clip((row[centre] + 0.5) / _FINE - 0.5, 0, height)).astype(np.int64)
    first, last = int(columns.min()), int(columns.max())
    crossings = np.zeros((last - first + 1) * (height + 1), np.uint8)
    np.bitwise_xor.at(crossings, (columns - first) * (height + 1) + rows, 1)
    inside = np.bitwise_xor.accumulate(crossings.reshape(-1, height + 1), axis=1)[:, :height]
    mask[:, first : last + 1] |= inside.T.astype(np.bool_)
