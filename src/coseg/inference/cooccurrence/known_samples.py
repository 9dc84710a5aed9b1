"""Pairs and groups of a data set's images of which it is known whether they share a class: random, from a seed.

- A positive pair or group: images that all hold one class. For a group it is a class of a random image.
- A negative pair: both images hold a class, but none in common.
- A negative group: no class is in more than a fifth of its images (rounded up): of five in one, of ten in two. Data
  sets have too few classes for large groups of which no two images share a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.pair_index import PairIndex, mix
from coseg.data.pair_orders import ShuffledPairs, pair_order
from coseg.errors import CosegError

Pairs = Sequence[tuple[int, int]]

SIZES = (3, 5, 10, 20)
"""Images in a group."""

_TRIES = 3  # for each group: if there are few groups, the same ones are sampled again


class Group(NamedTuple):
    """Images of a catalog.

    Attributes:
        images: their indices, ascending.
        common: whether they share a class.
    """

    images: tuple[int, ...]
    common: bool


def sample_pairs(presence: NDArray[np.bool_], count: int, seed: int, order: str = "uniform") -> list[tuple[int, int]]:
    """`count` positive pairs, then as many negative ones; fewer of both if there are not so many.

    Args:
        presence: bool (N, K), which image holds which class.
        count: see above.
        seed: of the random choice.
        order: of the positive pairs, one of `coseg.data.pair_orders.PAIR_ORDERS`.

    Raises:
        CosegError: there is no positive or no negative pair, or `count` is not positive.
    """
    if count < 1:
        raise CosegError(f"The number of pairs is {count}, but must be positive: 1000, say.")
    count = min(count, len(PairIndex(presence)), len(PairIndex(presence, common=False)))
    if not count:
        raise CosegError(
            "A calibration needs pairs with a common class and pairs without one, but in this data set there are only "
            "pairs of one sort: take one with several classes."
        )
    positive = pair_order(order, presence, mix(seed, 2), count)
    negative = ShuffledPairs(presence, mix(seed, 3), count, False)
    return [pairs.pair(0, k) for pairs in (positive, negative) for k in range(count)]


def positive_pairs(pairs: Pairs) -> Tensor:
    """Which pairs from `sample_pairs` are positive, bool (N,)."""
    return torch.arange(len(pairs)) < len(pairs) // 2


def sample_groups(presence: NDArray[np.bool_], count: int, seed: int = 0, sizes: Sequence[int] = SIZES) -> list[Group]:
    """For each size `count` positive and `count` negative groups, all different; fewer of both if there are not enough.

    Args:
        presence: bool (N, K), which image holds which class; images without any are in no group.
        count: see above.
        seed: of the random choice.
        sizes: of the groups.

    Raises:
        CosegError: `count` is not positive.
    """
    if count < 1:
        raise CosegError(f"The number of groups is {count}, but must be positive: 60, say.")
    sampled = []
    for size in sizes:
        rng = np.random.default_rng(mix(seed, size))
        positive: dict[Group, None] = {}  # dictionaries as sets that keep the order
        negative: dict[Group, None] = {}
        for groups, sample in ((positive, _positive_group), (negative, _negative_group)):
            for _ in range(_TRIES * count):
                if len(groups) < count and (group := sample(presence, size, rng)) is not None:
                    groups[group] = None
        fewer = min(len(positive), len(negative))
        sampled += [*list(positive)[:fewer], *list(negative)[:fewer]]
    return sampled


def positive_groups(groups: Sequence[Group]) -> Tensor:
    """Which groups share a class, bool (N,)."""
    return torch.tensor([group.common for group in groups])


def _positive_group(presence: NDArray[np.bool_], size: int, rng: np.random.Generator) -> Group | None:
    large = presence & (presence.sum(0) >= size)
    images = np.flatnonzero(large.any(1))
    if not len(images):
        return None
    shared = rng.choice(np.flatnonzero(large[rng.choice(images)]))
    chosen = rng.choice(np.flatnonzero(presence[:, shared]), size, replace=False)
    return Group(tuple(sorted(chosen.tolist())), True)


def _negative_group(presence: NDArray[np.bool_], size: int, rng: np.random.Generator) -> Group | None:
    limit = -(-size // 5)
    room = np.full(presence.shape[1], limit)
    chosen: list[int] = []
    for i in rng.permutation(np.flatnonzero(presence.any(1))).tolist():
        if (room[presence[i]] > 0).all():
            room -= presence[i]
            chosen.append(i)
            if len(chosen) == size:
                return Group(tuple(sorted(chosen)), False)
    return None
