"""The pairs and cliques of training batches, in the order of each epoch: any number of workers gives the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from coseg.data.dataset import CliqueSample, PairSample
from coseg.data.pair_index import Permutation, mix
from coseg.data.pair_orders import PairOrder
from coseg.errors import CosegError


def item_seed(seed: int, epoch: int, position: int) -> int:
    """A 62-bit seed for one item of one epoch: unrelated for neighbouring positions, epochs and seeds."""
    state = np.random.SeedSequence([seed, epoch, position]).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(2))


class PairSampler(Sampler[PairSample]):
    """The pairs of one epoch for one process.

    Process `rank` of `world` takes positions ``rank, rank + world, …``. With ``even=True`` (training) the tail that
    does not go round is dropped, since every process must make as many steps; without it (tests) each position
    belongs to exactly one process.

    Args:
        order: the pairs.
        seed: seeds the augmentation of each pair.
        start: pairs of this process to skip in the first epoch (they were used before a stop).
        fixed: the same pairs in each epoch: validations must be comparable.
    """

    def __init__(
        self,
        order: PairOrder,
        seed: int,
        rank: int = 0,
        world: int = 1,
        even: bool = False,
        start: int = 0,
        epoch: int = 0,
        fixed: bool = False,
    ) -> None:
        self.order = order
        self.seed = seed
        self.rank = rank
        self.world = world
        self.even = even
        self.start = start
        self.epoch = epoch
        self.fixed = fixed
        self._resumed_epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, of validation too."""
        if not self.fixed:
            self.epoch = epoch

    def __len__(self) -> int:
        total = len(self.order)
        return total // self.world if self.even else len(range(self.rank, total, self.world))

    def __iter__(self) -> Iterator[PairSample]:
        start = self.start if self.epoch == self._resumed_epoch else 0
        for k in range(start, len(self)):
            position = self.rank + k * self.world
            i, j = self.order.pair(self.epoch, position)
            yield PairSample(i, j, item_seed(self.seed, self.epoch, position))


def checked_clique(size: int | None) -> int | None:
    """`size`, which the user set as ``data.clique``.

    Raises:
        CosegError: it is neither None nor a number of images, 2 or more.
    """
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 2):
        raise CosegError(
            f"data.clique is '{size}', but must be a number of images, 2 or more; data/sampler=pairs takes pairs."
        )
    return size


def pairs_of(size: int) -> int:
    """How many pairs a clique of so many images has."""
    return size * (size - 1) // 2


class CliqueSampler(Sampler[CliqueSample]):
    """Cliques of one epoch for one process: each grows from a pair; of several common classes one is sampled.

    The other images are sampled from those of the class without replacement, by a hash of the pair's seed; where the
    class has fewer than `size` images, all of them are the clique. So whatever order pairs come in, and however they
    are shared by processes and resumed, holds for cliques, too.

    Args:
        pairs: gives a pair for each clique.
        presence: bool (N, K), of the catalog.
        size: images of a clique, 2 or more.
    """

    def __init__(self, pairs: PairSampler, presence: NDArray[np.bool_], size: int) -> None:
        self.pairs = pairs
        self.presence = presence
        self.size = size

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.pairs.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[CliqueSample]:
        for i, j, seed in self.pairs:
            shared = np.flatnonzero(self.presence[i] & self.presence[j])
            k = int(shared[mix(seed, 0) % len(shared)])
            candidates = [image for image in np.flatnonzero(self.presence[:, k]).tolist() if image not in (i, j)]
            count = min(self.size - 2, len(candidates))
            order = Permutation(len(candidates), mix(seed, 1)) if count else ()
            added = [candidates[order[t]] for t in range(count)]
            yield CliqueSample(k, tuple(sorted((i, j, *added))), seed)
