"""Scores of grey maps, as papers on co-salient object detection compute them: MAE, S-, E- and F-measure.

A map is 8 bit grey and is stretched to 0..1 before it is scored, as the field's programs do; a constant map is divided
by 255 alone. Every score is a function of how many pixels of each grey value lie in the foreground and the background
of each quadrant, so one histogram of 2048 integers a map replaces all passes over pixels.

- MAE: mean absolute error (Perazzi et al., CVPR 2012).
- S-measure (Fan et al., ICCV 2017), alpha = 0.5.
- E-measure (Fan et al., IJCAI 2018) and F-measure (Achanta et al., CVPR 2009; beta² = 0.3) at the 256 thresholds, and
  adaptive: at twice the mean of the map, at most 1.

>>> grey = np.array([[0, 64], [128, 255]], np.uint8)
>>> scores = map_scores(grey, np.array([[False, False], [True, True]]))
>>> round(scores.mae, 3), round(float(scores.f_curve.max()), 3)
(0.187, 1.0)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coseg.metrics import COSOD_SCORES

BETA_SQUARED = 0.3
"""Weight of precision in the F-measure."""

LEVELS = 256
"""Grey values, and thresholds of a curve."""

_EPS = float(np.spacing(1))
_NEAR = 1e-9

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


class MapScores(NamedTuple):
    """The scores of one map, or the means of those of several.

    Attributes:
        mae: 0 is best.
        s_measure: 1 is best, as in what follows.
        adaptive_e: E-measure at the adaptive threshold.
        adaptive_f: F-measure likewise.
        e_curve: E-measure at each threshold from 255 down to 0, float64 (256,).
        f_curve: F-measure likewise.
    """

    mae: float
    s_measure: float
    adaptive_e: float
    adaptive_f: float
    e_curve: Floats
    f_curve: Floats

    @property
    def row(self) -> Floats:
        """All of it as numbers, float64 (516,)."""
        return np.concatenate([self[:4], self.e_curve, self.f_curve])

    @classmethod
    def from_row(cls, row: Floats) -> MapScores:
        """What `row` gave."""
        mae, s_measure, adaptive_e, adaptive_f = row[:4].tolist()
        return cls(mae, s_measure, adaptive_e, adaptive_f, row[4 : 4 + LEVELS], row[4 + LEVELS :])


def map_scores(grey: NDArray[np.uint8], truth: NDArray[np.bool_]) -> MapScores:
    """Score one map.

    Args:
        grey: uint8 (H, W).
        truth: bool (H, W).

    Raises:
        ValueError: the types or the shapes are others, or there is no pixel.
    """
    if grey.dtype != np.uint8 or truth.dtype != np.bool_ or grey.ndim != 2 or grey.shape != truth.shape:
        raise ValueError(f"{grey.dtype} {grey.shape} and {truth.dtype} {truth.shape}: expected uint8 and bool (H, W)")
    if not grey.size:
        raise ValueError("a map needs a pixel")
    centre = _centre(truth)
    quadrants = _quadrant_counts(grey, truth, centre)
    counts = quadrants.sum(0)
    levels = _levels(counts.sum(0))
    size, in_truth = grey.size, int(counts[1].sum())
    means = counts @ levels  # sums of the stretched values in background and foreground
    mae = float(means[0] + (in_truth - means[1])) / size
    if in_truth in (0, size):
        mean = float(means.sum()) / size
        s_measure = mean if in_truth else 1 - mean
    else:
        region = _region_score(grey, truth, centre, quadrants, levels)
        s_measure = max(0.0, 0.5 * _object_score(counts, levels) + 0.5 * region)
    hits, predicted = _at_thresholds(counts, levels, _adaptive_threshold(grey, counts, levels))
    e_values = _e_measure(hits, predicted, in_truth, size)
    f_values = _f_measure(hits, predicted, in_truth)
    return MapScores(mae, s_measure, float(e_values[-1]), float(f_values[-1]), e_values[:-1], f_values[:-1])


def mean_scores(maps: Iterable[MapScores]) -> dict[str, float]:
    """The scores `COSOD_SCORES` of several maps.

    The mean over the maps of each, and for the E- and F-measure also of the curves, whose largest and mean value are
    ``max_…`` and ``mean_…``.
    """
    mean = MapScores.from_row(np.mean([scores.row for scores in maps], axis=0))
    values = (
        *(mean.mae, mean.s_measure),
        *(mean.e_curve.max(), mean.e_curve.mean(), mean.adaptive_e),
        *(mean.f_curve.max(), mean.f_curve.mean(), mean.adaptive_f),
    )
    return {name: float(value) for name, value in zip(COSOD_SCORES, values, strict=True)}


class CosodMeans(NamedTuple):
    """Scores of a test; papers differ in the mean that they print.

    Attributes:
        mean_of_images: every image counts the same: `mean_scores` of all maps, whose curve is the mean over all.
        mean_of_groups: every group counts the same: the mean of `per_group`.
        per_group: `mean_scores` of the maps of each group.
    """

    mean_of_images: dict[str, float]
    mean_of_groups: dict[str, float]
    per_group: dict[str, dict[str, float]]


def cosod_means(groups: Mapping[str, list[MapScores]]) -> CosodMeans:
    """The scores of groups of maps, none of them empty."""
    per_group = {name: mean_scores(maps) for name, maps in groups.items()}
    of_groups = {name: float(np.mean([scores[name] for scores in per_group.values()])) for name in COSOD_SCORES}
    return CosodMeans(mean_scores(scores for maps in groups.values() for scores in maps), of_groups, per_group)


def _centre(truth: NDArray[np.bool_]) -> tuple[int, int]:
    """Rows above and columns left of the point at which the S-measure divides the image: the foreground's centre."""
    rows, columns = (np.count_nonzero(truth, axis=axis) for axis in (1, 0))
    total = int(rows.sum())
    if not total:
        return truth.shape[0], truth.shape[1]  # not divided: an empty truth has no region score
    y, x = (float(np.round(np.arange(len(line)) @ line / total)) for line in (rows, columns))
    return int(y) + 1, int(x) + 1


