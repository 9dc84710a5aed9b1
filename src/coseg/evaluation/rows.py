"""The rows of a test, one for each pair or for each image of a group, and what can be read off them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, SupportsFloat

import numpy as np
from numpy.typing import NDArray

DIGITS = 6
"""Decimals of all numbers in the files."""

SIZES = (0.05, 0.2)
"""Shares of an image from which an object is of medium size, and large."""


class PairRow(NamedTuple):
    """One tested pair.

    Attributes:
        i: index of the first image in the catalog.
        j: that of the second.
        id_a: id of the first image.
        id_b: that of the second.
        classes: the names of the common classes, joined by spaces in the file; empty for a negative pair.
        jaccard_a: IoU of the first image's mask, nan where its truth is empty.
        jaccard_b: that of the second.
        distractor_a: whether the first image also holds an object that is not common.
        distractor_b: likewise the second.
        share_a: foreground pixels of the first image's truth over all that are scored, 0 to 1; nan where not known.
        share_b: likewise the second.
    """

    i: int
    j: int
    id_a: str
    id_b: str
    classes: tuple[str, ...]
    jaccard_a: float
    jaccard_b: float
    distractor_a: bool
    distractor_b: bool
    share_a: float = math.nan
    share_b: float = math.nan

    @property
    def images(self) -> tuple[int, ...]:
        """The images of the row's masks."""
        return self.i, self.j

    @property
    def key(self) -> tuple[str, ...]:
        """What names the row in any test of the same images."""
        return self.id_a, self.id_b

    @property
    def jaccards(self) -> tuple[float, ...]:
        """The IoU of each mask."""
        return self.jaccard_a, self.jaccard_b

    @property
    def distractors(self) -> tuple[bool, ...]:
        """Whether each mask's image holds an object that is not common."""
        return self.distractor_a, self.distractor_b

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of the foreground in each mask."""
        return self.share_a, self.share_b

    @property
    def mean(self) -> float:
        """The mean IoU of the masks that have one; nan where neither has."""
        known = [value for value in self.jaccards if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan


class GroupRow(NamedTuple):
    """One image of a tested group, with what `PairRow` has of each of its two.

    Attributes:
        i: index of the image in the catalog.
        id: its id.
        group: the class that the images of the group share.
        jaccard: IoU of its mask, nan where the truth is empty.
        distractor: whether the image also holds an object of another class.
        share: foreground pixels of the truth over all that are scored, 0 to 1.
    """

    i: int
    id: str
    group: str
    jaccard: float
    distractor: bool
    share: float

    @property
    def images(self) -> tuple[int, ...]:
        """See `PairRow.images`; likewise the others."""
        return (self.i,)

    @property
    def key(self) -> tuple[str, ...]:
        return self.group, self.id

    @property
    def classes(self) -> tuple[str, ...]:
        return (self.group,)

    @property
    def jaccards(self) -> tuple[float, ...]:
        return (self.jaccard,)

    @property
    def distractors(self) -> tuple[bool, ...]:
        return (self.distractor,)

    @property
    def shares(self) -> tuple[float, ...]:
        return (self.share,)

    @property
    def mean(self) -> float:
        return self.jaccard


Row = PairRow | GroupRow


def row_images(rows: Sequence[Row]) -> NDArray[np.int64]:
    """The images of each row, int64: (N, 2) of pairs, (N, 1) of images in groups."""
    return np.array([row.images for row in rows], np.int64).reshape(len(rows), -1 if rows else 1)


def row_values(rows: Sequence[Row], score: str) -> NDArray[np.float64]:
    """The values of the masks of each row whose mean is `score`, nan where a mask does not count.

    Args:
        rows: N rows of one kind.
        score: ``jaccard`` or ``jaccard_distractor``.

    Returns:
        float64, (N, 2) of pairs, (N, 1) of images in groups.
    """
    if score not in ("jaccard", "jaccard_distractor"):
        raise ValueError(f"rows hold no {score}")
    values = _column(rows, "jaccards")
    if score == "jaccard_distractor":
        values[_column(rows, "distractors") == 0] = np.nan
    return values


def _column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    return np.array([getattr(row, name) for row in rows], np.float64).reshape(len(rows), -1 if rows else 1)


def breakdowns(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """``jaccard`` of parts of the masks, and how many there are: by the object's size, and with or without distractor.

    A small object covers less than 5 % of the image, a large one 20 % or more.
    """
    scores, shares, distractor = (_column(rows, name).ravel() for name in ("jaccards", "shares", "distractors"))
    small, large = SIZES
    sizes = {"small": shares < small, "medium": (shares >= small) & (shares < large), "large": shares >= large}
    parts = {"by_size": sizes, "by_distractor": {"without": distractor == 0, "with": distractor == 1}}
    has_truth = ~np.isnan(scores)
    return {
        name: {
            part: {"jaccard": rounded(scores[mask & has_truth].mean()) if (mask & has_truth).any() else None}
            | {"masks": int((mask & has_truth).sum())}
            for part, mask in masks.items()
        }
        for name, masks in parts.items()
    }


def rounded(value: SupportsFloat) -> float | None:
    """A number as the files have it; None for what is not finite."""
    number = float(value)
    return round(number, DIGITS) if math.isfinite(number) else None
