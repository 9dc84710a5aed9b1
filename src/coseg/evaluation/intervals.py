"""Confidence intervals of the five scores of a test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coseg.evaluation.bootstrap import ratio_interval
from coseg.evaluation.scores import MaskScore

Terms = tuple[NDArray[np.float64], NDArray[np.float64]]


def score_terms(masks: Sequence[MaskScore], common: NDArray[np.bool_]) -> dict[str, Terms]:
    """What each row of a test adds to the numerators and denominators of the scores of `PairScores`.

    Args:
        masks: the counts of the M masks of each of N rows, tensors (N,).
        common: bool (N, K), the classes that are foreground in a row.

    Returns:
        For each score numerators and denominators, float64 (N, C): C is K for ``jaccard_class_mean``, which is the mean
        over the classes of their ratios, else 1.
    """
    iou = np.stack([np.nan_to_num(mask.iou.numpy()) for mask in masks], 1)
    truth = np.stack([(mask.truth > 0).numpy() for mask in masks], 1)
    distractor = np.stack([mask.distractor.numpy() for mask in masks], 1)
    counted = np.stack([mask.counted.numpy() for mask in masks], 1)
    correct = np.stack([mask.correct.numpy() for mask in masks], 1)
    intersection, union = (
        np.stack([each.numpy() for each in pixels], 1)
        for pixels in zip(*((mask.intersection, mask.union) for mask in masks), strict=True)
    )

    def sums(above: ArrayLike, below: ArrayLike) -> Terms:
        return np.sum(above, 1, np.float64, keepdims=True), np.sum(below, 1, np.float64, keepdims=True)

    each, count = sums(iou, truth)
    return {
        "jaccard": (each, count),
        "jaccard_class_mean": (each * common, count * common),
        "jaccard_global": sums(intersection, union),
        "jaccard_distractor": sums(iou * distractor, truth & distractor),
        "pixel_accuracy": sums(correct / np.maximum(counted, 1), counted > 0),
    }


def score_intervals(
    images: NDArray[np.int64],
    masks: Sequence[MaskScore],
    common: NDArray[np.bool_],
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each score, by bootstrap over images.

    Args:
        images: int64 (N, 2) or (N, 1), those of each row, see `coseg.evaluation.rows.row_images`.
        masks: as for `score_terms`.
        common: likewise.
        draws: of the bootstrap.
        seed: of the bootstrap.
    """
    terms = score_terms(masks, common)
    return {name: ratio_interval(images, *both, draws, seed) for name, both in terms.items()}
