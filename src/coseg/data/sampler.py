"""Which pairs an epoch visits, in which process, and from where it goes on after a stop."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from coseg.data.dataset import Draw
from coseg.data.orders import PairOrder


def item_seed(seed: int, epoch: int, position: int) -> int:
    """A 62-bit seed for one item of one epoch: unrelated for neighbouring positions, epochs and seeds."""
    state = np.random.SeedSequence([seed, epoch, position]).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(2))


class PairSampler(Sampler[Draw]):
    """Draws of one epoch for one process.

    Process `rank` of `world` takes positions ``rank, rank + world, …``. With ``even=True`` (training) the tail that
    does not go round is dropped, since every process must make as many steps; without it (tests) each position is
    visited by exactly one process, none twice.

    Args:
        order: the pairs.
        seed: seeds the augmentation of each draw.
        start: draws of this process to leave out in the first epoch iterated (they were made before a stop).
        fixed: visit the same pairs in each epoch: validations must be comparable.
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

    def __iter__(self) -> Iterator[Draw]:
        start = self.start if self.epoch == self._resumed_epoch else 0
        for k in range(start, len(self)):
            position = self.rank + k * self.world
            i, j = self.order.pair(self.epoch, position)
            yield Draw(i, j, item_seed(self.seed, self.epoch, position))