def _quadrant_counts(grey: NDArray[np.uint8], truth: NDArray[np.bool_], centre: tuple[int, int]) -> Counts:
    """Pixels by quadrant, truth and grey value: int64 (4, 2, 256)."""
    index = truth.astype(np.uint16) << 8
    index += grey
    y, x = centre
    index[:, x:] += 512
    index[y:] += 1024
    return np.bincount(index.ravel(), minlength=2048).reshape(4, 2, LEVELS)


def _levels(counts: Counts) -> Floats:
    """What each grey value is scored as, float64 (256,): the values that occur, stretched to 0..1."""
    levels = np.arange(LEVELS) / 255
    present = np.flatnonzero(counts)
    low, high = levels[present[0]], levels[present[-1]]
    return np.clip((levels - low) / (high - low), 0, 1) if high > low else levels


def _object_score(counts: Counts, levels: Floats) -> float:
    """How alike the values within the foreground are to 1, and those within the background to 0."""
    scores = []
    for of_part, values in ((counts[1], levels), (counts[0], 1 - levels)):
        number = int(of_part.sum())
        mean = float(of_part @ values) / number
        deviation = float(np.sqrt(of_part @ (values - mean) ** 2 / (number - 1))) if number > 1 else 0.0
        scores.append(number * 2 * mean / (mean**2 + 1 + deviation + _EPS))
    return sum(scores) / int(counts.sum())


