"""Values of label maps and of target maps, and how a pair's common classes turn the one into the other.

A label map says which class a pixel belongs to: 0 background, k + 1 class k, 255 void. A target map says what the pixel
is for a pair: `BACKGROUND`, `COMMON`, `OTHER` or `VOID`. Torch is imported only where tensors are handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

BACKGROUND = 0
"""Pixels that belong to no class."""

COMMON = 1
"""Target value of the pixels of a pair's common classes: its foreground."""

OTHER = 2
"""Target value of the pixels of a class that the partner lacks: background, but salient."""

VOID = 255
"""Pixels without a label: the border around objects in VOC."""


def target_table(common: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The look-up table, uint8 (256,), from labels to target values for the common classes, bool (K,)."""
    table = np.full(256, OTHER, np.uint8)
    table[BACKGROUND] = BACKGROUND
    table[VOID] = VOID
    table[1 : 1 + len(common)][common] = COMMON
    return table


def labels_of(classes: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The labels of the classes that are True in bool (K,)."""
    return np.flatnonzero(classes) + 1


def pair_targets(labels: Tensor, common: Tensor) -> Tensor:
    """The target maps of label maps for the common classes of their pairs.

    Args:
        labels: uint8 (B, H, W): 0 background, k + 1 class k, 255 void.
        common: bool (B, K), on any device.

    Returns:
        uint8 (B, H, W): 0 background, 1 common object, 2 other object, 255 void.
    """
    import torch

    tables = torch.full((len(common), 256), OTHER, dtype=torch.uint8, device=labels.device)
    tables[:, BACKGROUND], tables[:, VOID] = BACKGROUND, VOID
    tables[:, 1 : 1 + common.shape[1]].masked_fill_(common.to(labels.device), COMMON)
    return tables.gather(1, labels.flatten(1).long()).view_as(labels)
