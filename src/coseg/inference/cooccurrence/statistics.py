"""Pair statistics: numbers from features and masks that indicate whether images have a common object at all.

A network that was trained on pairs with a common object predicts some foreground in any pair. If nothing is common, its
probabilities are lower, and the two predicted objects look less alike. Not all channels of the features distinguish
classes of objects, so each channel is given beside the similarities of the whole vectors, for a regression to weight
(`coseg.hub.calibration.Calibration`). A `PairClassifier` has an image-level classifier, whose logit is then the only
statistic.

In a group, comparing all pairs would take the square of the number of images, so each image is compared with a few
neighbours. The more pairs there are, the more reliable is their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.pair_index import Permutation
from coseg.errors import CosegError
from coseg.hub.calibration import GROUP_STATISTICS, Calibration
from coseg.inference.cooccurrence import descriptors
from coseg.inference.cooccurrence.belonging import BELONGING, GROUP_CORE, Answer, answer
from coseg.inference.processes import ALONE, Processes
from coseg.models.base import CosegNetwork, PairClassifier, Size

SIMILARITIES = (
    "top_probability_low",
    "top_probability_high",
    "foreground_low",
    "foreground_high",
    "object_similarity",
    "contrast_similarity",
    "best_match",
)
"""The first of the `pair_statistics`, in this order."""

DECISION = ("decision",)
"""The only statistic of a network with an image-level classifier: its logit."""

_TOP = 0.01  # share of the pixels with the highest probability


def pair_statistics(features_a: Tensor, features_b: Tensor, probability_a: Tensor, probability_b: Tensor) -> Tensor:
    """Statistics of a pair, symmetric in its images.

    - ``top_probability_low``, ``_high``: for each image the mean over the hundredth of its pixels with the highest
      probability; the smaller and the larger of the two.
    - ``foreground_low``, ``_high``: likewise, the mean probability of all pixels.
    - ``object_similarity``: cosine similarity of the two objects, each the mean of an image's feature vectors weighted
      by probability.
    - ``contrast_similarity``: likewise, of object minus background (the mean weighted by 1 - probability), which
      removes what all positions of all images have in common.
    - ``best_match``: for each position of an image the largest cosine similarity with any position of the other image,
      averaged with weights by probability; the mean of both directions.
    - Then C sums and C products: with the two objects scaled to length 1, u and v, each channel of u + v and of u v.

    Args:
        features_a: (C, h, w), the feature map of A.
        features_b: (C, h', w').
        probability_a: (H, W), 0..1: of each pixel of A to be part of a common object.
        probability_b: (H', W').

    Returns:
        float32 (7 + 2 C,), see `statistics_names`.
    """
    sides = [
        (features.float().flatten(1), probability.float().flatten(), _weights(probability, features).flatten())
        for features, probability in ((features_a, probability_a), (features_b, probability_b))
    ]
    tops = [pixels.topk(max(1, round(_TOP * len(pixels)))).values.mean() for _, pixels, _ in sides]
    foreground = [pixels.mean() for _, pixels, _ in sides]
    objects = [_mean(vectors, weights) for vectors, _, weights in sides]
    grounds = [_mean(vectors, 1 - weights) for vectors, _, weights in sides]
    contrasts = [thing - ground for thing, ground in zip(objects, grounds, strict=True)]
    similarities = F.normalize(sides[0][0], dim=0).T @ F.normalize(sides[1][0], dim=0)
    best = [_mean(similarities.amax(1 - side)[None], sides[side][2])[0] for side in (0, 1)]
    similar_objects = F.cosine_similarity(objects[0], objects[1], dim=0)
    similar_contrasts = F.cosine_similarity(contrasts[0], contrasts[1], dim=0)
    low, high = min(foreground), max(foreground)
    values = min(tops), max(tops), low, high, similar_objects, similar_contrasts, (best[0] + best[1]) / 2
    u, v = (F.normalize(vector, dim=0) for vector in objects)
    return torch.cat((torch.stack(values), u + v, u * v))


def network_statistics(
    network: CosegNetwork, features_a: Any, features_b: Any, probability_a: Tensor, probability_b: Tensor
) -> Tensor:
    """The logit of the network's image-level classifier, float32 (1,), if it has one; otherwise `pair_statistics`.

    `features_a` and `features_b` are from its `encode`, each a batch of one; the rest as in `pair_statistics`.
    """
    if isinstance(network, PairClassifier):
        return network.classify(features_a, features_b).float()
    maps = network.feature_map(features_a)[0], network.feature_map(features_b)[0]
    return pair_statistics(*maps, probability_a, probability_b)


def statistics_names(network: CosegNetwork, count: int) -> tuple[str, ...]:
    """The names of the `count` statistics that `network_statistics` returns."""
    if isinstance(network, PairClassifier):
        return DECISION
    channels = range((count - len(SIMILARITIES)) // 2)
    return (*SIMILARITIES, *(f"{operation}_{k}" for operation in ("sum", "product") for k in channels))


def _weights(probability: Tensor, features: Tensor) -> Tensor:
    """The probability at each position of the feature map, float32 (h, w)."""
    height, width = features.shape[-2:]
    return F.adaptive_avg_pool2d(probability.float()[None, None], (height, width))[0, 0]


def _mean(vectors: Tensor, weights: Tensor) -> Tensor:
    """The mean of vectors (C, n) weighted by (n,): (C,)."""
    return (vectors * weights).sum(1) / weights.sum().clamp_min(1e-6)


NEIGHBOURS = 4
"""In a group each image is compared with so many images on either side, at most."""


def neighbours(n: int) -> list[tuple[int, int]]:
    """The pairs (i, j), i < j, of n images that are compared: all for up to 9 images, 4 n for more.

    The images form a ring and are compared with `NEIGHBOURS` on either side, so that each has the same weight. Their
    order in it is random, but fixed for each n: files are often sorted by content, and neighbours in that order would
    be more similar than the group is.

    >>> neighbours(4)
    [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    >>> len(neighbours(200))
    800
    """
    order = Permutation(n, seed=0)
    ring = [order[k] for k in range(n)]
    steps = range(1, min(NEIGHBOURS, n // 2) + 1)
    pairs = ((ring[k], ring[(k + step) % n]) for k in range(n) for step in steps)
    return sorted({(min(pair), max(pair)) for pair in pairs})


def neighbour_statistics(
    network: CosegNetwork,
    features: Sequence[Any],
    probabilities: Sequence[NDArray[np.float16]],
    device: torch.device,
    processes: Processes = ALONE,
) -> Tensor:
    """The statistics of each pair of `neighbours`, float32 (pairs, numbers); of two images that is one pair.

    Args:
        network: see `network_statistics`.
        features: of each image, from its `encode`.
        probabilities: of each image's pixels to be part of the object that is common to all, (h, w), 0..1.
        device: of the network.
        processes: that divide the pairs among them.
    """
    pairs = neighbours(len(features))

    def compared(k: int) -> Tensor:
        i, j = pairs[k]
        maps = (torch.from_numpy(probabilities[k]).to(device) for k in (i, j))
        return network_statistics(network, features[i], features[j], *maps).cpu()

    return torch.stack(list(processes.divided(len(pairs), compared)))


UNCALIBRATED_DECISION = Calibration(DECISION, (0.0,), (1.0,), (1.0,), 0.0)
"""For an image-level classifier that was not calibrated: the sigmoid of its logit."""


def calibration_of(network: CosegNetwork, settings: Mapping[str, Any]) -> Calibration | None:
    """The calibration in `settings`; without one, that of the network's image-level classifier, or None.

    Raises:
        CosegError: it is damaged, or of other statistics than this version computes for `network`.
    """
    values = settings.get("cooccurrence")
    if values is None:
        return UNCALIBRATED_DECISION if isinstance(network, PairClassifier) else None
    calibration = Calibration.from_dict(values)
    if not compares_all(calibration) and calibration.names != statistics_names(network, len(calibration.names)):
        raise CosegError(
            f"The calibration in 'cooccurrence' is of other statistics ({', '.join(calibration.names[:9])}, …) than "
            f"this version of coseg computes for {type(network).__name__}: fit it again, or set it to null."
        )
    groups = (GROUP_STATISTICS, GROUP_CORE)
    group, belonging = calibration.group, calibration.belonging
    if (group and group.names not in groups) or (belonging and belonging.names != BELONGING):
        raise CosegError(
            "The calibration of groups in 'cooccurrence' is of other statistics than this version of coseg computes: "
            "fit it again, or set its 'group' to null."
        )
    return calibration


def compares_all(calibration: Calibration) -> bool:
    """Whether the statistics are those of all pairs of images, by their descriptors; earlier ones are of neighbours."""
    return calibration.names == descriptors.statistics_names(calibration.classes)


def pair_logits(
    network: CosegNetwork,
    calibration: Calibration,
    features: Sequence[Any],
    sizes: Sequence[Size],
    processes: Processes = ALONE,
) -> Tensor:
    """The logit (n, n) that each two of n images share an object, by a calibration that `compares_all`.

    The arguments are those of `answer_for`.
    """

    def described(k: int) -> descriptors.Descriptors:
        return descriptors.describe(network, features[k], sizes[k])

    images = descriptors.stacked(list(processes.divided(len(features), described)))
    similar = descriptors.alike(images)
    return calibration.logits(descriptors.pair_statistics(similar, images, calibration.classes))


def answer_for(
    network: CosegNetwork,
    calibration: Calibration,
    features: Sequence[Any],
    sizes: Sequence[Size],
    probabilities: Sequence[NDArray[np.float16]],
    device: torch.device,
    processes: Processes = ALONE,
) -> Answer:
    """Whether two or more images have an object in common, and which of them belong.

    Args:
        network: of the images.
        calibration: see `calibration_of`.
        features: of each image, from the network's `encode`.
        sizes: (height, width) of each encoded image.
        probabilities: see `neighbour_statistics`; calibrations of today need none.
        device: of the network.
        processes: that divide the work among them.

    Raises:
        CosegError: the calibration is of another number of statistics, or of channels.
    """
    if compares_all(calibration):
        return answer(calibration, pair_logits(network, calibration, features, sizes, processes))
    statistics = neighbour_statistics(network, features, probabilities, device, processes)
    if calibration.group is None or calibration.group.names == GROUP_STATISTICS:
        return Answer(calibration.common(statistics, len(features)))
    matrix = torch.full((len(features), len(features)), torch.nan, dtype=torch.float64)
    first, second = torch.tensor(neighbours(len(features))).T
    matrix[first, second] = matrix[second, first] = calibration.logits(statistics)
    return answer(calibration, matrix)
