"""Whether images have a common object at all: what a network's features and masks tell of it.

A network that was trained on pairs with a common object marks something in any pair. What it marks still tells: where
nothing is common, it is less sure, and what it marks here looks unlike what it marks there. Not all channels of the
features tell kinds of objects apart, so each is given beside the similarities of the whole, for a regression to weigh
(`coseg.inference.commonness`). A `DecidingNetwork` has an answer of its own, which is then the only evidence.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coseg.models.deciding import DecidingNetwork
from coseg.models.network import CosegNetwork

SIMILARITIES = (
    "top_probability_low",
    "top_probability_high",
    "marked_low",
    "marked_high",
    "object_similarity",
    "contrast_similarity",
    "best_match",
)
"""What `evidence` gives first, in this order."""

DECISION = ("decision",)
"""What `evidence_of` gives for a network that decides by itself: its logit."""

_TOP = 0.01  # share of the pixels that are surest to be of a common object


def evidence(features_a: Tensor, features_b: Tensor, probability_a: Tensor, probability_b: Tensor) -> Tensor:
    """Numbers on whether a pair has a common object, the same whichever image comes first.

    - ``top_probability_low``, ``_high``: of each image the mean probability of the hundredth of its pixels that are
      surest to be common; the smaller and the larger of the two.
    - ``marked_low``, ``_high``: likewise, the mean probability of all pixels.
    - ``object_similarity``: cosine similarity of the two objects, each the mean of an image's feature vectors weighted
      by probability.
    - ``contrast_similarity``: likewise, of object minus background (the mean weighted by 1 - probability): what all
      places of all images have in common falls out.
    - ``best_match``: for each place of an image the largest cosine similarity that any place of the other has, their
      mean weighted by probability; the mean of both directions.
    - Then C sums and C products: with the two objects scaled to length 1, u and v, each channel of u + v and of u v.

    Args:
        features_a: (C, h, w), the feature map of A.
        features_b: (C, h', w').
        probability_a: (H, W), 0..1: of each pixel of A, that it is of a common object.
        probability_b: (H', W').

    Returns:
        float32 (7 + 2 C,), see `evidence_names`.
    """
    sides = [
        (features.float().flatten(1), probability.float().flatten(), _weights(probability, features).flatten())
        for features, probability in ((features_a, probability_a), (features_b, probability_b))
    ]
    tops = [pixels.topk(max(1, round(_TOP * len(pixels)))).values.mean() for _, pixels, _ in sides]
    marked = [pixels.mean() for _, pixels, _ in sides]
    objects = [_mean(vectors, weights) for vectors, _, weights in sides]
    grounds = [_mean(vectors, 1 - weights) for vectors, _, weights in sides]
    contrasts = [thing - ground for thing, ground in zip(objects, grounds, strict=True)]
    similarities = F.normalize(sides[0][0], dim=0).T @ F.normalize(sides[1][0], dim=0)
    best = [_mean(similarities.amax(1 - side)[None], sides[side][2])[0] for side in (0, 1)]
    similar_objects = F.cosine_similarity(objects[0], objects[1], dim=0)
    similar_contrasts = F.cosine_similarity(contrasts[0], contrasts[1], dim=0)
    values = min(tops), max(tops), min(marked), max(marked), similar_objects, similar_contrasts, (best[0] + best[1]) / 2
    u, v = (F.normalize(each, dim=0) for each in objects)
    return torch.cat((torch.stack(values), u + v, u * v))


def evidence_of(
    network: CosegNetwork, features_a: Any, features_b: Any, probability_a: Tensor, probability_b: Tensor
) -> Tensor:
    """The evidence that suits `network`: its own decision, float32 (1,), or that of `evidence`.

    `features_a` and `features_b` are what it encoded of each image alone, a batch of one; the rest as in `evidence`.
    """
    if isinstance(network, DecidingNetwork):
        return network.decide(features_a, features_b).float()
    maps = network.feature_map(features_a)[0], network.feature_map(features_b)[0]
    return evidence(*maps, probability_a, probability_b)


def evidence_names(network: CosegNetwork, count: int) -> tuple[str, ...]:
    """The names of the `count` numbers that `evidence_of` gives."""
    if isinstance(network, DecidingNetwork):
        return DECISION
    channels = range((count - len(SIMILARITIES)) // 2)
    return (*SIMILARITIES, *(f"{what}_{k}" for what in ("sum", "product") for k in channels))


def _weights(probability: Tensor, features: Tensor) -> Tensor:
    """The probability at each place of the feature map, float32 (h, w)."""
    height, width = features.shape[-2:]
    return F.adaptive_avg_pool2d(probability.float()[None, None], (height, width))[0, 0]


def _mean(vectors: Tensor, weights: Tensor) -> Tensor:
    """The mean of vectors (C, n) weighted by (n,): (C,)."""
    return (vectors * weights).sum(1) / weights.sum().clamp_min(1e-6)
