"""Calibrate the co-occurrence probability on images of a data set with known classes, and measure its accuracy.

A logistic regression is fitted on the statistics of positive and negative pairs, as many of each, and measured on pairs
of other images; then a second regression in the same way on groups (see `coseg.inference.cooccurrence.known_samples`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.data.pair_index import mix
from coseg.hub.calibration import GROUP_STATISTICS, Calibration, SizeMeasures, group_statistics
from coseg.inference.cooccurrence.known_samples import (
    Group,
    Pairs,
    positive_groups,
    positive_pairs,
    sample_groups,
    sample_pairs,
)
from coseg.inference.cooccurrence.statistics import statistics_names
from coseg.inference.encoded_images import EncodedImages
from coseg.inference.segmenter import CoSegmenter
from coseg.metrics.bootstrap import interval
from coseg.metrics.decision import DecisionScores
from coseg.models.base import all_finite, not_finite

RIDGE = 0.05
"""Of the regression, for each pair: there are many channels of features, and few of them are informative."""

Progress = Callable[[int, int], None]
"""Called with the finished steps and their total."""


def calibrate(
    model: CoSegmenter,
    fitted: Catalog,
    held_out: Catalog | None,
    pairs: int = 1000,
    seed: int = 0,
    order: str = "uniform",
    groups: int = 60,
    progress: Progress | None = None,
) -> Calibration:
    """Fit a `Calibration` on pairs and groups of `fitted` and measure it on those of `held_out`.

    Each image is encoded once for the pairs and once for the groups; each pair and group is co-segmented once, as
    `model` does it for a user.

    A network performs better on the images that it was trained on. Fitted on those, the regression is somewhat
    overconfident; but it needs many images. If there are enough images that were not used in training, give one
    catalog and leave `held_out` out: a random half of it is used for the fit, the other half for the measures.

    Args:
        model: whose network, size and device are used.
        fitted: for the fit.
        held_out: for the measures; should share no image with `fitted`. None: see above.
        pairs: positive and negative ones each, for the fit and for the measures; fewer if there are not so many.
        seed: of the random choice of pairs, groups and halves.
        order: of the positive pairs, one of `coseg.data.pair_orders.PAIR_ORDERS`.
        groups: of each size, likewise; with 0, or if a data set has no positive or no negative group, groups are not
            calibrated.
        progress: called in each part with the finished steps and their total: images and pairs, or images and groups.

    Raises:
        CosegError: there is no positive or no negative pair, `pairs` is not positive, or `groups` is negative.
    """
    fit_presence = fitted.presence
    if held_out is None:
        first = np.random.default_rng(mix(seed, 4)).permutation(len(fitted)) < len(fitted) / 2
        held_out, presence = fitted, np.where(first[:, None], False, fitted.presence)
        fit_presence = np.where(first[:, None], fitted.presence, False)
        data = f"half of the images of {fitted.name} {fitted.split}"
    else:
        presence, data = held_out.presence, f"{held_out.name} {held_out.split}"
    to_fit, to_measure = (
        sample_pairs(fit_presence, pairs, seed, order),
        sample_pairs(presence, pairs, mix(seed, 1), order),
    )
    statistics = collect_pairs(model, fitted, to_fit, progress)
    names = statistics_names(model.network, statistics.shape[1])
    calibration = Calibration.fit(names, statistics, positive_pairs(to_fit), RIDGE * len(to_fit))
    statistics = collect_pairs(model, held_out, to_measure, progress)
    calibration = measure_pairs(calibration, statistics, to_measure, f"{data}, {order} pairs, seed {seed}")
    if not groups:
        return calibration
    fit_groups, measured = (
        sample_groups(fit_presence, groups, mix(seed, 5)),
        sample_groups(presence, groups, mix(seed, 6)),
    )
    if not (fit_groups and measured):
        return calibration
    statistics = collect_groups(model, calibration, fitted, fit_groups, progress)
    group = Calibration.fit(GROUP_STATISTICS, statistics, positive_groups(fit_groups))
    statistics = collect_groups(model, calibration, held_out, measured, progress)
    return replace(calibration, group=measure_groups(group, statistics, measured, f"{data}, seed {seed}"))


def collect_pairs(model: CoSegmenter, catalog: Catalog, pairs: Pairs, progress: Progress | None = None) -> Tensor:
    """The statistics of pairs of a catalog, float32 (N, n); each image is read and encoded once."""
    return torch.stack([statistics[0] for statistics in _iterate_statistics(model, catalog, pairs, progress)])


def collect_groups(
    model: CoSegmenter,
    calibration: Calibration,
    catalog: Catalog,
    groups: Sequence[Group],
    progress: Progress | None = None,
) -> Tensor:
    """The statistics of groups of a catalog, float64 (N, 2), from the logits of their pairs by `calibration`."""
    images = [group.images for group in groups]
    of_groups = zip(images, _iterate_statistics(model, catalog, images, progress), strict=True)
    return torch.stack(
        [group_statistics(calibration.logits(statistics), len(group)) for group, statistics in of_groups]
    )


def measure_pairs(calibration: Calibration, statistics: Tensor, pairs: Pairs, data: str) -> Calibration:
    """`calibration` with its measures on pairs of `sample_pairs`, whose statistics are (N, n)."""
    positive, logits = positive_pairs(pairs), calibration.logits(statistics)
    accuracy, auc = _accuracy_and_auc(positive, logits)
    right = ((logits > 0) == positive).numpy()
    between = interval(pairs, right)
    return replace(calibration, auc=auc, accuracy=accuracy, interval=between, pairs=len(pairs), data=data)


def measure_groups(calibration: Calibration, statistics: Tensor, groups: Sequence[Group], data: str) -> Calibration:
    """`calibration`, of groups, with its measures on `groups`, whose statistics are (N, 2): of all and of each size."""
    logits = calibration.logits(statistics)
    sizes = sorted({len(group.images) for group in groups})
    measures = []
    for size in sizes:
        chosen = torch.tensor([len(group.images) == size for group in groups])
        measures.append(_measure_size(size, [group for group in groups if len(group.images) == size], logits[chosen]))
    all_sizes = _measure_size(0, groups, logits)
    return replace(
        calibration,
        auc=all_sizes.auc,
        accuracy=all_sizes.accuracy,
        interval=all_sizes.interval,
        pairs=len(groups),
        data=data,
        sizes=tuple(measures),
    )


def groups_interval(groups: Sequence[Sequence[int]], accuracy: float) -> tuple[float, float]:
    """The 95 % interval of the share of groups that were classified correctly: Wilson's of a binomial proportion.

    Groups that have images in common are not independent. They count as so many independent groups as their images
    would make without overlap, if these are fewer, so the interval is rather too wide than too narrow.

    Args:
        groups: the images of each, at least one group.
        accuracy: the share, 0..1.

    >>> low, high = groups_interval([(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)], 0.5)
    >>> round(low, 3), round(high, 3)
    (0.15, 0.85)
    """
    images = len({image for group in groups for image in group})
    independent = min(len(groups), images * len(groups) / sum(map(len, groups)))
    z = 1.96**2 / independent
    centre, width = (accuracy + z / 2) / (1 + z), math.sqrt(z * accuracy * (1 - accuracy) + z * z / 4) / (1 + z)
    return max(0.0, centre - width), min(1.0, centre + width)


def _measure_size(size: int, groups: Sequence[Group], logits: Tensor) -> SizeMeasures:
    accuracy, auc = _accuracy_and_auc(positive_groups(groups), logits)
    between = groups_interval([group.images for group in groups], accuracy)
    return SizeMeasures(size, len(groups), accuracy, between, auc)


def _accuracy_and_auc(positive: Tensor, logits: Tensor) -> tuple[float, float]:
    scores = DecisionScores()
    scores.update(positive, torch.zeros(len(positive)), logits)
    values = scores.compute()
    return float(values["decision_accuracy"]), float(values["decision_auc"])


def _iterate_statistics(
    model: CoSegmenter, catalog: Catalog, groups: Sequence[Sequence[int]], progress: Progress | None = None
) -> Iterator[Tensor]:
    """For each group of two or more images, given by their indices, `CoSegmenter.pair_statistics`.

    `progress` counts the images, which are encoded first, and then the groups.

    Raises:
        CosegError: a statistic is not finite; its images are named.
    """
    images = sorted({i for group in groups for i in group})
    steps = len(images) + len(groups)
    encoded = EncodedImages(model.device)
    for k, i in enumerate(images):
        encoded.append(model.encode(catalog.image(i), catalog.ids[i]))
        if progress is not None:
            progress(k + 1, steps)
    positions = {i: k for k, i in enumerate(images)}
    for done, group in enumerate(groups):
        statistics = model.pair_statistics(*(encoded[positions[i]] for i in group))
        if not all_finite(statistics):
            raise not_finite(f"The network {model.network.name}", [catalog.ids[i] for i in group])
        yield statistics
        if progress is not None:
            progress(len(images) + done + 1, steps)
