"""From the logits of all pairs of a group to the group and to each of its images: which belong together, which do not.

Most of a group may share an object and some images may not, up to half of them. So an image is not compared with all
others alike but with the *core*: the images that resemble one another most, by a few steps of a power iteration.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from coseg.hub.calibration import LARGEST, Calibration
from coseg.hub.measures import LOWEST

GROUP_CORE = ("pair_logit", "pair_logit_by_size", "core_logit")
"""The `group_values`, in this order."""

BELONGING = ("core_logit", "core_logit_by_size", "logit_of_others")
"""The `belonging_values`, in this order."""

_STEPS = 6


class Answer(NamedTuple):
    """Of n images.

    Attributes:
        common: how likely they have an object in common, 0..1.
        belongs: of each image, how likely it shares the object of most of the others, 0..1; empty: not calibrated.
    """

    common: float
    belongs: tuple[float, ...] = ()


def answer(calibration: Calibration, pairs: Tensor) -> Answer:
    """The answer for two or more images, from the logits (n, n) of their pairs."""
    if len(pairs) == 2:
        return Answer(max(LOWEST, float(pairs[0, 1].sigmoid())))
    if calibration.group is None:
        distinct = pairs[torch.triu(torch.ones_like(pairs), 1) > 0]
        return Answer(max(LOWEST, float(distinct[~distinct.isnan()].sigmoid().mean())))
    common = max(LOWEST, calibration.group.probability(group_values(pairs)))
    if calibration.belonging is None:
        return Answer(common)
    return Answer(common, tuple(calibration.belonging.logits(belonging_values(pairs)).sigmoid().tolist()))


class Core(NamedTuple):
    """Of a group of n images.

    Attributes:
        logits: float64 (n,): the mean logit of each image's pairs with the others, weighted by how far these are part
            of the core.
        weights: float64 (n,), 0..1: how far each image is part of the core.
    """

    logits: Tensor
    weights: Tensor


def core(pairs: Tensor) -> Core:
    """The core of a group, from the logits of its pairs, (n, n), symmetric; nan where images were not compared."""
    compared = ~pairs.isnan() & ~torch.eye(len(pairs), dtype=torch.bool)
    values = torch.where(compared, pairs, 0.0).double()
    weights = torch.ones(len(pairs), dtype=torch.float64)
    logits = weights
    for _ in range(_STEPS):
        totals = (compared * weights).sum(1).clamp_min(1e-9)
        logits = (values @ weights) / totals
        weights = logits.sigmoid() + 1e-3
    return Core(logits, weights)


def group_values(pairs: Tensor) -> Tensor:
    """Statistics of a group, float64 (3,), from the logits (n, n) of its pairs; see `core`.

    - ``pair_logit``: their mean.
    - ``pair_logit_by_size``: it times the logarithm of n / 2, where n counts as `LARGEST` at most.
    - ``core_logit``: the mean of the logits of the core, weighted.
    """
    n = len(pairs)
    compared = ~pairs.isnan() & ~torch.eye(n, dtype=torch.bool)
    mean = pairs[compared].double().mean()
    middle = core(pairs)
    return torch.stack(
        (mean, mean * math.log(min(n, LARGEST) / 2), (middle.logits * middle.weights).sum() / middle.weights.sum())
    )


def belonging_values(pairs: Tensor) -> Tensor:
    """Statistics of each image of a group, float64 (n, 3), from the logits (n, n) of its pairs.

    - ``core_logit``: of the image, see `Core`.
    - ``core_logit_by_size``: it times the logarithm of n / 2, where n counts as `LARGEST` at most.
    - ``logit_of_others``: the mean of the other images' ``core_logit``, weighted by how far they are part of the core.
    """
    middle = core(pairs)
    total, weighted = middle.weights.sum(), middle.logits * middle.weights
    rest = (weighted.sum() - weighted) / (total - middle.weights)
    return torch.stack((middle.logits, middle.logits * math.log(min(len(pairs), LARGEST) / 2), rest), 1)


def clusters(pairs: Tensor) -> list[list[int]]:
    """Groups of images of which each two probably share an object: complete linkage, cut at a probability of a half.

    Args:
        pairs: logits (n, n) of all pairs, symmetric.

    Returns:
        The images of each group, from the largest group to single images, each in their order.
    """
    n = len(pairs)
    if n < 2:
        return [list(range(n))] if n else []
    distances = 1 - pairs.double().sigmoid().numpy()
    np.fill_diagonal(distances, 0)
    labels = fcluster(linkage(squareform(distances, checks=False), "complete"), 0.5, "distance")
    groups = [np.flatnonzero(labels == label).tolist() for label in dict.fromkeys(labels.tolist())]
    return sorted(groups, key=lambda group: (-len(group), group[0]))
