"""The order of the pairs in an epoch: which pair is at which position."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from coseg.data.pair_index import PairIndex, Permutation, mix
from coseg.errors import CosegError, unknown_choice

PAIR_ORDERS = ("uniform", "class_balanced", "image_balanced")
"""The names that `pair_order` takes."""

_BLOCK = 64  # positions among which MixedPairs shuffles


class PairOrder(ABC):
    """The pairs of epochs: ``pair(epoch, position)`` for ``0 <= position < len(order)``, a function of nothing else.

    No order is held as a list. An epoch starts where the last one stopped, so with epochs shorter than the data no
    pair is repeated before all others were used.

    Args:
        length: pairs in an epoch.

    Raises:
        CosegError: `length` is not positive.
    """

    def __init__(self, length: int) -> None:
        if length < 1:
            raise CosegError(
                f"An epoch of {length} pairs was asked for: give a positive number, or null for as many pairs as "
                "the data set has."
            )
        self._length = length

    def __len__(self) -> int:
        return self._length

    @abstractmethod
    def pair(self, epoch: int, position: int) -> tuple[int, int]:
        """The pair ``(i, j)``, ``i < j``, at `position` of `epoch`.

        Raises:
            IndexError: `position` is not in ``range(len(self))``, or `epoch` is negative.
        """

    def _check(self, epoch: int, position: int) -> None:
        if epoch < 0 or not 0 <= position < self._length:
            raise IndexError(f"position {position} of epoch {epoch}, which has {self._length} pairs")

    def _step(self, epoch: int, position: int) -> int:
        """Pairs before this one since epoch 0."""
        self._check(epoch, position)
        return epoch * self._length + position


class AllPairs(PairOrder):
    """All pairs of a catalog in the order of their images, the same in each epoch: those of a test.

    Raises:
        CosegError: there is no pair; `what` names the data in the message.
    """

    def __init__(self, presence: NDArray[np.bool_], what: str) -> None:
        self.index = PairIndex(presence)
        if not len(self.index):
            raise CosegError(f"{what}: no two images share a class, so there is no pair to co-segment.")
        super().__init__(len(self.index))

    def pair(self, epoch: int, position: int) -> tuple[int, int]:
        """See `PairOrder.pair`."""
        self._check(epoch, position)
        return self.index[position]


class ListedPairs(PairOrder):
    """The pairs of a list, the same in each epoch.

    Args:
        pairs: int64 (N, 2), ``i < j``.
    """

    def __init__(self, pairs: NDArray[np.int64]) -> None:
        super().__init__(len(pairs))
        self.pairs = pairs

    def pair(self, epoch: int, position: int) -> tuple[int, int]:
        """See `PairOrder.pair`."""
        self._check(epoch, position)
        i, j = self.pairs[position].tolist()
        return i, j


class ShuffledPairs(PairOrder):
    """Pairs in random order: each equally likely, all used before one is repeated.

    `common` and `empty` are as for `PairIndex`.
    """

    def __init__(
        self,
        presence: NDArray[np.bool_],
        seed: int,
        length: int | None = None,
        common: bool = True,
        empty: bool = False,
    ) -> None:
        self.index = PairIndex(presence, common, empty)
        if len(self.index) == 0:
            raise _no_pairs(presence, common)
        super().__init__(len(self.index) if length is None else length)
        self.seed = seed

    def pair(self, epoch: int, position: int) -> tuple[int, int]:
        """See `PairOrder.pair`."""
        cycle, k = divmod(self._step(epoch, position), len(self.index))
        return self.index[Permutation(len(self.index), mix(self.seed, cycle))[k]]


class WithNegatives(PairOrder):
    """`positives`, and after them a fixed, seeded sample of the negative pairs: what is validated and tested.

    Attributes:
        positives: the order of the positive pairs, which come first.
        negatives: how many negative pairs follow.

    Args:
        positives: an order.
        presence: bool (N, K), as for `PairIndex`.
        count: of the negative pairs, 0 or more; where there are fewer, all of them come.
        seed: of the sample.
        what: names `count` in messages, ``data.test_negatives`` say.

    Raises:
        CosegError: `count` is not such a number, or every two images share a class.
    """

    def __init__(self, positives: PairOrder, presence: NDArray[np.bool_], count: int, seed: int, what: str) -> None:
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise CosegError(f"{what} is '{count}', but must be a number of pairs without a common class, 0 or more.")
        available = len(PairIndex(presence, common=False, empty=True)) if count else 0
        if count and not available:
            raise CosegError(f"{what} is {count}, but any two images share a class: set it to 0.")
        self.positives = positives
        self.negatives = min(count, available)
        super().__init__(len(positives) + self.negatives)
        self._sample = ShuffledPairs(presence, seed, self.negatives, common=False, empty=True) if count else None

    def pair(self, epoch: int, position: int) -> tuple[int, int]:
        """See `PairOrder.pair`."""
        self._check(epoch, position)
        if position < len(self.positives):
            return self.positives.pair(epoch, position)
        assert self._sample is not None
        return self._sample.pair(0, position - len(self.positives))


class ClassBalancedPairs(PairOrder):
    """Each class equally often: in a seeded order all classes that have a pair, then all again, and so on.

    The pairs of one class are sampled without replacement until exhausted. `length` None is the number of pairs.
    """

    def __init__(self, presence: NDArray[np.bool_], seed: int, length: int | None = None) -> None:
        members = [np.flatnonzero(column) for column in presence.T]
        self._members = [images for images in members if len(images) > 1]
        if not self._members:
            raise _no_pairs(presence)
        super().__init__(len(PairIndex(presence)) if length is None else length)
        self.seed = seed

    def pair(self, epoch: int, position: int) -> tuple[int, int]:
        """See `PairOrder.pair`."""
        turn, slot = divmod(self._step(epoch, position), len(self._members))
        k = Permutation(len(self._members), mix(self.seed, turn))[slot]
        images = self._members[k]
        total = len(images) * (len(images) - 1) // 2
        cycle, t = divmod(turn, total)
        low, high = _triangle(Permutation(total, mix(self.seed, cycle, k))[t])
        return int(images[low]), int(images[high])


class ImageBalancedPairs(PairOrder):
    """Each image equally often as the first of a pair: then one of its classes, then a partner of that class.

    First images come without replacement; class and partner are sampled uniformly by a hash of the seed, so pairs may
    be repeated. Rare classes occur more often than by `ShuffledPairs` and less than by `ClassBalancedPairs`.
    `length` None is the number of pairs.
    """

    def __init__(self, presence: NDArray[np.bool_], seed: int, length: int | None = None) -> None:
        shared = presence & (presence.sum(axis=0) > 1)
        self._members = [np.flatnonzero(column) for column in shared.T]
        self._images = np.flatnonzero(shared.any(axis=1))
        if len(self._images) == 0:
            raise _no_pairs(presence)
        super().__init__(len(PairIndex(presence)) if length is None else length)
        self._shared = shared
        self.seed = seed

    def pair(self, epoch: int, position: int) -> tuple[int, int]:
        """See `PairOrder.pair`."""
        step = self._step(epoch, position)
        cycle, t = divmod(step, len(self._images))
        i = int(self._images[Permutation(len(self._images), mix(self.seed, cycle))[t]])
        classes = np.flatnonzero(self._shared[i])
        partners = self._members[classes[mix(self.seed, step, 0) % len(classes)]]
        place = mix(self.seed, step, 1) % (len(partners) - 1)
        j = int(partners[place + (place >= np.searchsorted(partners, i))])  # i itself is left out
        return min(i, j), max(i, j)


class MixedPairs(PairOrder):
    """`positives` with negative pairs between them: images that share no class, whose masks are empty.

    An epoch is as long as one of `positives`; of its L positions exactly ``round(share * L)`` are negative, spread
    evenly at random. Positives come in their order but for a shuffle within stretches of 64, negatives without
    replacement; both continue from epoch to epoch.

    Args:
        share: of the positions, 0 to 1.

    Raises:
        CosegError: `share` is not in that range, or every two images share a class.
    """

    def __init__(self, positives: PairOrder, presence: NDArray[np.bool_], share: float, seed: int) -> None:
        _check_share(share)
        super().__init__(len(positives))
        self._positives = positives
        self._count = round(share * len(positives))
        self._negatives = ShuffledPairs(presence, mix(seed, 1), common=False, empty=True) if self._count else None
        self.seed = seed

    def pair(self, epoch: int, position: int) -> tuple[int, int]:
        """See `PairOrder.pair`."""
        self._check(epoch, position)
        length, count = self._length, self._count
        block, slot = divmod(position, _BLOCK)
        start = block * _BLOCK
        end = min(start + _BLOCK, length)
        negatives = start * count // length  # before this block, in this epoch
        here = end * count // length - negatives
        slot = Permutation(end - start, mix(self.seed, epoch, block))[slot]
        if self._negatives is not None and slot < here:
            return self._negatives.pair(*divmod(epoch * count + negatives + slot, len(self._negatives)))
        step = epoch * (length - count) + (start - negatives) + slot - here
        return self._positives.pair(*divmod(step, len(self._positives)))


def pair_order(
    name: str, presence: NDArray[np.bool_], seed: int, length: int | None = None, negatives: float = 0.0
) -> PairOrder:
    """The order `name` of `PAIR_ORDERS` over the pairs of `presence`, bool (N, K).

    Args:
        length: pairs in an epoch; None for as many as there are pairs.
        negatives: the share of pairs without a common class, 0 to 1.

    Raises:
        CosegError: an argument is out of its range, or there is no pair.
    """
    _check_share(negatives)
    order: PairOrder
    if name == "uniform":
        order = ShuffledPairs(presence, seed, length)
    elif name == "class_balanced":
        order = ClassBalancedPairs(presence, seed, length)
    elif name == "image_balanced":
        order = ImageBalancedPairs(presence, seed, length)
    else:
        raise unknown_choice("The order of pairs", name, PAIR_ORDERS)
    return MixedPairs(order, presence, negatives, mix(seed, 2)) if negatives else order


def _triangle(k: int) -> tuple[int, int]:
    """The k-th of ``(0, 1), (0, 2), (1, 2), (0, 3), …``."""
    high = (1 + isqrt(1 + 8 * k)) // 2
    return k - high * (high - 1) // 2, high


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise CosegError(f"The share of negative pairs is {share}, but must be between 0 and 1: 0 for none.")


def _no_pairs(presence: NDArray[np.bool_], common: bool = True) -> CosegError:
    images, classes = presence.shape
    if common:
        return CosegError(
            f"The catalog has no pair: of its {images} images (classes: {classes}) no two share a class. "
            "Add images, or choose another split or other classes."
        )
    return CosegError(
        f"The catalog has no negative pair: any two of its {images} images share a class. "
        "Set the share of negative pairs to 0, or add images of other classes, or without an object."
    )
