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

Images = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Transform = Callable[[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.intp], int], Images]
"""``(image, labels, wanted, seed) -> (image, labels)``, a pure function of its arguments.

`wanted` are the labels of which one should stay in the picture: those of the common classes.
"""


class Draw(NamedTuple):
    """One pair of an epoch: images ``i < j`` of the catalog, and the seed of its augmentation."""

    i: int
    j: int
    seed: int


class PairBatch(TypedDict):
    """B pairs.

    `image_a`, `image_b`: uint8 (B, 3, H, W) and (B, 3, H', W').
    `target_a`, `target_b`: uint8 (B, H, W) and (B, H', W'): 0 background, 1 common, 2 other object, 255 void.
    `labels_a`, `labels_b`: likewise, the label maps: 0 background, k + 1 class k, 255 void.
    `pair`: int64 (B, 2), the indices of the two images in the catalog.
    `common`: bool (B, K), the classes that both images hold.
    """

    image_a: Tensor
    image_b: Tensor
    target_a: Tensor
    target_b: Tensor
    labels_a: Tensor
    labels_b: Tensor
    pair: Tensor
    common: Tensor


def target_table(common: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The 256-entry look-up table from labels to target values for the common classes `common`, bool (K,)."""
    table = np.full(256, OTHER, np.uint8)
    table[BACKGROUND] = BACKGROUND
    table[VOID] = VOID
    table[1 : 1 + len(common)][common] = COMMON
    return table


def labels_of(classes: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The labels of the classes that bool (K,) marks."""
    return np.flatnonzero(classes) + 1


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
        image_a, labels_a = self._side(i, common, 2 * seed)
        image_b, labels_b = self._side(j, common, 2 * seed + 1)
        table = target_table(common)
        return PairBatch(
            image_a=torch.from_numpy(np.ascontiguousarray(image_a.transpose(2, 0, 1))),
            image_b=torch.from_numpy(np.ascontiguousarray(image_b.transpose(2, 0, 1))),
            target_a=torch.from_numpy(table[labels_a]),
            target_b=torch.from_numpy(table[labels_b]),
            labels_a=torch.from_numpy(np.ascontiguousarray(labels_a)),
            labels_b=torch.from_numpy(np.ascontiguousarray(labels_b)),
            pair=torch.tensor([i, j]),
            common=torch.from_numpy(common),
        )

    def _side(self, i: int, common: NDArray[np.bool_], seed: int) -> Images:
        image, labels = self.catalog.image(i), self.catalog.labels(i)
        return (image, labels) if self.transform is None else self.transform(image, labels, labels_of(common), seed)


class ImageItem(NamedTuple):
    """One image of a catalog at its original size.

    Attributes:
        i: its index in the catalog.
        image: uint8 (3, H, W).
        labels: uint8 (H, W), the label map.
    """

    i: int
    image: Tensor
    labels: Tensor


class ImageDataset(Dataset[ImageItem]):
    """The images of a catalog, decoded."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def __getitem__(self, i: int) -> ImageItem:
        image = np.ascontiguousarray(self.catalog.image(i).transpose(2, 0, 1))
        labels = np.ascontiguousarray(self.catalog.labels(i))
        return ImageItem(i, torch.from_numpy(image), torch.from_numpy(labels))


def pair_targets(labels: Tensor, common: Tensor) -> Tensor:
    """The target maps of B label maps, uint8 (B, H, W), for the common classes of their pairs, bool (B, K)."""
    tables = torch.full((len(common), 256), OTHER, dtype=torch.uint8, device=labels.device)
    tables[:, BACKGROUND], tables[:, VOID] = BACKGROUND, VOID
    tables[:, 1 : 1 + common.shape[1]].masked_fill_(common.to(labels.device), COMMON)
    return tables.gather(1, labels.flatten(1).long()).view_as(labels)


def collate(items: list[PairBatch]) -> PairBatch:
    """Stack items into a batch. All images of a side must have one size."""
    batch: PairBatch = default_collate(items)
    return batch