def _region_score(
    grey: NDArray[np.uint8], truth: NDArray[np.bool_], centre: tuple[int, int], quadrants: Counts, levels: Floats
) -> float:
    """The mean structural similarity of the quadrants, by their areas; an empty one counts nothing."""
    total = 0.0
    y, x = centre
    for k, counts in enumerate(quadrants):
        number = int(counts.sum())
        if not number:
            continue
        flat = np.count_nonzero(counts.sum(0)) == 1 and 0 in counts.sum(1)
        value = levels[grey[-1 if k > 1 else 0, -1 if k % 2 else 0]]  # of a corner
        if flat and value not in (0, 1):
            rows, columns = slice(y, None) if k > 1 else slice(y), slice(x, None) if k % 2 else slice(x)
            total += number * _flat_similarity(levels[grey][rows, columns], bool(counts[1].any()))
        else:
            total += number * _similarity(counts, levels)
    return total / int(quadrants.sum())


def _similarity(counts: Counts, levels: Floats) -> float:
    """The structural similarity of a region, from its counts (2, 256)."""
    number = int(counts.sum())
    x, y = float(counts.sum(0) @ levels) / number, float(counts[1].sum()) / number
    weight = 1 / (number - 1 + _EPS)
    variance_x = float(counts.sum(0) @ (levels - x) ** 2) * weight
    in_background, in_truth = (int(count) for count in counts.sum(1))
    variance_y = (in_background * y**2 + in_truth * (1 - y) ** 2) * weight
    away = counts @ (levels - x)
    covariance = float(away[1] * (1 - y) - away[0] * y) * weight
    above, below = 4 * x * y * covariance, (x**2 + y**2) * (variance_x + variance_y)
    if above != 0:
        return above / (below + _EPS)
    return 1.0 if below == 0 else 0.0


def _flat_similarity(values: Floats, truth: bool) -> float:
    """That of a region of one value, neither 0 nor 1, and of one truth.

    It is 1 by the definition, but the programs of the field compare with zero: where their mean is rounded, it is 0.
    Their sums are repeated here, in their order, so that the scores are theirs.
    """
    mean = np.mean(values)
    variance = np.sum((values - mean) ** 2) / (values.size - 1 + _EPS)
    return 1.0 if (mean**2 + truth) * variance == 0 else 0.0


def _adaptive_threshold(grey: NDArray[np.uint8], counts: Counts, levels: Floats) -> float:
    """Twice the mean, at most 1; summed pixel by pixel where a value is so near that the rounding decides."""
    double = 2 * float(counts.sum(0) @ levels) / grey.size
    if (np.abs(levels - double) < _NEAR).any():
        double = 2 * float(levels[grey].mean())
    return min(double, 1.0)


def _at_thresholds(counts: Counts, levels: Floats, adaptive: float) -> tuple[Floats, Floats]:
    """Pixels at or above each threshold from 255 down to 0 and the adaptive one: of the foreground, and all; (257,)."""
    steps = (levels * 255).astype(np.uint8)
    above = levels >= adaptive
    hits, misses = (
        np.append(np.cumsum(np.bincount(steps, weights=of_part, minlength=LEVELS)[::-1]), of_part[above].sum())
        for of_part in (counts[1], counts[0])
    )
    return hits, hits + misses


def _f_measure(hits: Floats, predicted: Floats, in_truth: int) -> Floats:
    precision, recall = hits / np.maximum(predicted, 1), hits / max(in_truth, 1)
    above = (1 + BETA_SQUARED) * precision * recall
    return above / np.where(above == 0, 1, BETA_SQUARED * precision + recall)


def _e_measure(hits: Floats, predicted: Floats, in_truth: int, size: int) -> Floats:
    if in_truth == 0:
        total = size - predicted
    elif in_truth == size:
        total = predicted
    else:
        p, t = predicted / size, in_truth / size
        parts = (  # pixels, and by how much prediction and truth are above their means there
            (hits, 1 - p, 1 - t),
            (predicted - hits, 1 - p, -t),
            (in_truth - hits, -p, 1 - t),
            (size - predicted - in_truth + hits, -p, -t),
        )
        total = np.zeros_like(hits)
        for pixels, a, b in parts:
            total += pixels * (2 * a * b / (a * a + b * b + _EPS) + 1) ** 2 / 4
    return total / (size - 1 + _EPS)
