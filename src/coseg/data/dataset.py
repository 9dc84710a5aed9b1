"""Pairs of a catalog as tensors: decode, look up the common classes, augment."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from coseg.data.catalog import BACKGROUND, VOID, Catalog

COMMON = 1
"""Target value of the pixels of a pair's common classes: its foreground."""

OTHER = 2
"""Target value of the pixels of a class that the partner lacks: background, but salient."""

Transform = Callable[[NDArray[np.uint8], NDArray[np.uint8], int], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""``(image, target, seed) -> (image, target)``, a pure function of its arguments."""


class Draw(NamedTuple):
    """One pair of an epoch: images ``i < j`` of the catalog, and the seed of its augmentation."""

    i: int
    j: int
    seed: int


class PairBatch(TypedDict):
    """B pairs.

    `image_a`, `image_b`: uint8 (B, 3, H, W) and (B, 3, H', W').
    `target_a`, `target_b`: uint8 (B, H, W) and (B, H', W'): 0 background, 1 common, 2 other object, 255 void.
    `pair`: int64 (B, 2), the indices of the two images in the catalog.
    `common`: bool (B, K), the classes that both images hold.
    """

    image_a: Tensor
    image_b: Tensor
    target_a: Tensor
    target_b: Tensor
    pair: Tensor
    common: Tensor


def target_table(common: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The 256-entry look-up table from labels to target values for the common classes `common`, bool (K,)."""
    table = np.full(256, OTHER, np.uint8)
    table[BACKGROUND] = BACKGROUND
    table[VOID] = VOID
    table[1 : 1 + len(common)][common] = COMMON
    return table


class PairDataset(Dataset[PairBatch]):
    """Map-style data set whose keys are `Draw`s, so that an item depends on its key alone.

    Whatever process makes an item, and whenever, it is the same: any number of workers gives the same numbers.

    Args:
        catalog: the images.
        transform: applied to each image of a pair on its own; None leaves images at their original size.
    """

    def __init__(self, catalog: Catalog, transform: Transform | None = None) -> None:
        self.catalog = catalog
        self.transform = transform

    def __getitem__(self, draw: Draw) -> PairBatch:
        i, j, seed = draw
        common = self.catalog.presence[i] & self.catalog.presence[j]
        table = target_table(common)
        image_a, target_a = self._side(i, table, 2 * seed)
        image_b, target_b = self._side(j, table, 2 * seed + 1)
        return PairBatch(
            image_a=image_a,
            image_b=image_b,
            target_a=target_a,
            target_b=target_b,
            pair=torch.tensor([i, j]),
            common=torch.from_numpy(common),
        )

    def _side(self, i: int, table: NDArray[np.uint8], seed: int) -> tuple[Tensor, Tensor]:
        image, target = self.catalog.image(i), table[self.catalog.labels(i)]
        if self.transform is not None:
            image, target = self.transform(image, target, seed)
        channels_first = np.ascontiguousarray(image.transpose(2, 0, 1))
        return torch.from_numpy(channels_first), torch.from_numpy(np.ascontiguousarray(target))


def collate(items: list[PairBatch]) -> PairBatch:
    """Stack items into a batch. All images of a side must have one size."""
    batch: PairBatch = default_collate(items)
    return batch
