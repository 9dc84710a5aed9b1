"""Pairs and groups of a data set's images of which it is known whether they share a class: random, from a seed.

Frequent classes would decide alone what a calibration learns and measures: a class with ten times as many images has a
hundred times as many pairs. So a class is chosen first, with a weight of the square root of its number of images.

- A positive pair or group: images that all hold one class; a group may have *intruders*, which lack it.
- A negative pair: images of two classes, which have none in common.
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

from coseg.data.pair_index import mix
from coseg.errors import CosegError

Pairs = Sequence[tuple[int, int]]

SIZES = (3, 4, 5, 6, 8, 10, 12, 15, 20)
"""Images in a group."""

_TRIES = 4  # for each sample: if there are few, the same ones come again


class Group(NamedTuple):
    """Images of a catalog.

    Attributes:
        images: their indices, ascending.
        common: whether they share a class, but for the intruders.
        shared: the index of that class; -1: none.
        intruders: the images without it.
    """

    images: tuple[int, ...]
    common: bool
    shared: int = -1
    intruders: tuple[int, ...] = ()


class Samples(NamedTuple):
    """How many pairs, and groups of each size, are sampled; and the seed."""

    pairs: int
    groups: int
    seed: int


def sample_pairs(presence: NDArray[np.bool_], count: int, seed: int) -> list[tuple[int, int]]:
    """`count` positive pairs, then as many negative ones, all different; fewer of both if there are not so many.

    Args:
        presence: bool (N, K), which image holds which class.
        count: see above.
        seed: of the random choice.

    Raises:
        CosegError: there is no positive or no negative pair, or `count` is not positive.
    """
    if count < 1:
        raise CosegError(f"The number of pairs is {count}, but must be positive: 1000, say.")
    rng = np.random.default_rng(mix(seed, 2))
    shared = presence @ presence.T
    sampled = []
    for positive in (True, False):
        pairs: dict[tuple[int, int], None] = {}  # as a set that keeps the order
        possible = _positive_pairs if positive else _negative_pairs
        for i, j in possible(presence, _TRIES * count, rng):
            if len(pairs) < count and i != j and bool(shared[i, j]) == positive:
                pairs[min(i, j), max(i, j)] = None
        sampled.append(list(pairs))
    fewer = min(map(len, sampled))
    if not fewer:
        raise CosegError(
            "A calibration needs pairs with a common class and pairs without one, but in this data set there are only "
            "pairs of one sort: take one with several classes."
        )
    return [pair for pairs in sampled for pair in pairs[:fewer]]


def positive_pairs(pairs: Pairs) -> Tensor:
    """Which pairs from `sample_pairs` are positive, bool (N,)."""
    return torch.arange(len(pairs)) < len(pairs) // 2


def sample_groups(
    presence: NDArray[np.bool_], count: int, seed: int = 0, sizes: Sequence[int] = SIZES, intruders: bool = False
) -> list[Group]:
    """For each size `count` positive and `count` negative groups, all different; fewer of both if there are not enough.

    Args:
        presence: bool (N, K), which image holds which class; images without any are in no group.
        count: see above.
        seed: of the random choice.
        sizes: of the groups.
        intruders: positive groups alone, of three or more images, a third of them without an intruder, a third with
            one, a third with as many as half of the images, rounded down.

    Raises:
        CosegError: `count` is not positive.
    """
    if count < 1:
        raise CosegError(f"The number of groups is {count}, but must be positive: 60, say.")
    sampled = []
    for size in sizes:
        rng = np.random.default_rng(mix(seed, size))
        positive: dict[Group, None] = {}
        negative: dict[Group, None] = {}
        for turn in range(_TRIES * count):
            strangers = (0, 1, size // 2)[turn % 3] if intruders else 0
            if len(positive) < count and (group := positive_group(presence, size, rng, strangers)) is not None:
                positive[group] = None
            if not intruders and len(negative) < count and (group := _negative_group(presence, size, rng)) is not None:
                negative[group] = None
        fewer = len(positive) if intruders else min(len(positive), len(negative))
        sampled += [*list(positive)[:fewer], *list(negative)[:fewer]]
    return sampled


def positive_groups(groups: Sequence[Group]) -> Tensor:
    """Which groups share a class, bool (N,)."""
    return torch.tensor([group.common for group in groups])


def positive_group(
    presence: NDArray[np.bool_], size: int, rng: np.random.Generator, intruders: int = 0, shared: int | None = None
) -> Group | None:
    """A group of `size` images that share a class, `shared` or a random one, but for the `intruders`; None: no such."""
    members = size - intruders
    counts = presence.sum(0)
    possible = (counts >= members) & (counts < len(presence) if intruders else True)
    if shared is None:
        if not possible.any():
            return None
        shared = int(rng.choice(len(counts), p=_weights(np.where(possible, counts, 0))))
    elif not possible[shared]:
        return None
    chosen = rng.choice(np.flatnonzero(presence[:, shared]), members, replace=False)
    outside = np.flatnonzero(presence.any(1) & ~presence[:, shared])
    if len(outside) < intruders:
        return None
    if not intruders:
        return Group(tuple(sorted(chosen.tolist())), True, shared)
    strangers = rng.choice(outside, intruders, replace=False, p=_image_weights(presence[outside]))
    both = sorted([*chosen.tolist(), *strangers.tolist()])
    return Group(tuple(both), True, shared, tuple(sorted(strangers.tolist())))


def _negative_group(presence: NDArray[np.bool_], size: int, rng: np.random.Generator) -> Group | None:
    limit = -(-size // 5)
    room = np.full(presence.shape[1], limit)
    chosen: list[int] = []
    for i in _shuffled(presence, rng):
        if (room[presence[i]] > 0).all():
            room -= presence[i]
            chosen.append(i)
            if len(chosen) == size:
                return Group(tuple(sorted(chosen)), False)
    return None


def _positive_pairs(presence: NDArray[np.bool_], count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    counts = presence.sum(0)
    if not (counts > 1).any():
        return []
    classes = rng.choice(len(counts), count, p=_weights(np.where(counts > 1, counts, 0)))
    members = [np.flatnonzero(column) for column in presence.T]
    places = rng.random((count, 2))
    return [
        (int(members[k][int(a * len(members[k]))]), int(members[k][int(b * len(members[k]))]))
        for k, (a, b) in zip(classes, places, strict=True)
    ]


def _negative_pairs(presence: NDArray[np.bool_], count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    labelled = np.flatnonzero(presence.any(1))
    if not len(labelled):
        return []
    chosen = rng.choice(labelled, (count, 2), p=_image_weights(presence[labelled]))
    return [(int(i), int(j)) for i, j in chosen]


def _shuffled(presence: NDArray[np.bool_], rng: np.random.Generator) -> list[int]:
    """The images that hold a class, in random order, those of rare classes rather early."""
    labelled = np.flatnonzero(presence.any(1))
    keys = rng.exponential(size=len(labelled)) / np.maximum(_image_weights(presence[labelled]), 1e-12)
    return [int(i) for i in labelled[np.argsort(keys)]]


def _weights(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities in proportion to the square root of `counts`."""
    roots: NDArray[np.float64] = np.sqrt(counts.astype(np.float64))
    return roots / roots.sum()


def _image_weights(presence: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each image, such that a class as a whole has about the square root of its number of images; sum 1."""
    counts = np.maximum(presence.sum(0), 1)
    weights: NDArray[np.float64] = (presence / np.sqrt(counts)).sum(1) / np.maximum(presence.sum(1), 1)
    return weights / weights.sum() if weights.sum() else weights
