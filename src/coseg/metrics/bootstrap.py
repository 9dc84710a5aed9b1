"""Confidence intervals of scores over pairs or single images, by bootstrap over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:  # reports are read without torch
    from coseg.metrics.mask_counts import MaskScore

CHUNK = 2_000_000
"""Weights held at once: resamples times units."""


Terms = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Numerators and denominators of a ratio of sums."""


class Difference(NamedTuple):
    """The mean difference of two runs and its interval."""

    value: float
    low: float
    high: float


def interval(
    units: ArrayLike, values: ArrayLike, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """The percentile interval of the mean of `values`, when the images are the random sample.

    Pairs are not independent: an image that is hard spoils all the pairs it is in, and to resample pairs would give
    an interval that is far too narrow. So each resample gives the n images that occur in `units` multinomial weights w
    (n images with replacement), and the pair (i, j) the weight w_i w_j (the "pigeonhole" bootstrap of Owen, Annals of
    Applied Statistics 1(2), 2007, for one set of units). It errs on the side of too wide an interval. A value of a
    single image i, tested in a group, has the weight w_i, which is the ordinary bootstrap.

    Args:
        units: int (N, 2), the two images of each pair, or (N, 1), the image of each value: any numbers that
            identify images.
        values: float (N,), or (N, M) for the M masks of each; a mask whose value is nan is left out.
        resamples: how many times the images are resampled.
        seed: of the resamples; the same arguments give the same interval.
        confidence: the share of the resamples that lies in the interval.

    Returns:
        The lower and the upper end; nan both where fewer than two of the N have a value.
    """
    table = np.asarray(values, np.float64)
    table = table.reshape(len(table), -1 if len(table) else 1)
    return ratio_interval(units, np.nansum(table, axis=1), (~np.isnan(table)).sum(1), resamples, seed, confidence)


def ratio_interval(
    units: ArrayLike,
    numerators: ArrayLike,
    denominators: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The interval, as `interval` computes it, of the ratio of two sums, or of the mean of several such ratios.

    Args:
        units: as for `interval`.
        numerators: float (N,), or (N, C) for the mean of C ratios, those of classes say.
        denominators: likewise, 0 or more. A ratio whose denominators are all 0 is left out; so are units without any.
        resamples: as for `interval`.
        seed: of the resamples.
        confidence: the share of the resamples that lies in the interval.

    Returns:
        The lower and the upper end; nan both where fewer than two units count.
    """
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    count = len(above)
    columns = -1 if count else 1
    images = np.asarray(units, np.int64).reshape(count, columns)
    above, below = above.reshape(count, columns), below.reshape(count, columns)
    used = below.sum(1) > 0
    if used.sum() < 2:
        return float("nan"), float("nan")
    names, index = np.unique(images[used], return_inverse=True)
    ratios = _resampled_ratios(index.reshape(images[used].shape), len(names), above[used], below[used], resamples, seed)
    low, high = np.nanquantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _resampled_ratios(
    units: NDArray[np.int64],
    images: int,
    numerators: NDArray[np.float64],
    denominators: NDArray[np.float64],
    resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """The mean ratio of each resample, (resamples,); nan for one without any unit, as happens with few images."""
    rng = np.random.default_rng(seed)
    sums = np.concatenate([numerators, denominators], 1)
    columns = numerators.shape[1]
    means = np.full(resamples, np.nan)
    step = max(1, CHUNK // len(units))
    for start in range(0, resamples, step):
        stop = min(resamples, start + step)
        weights = rng.multinomial(images, np.full(images, 1 / images), size=stop - start).astype(np.float64)
        drawn = weights[:, units].prod(-1) @ sums
        above, below = drawn[:, :columns], drawn[:, columns:]
        defined = below > 0
        total = np.divide(above, below, out=np.zeros_like(above), where=defined).sum(1)
        count = defined.sum(1)
        np.divide(total, count, out=means[start:stop], where=count > 0)
    return means


def difference(
    units: ArrayLike,
    values_a: ArrayLike,
    values_b: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Difference:
    """The mean of A - B over the masks that both runs scored, with the interval of `interval`.

    The two runs share their units, so a hard image is hard for both and cancels: the interval of the difference is
    narrower than those of the two scores would suggest.
    """
    gap = np.asarray(values_a, np.float64) - np.asarray(values_b, np.float64)
    value = float(np.nanmean(gap)) if (~np.isnan(gap)).any() else float("nan")
    return Difference(value, *interval(units, gap, resamples, seed, confidence))


def score_terms(masks: Sequence[MaskScore], common: NDArray[np.bool_]) -> dict[str, Terms]:
    """What each record of a test adds to the numerators and denominators of the scores of `PairScores`.

    Args:
        masks: the counts of the M masks of each of N records, tensors (N,).
        common: bool (N, K), the classes that are foreground in a record.

    Returns:
        For each score numerators and denominators, float64 (N, C): C is K for ``jaccard_class_mean``, which is the mean
        over the classes of their ratios, else 1.
    """
    iou = np.stack([np.nan_to_num(mask.iou.numpy()) for mask in masks], 1)
    truth = np.stack([(mask.truth > 0).numpy() for mask in masks], 1)
    distractor = np.stack([mask.distractor.numpy() for mask in masks], 1)
    counted = np.stack([mask.counted.numpy() for mask in masks], 1)
    correct = np.stack([mask.correct.numpy() for mask in masks], 1)
    intersection = np.stack([mask.intersection.numpy() for mask in masks], 1)
    union = np.stack([mask.union.numpy() for mask in masks], 1)

    def sums(above: ArrayLike, below: ArrayLike) -> Terms:
        return np.sum(above, 1, np.float64, keepdims=True), np.sum(below, 1, np.float64, keepdims=True)

    total, count = sums(iou, truth)
    return {
        "jaccard": (total, count),
        "jaccard_class_mean": (total * common, count * common),
        "jaccard_global": sums(intersection, union),
        "jaccard_distractor": sums(iou * distractor, truth & distractor),
        "pixel_accuracy": sums(correct / np.maximum(counted, 1), counted > 0),
    }


def score_intervals(
    images: NDArray[np.int64],
    masks: Sequence[MaskScore],
    common: NDArray[np.bool_],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each score, by bootstrap over images.

    Args:
        images: int64 (N, 2) or (N, 1), those of each record, see `coseg.reports.records.record_images`.
        masks: as for `score_terms`.
        common: likewise.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    terms = score_terms(masks, common)
    return {name: ratio_interval(images, *ratio, resamples, seed) for name, ratio in terms.items()}
