"""Subsampling of a feature map of any size to a kernel of a fixed size."""

from __future__ import annotations

import torch
from torch import Tensor

from coseg.errors import unknown_choice

POOLINGS = ("average", "max", "strided")


def pool(features: Tensor, size: int, pooling: str) -> Tensor:
    """Subsample (B, C, H, W) to (B, C, size, size).

    Bin i of an axis of n positions spans floor(i n / size) .. ceil((i + 1) n / size), torch's adaptive bins: where
    the map is smaller than the kernel, positions repeat.

    ``average`` and ``max`` are of each bin; ``strided`` takes the position nearest to its middle,
    floor((i + 1/2) n / size). The first and last are products with matrices: these have, unlike torch's adaptive
    pooling, a deterministic gradient on GPUs.

    Raises:
        CosegError: `pooling` is none of `POOLINGS`.
    """
    if pooling == "max":
        for axis in (-2, -1):
            bins = [(i * features.shape[axis] // size, -((i + 1) * -features.shape[axis] // size)) for i in range(size)]
            parts = [features.narrow(axis, start, stop - start).amax(axis) for start, stop in bins]
            features = torch.stack(parts, axis)
        return features
    rows, columns = (weights(n, size, pooling, features.device).to(features.dtype) for n in features.shape[-2:])
    return rows @ features @ columns.T


def weights(n: int, size: int, pooling: str, device: torch.device) -> Tensor:
    """The matrix (size, n) that makes a kernel's axis of a map's, for ``average`` and ``strided``.

    Raises:
        CosegError: `pooling` is none of `POOLINGS`.
    """
    if pooling not in POOLINGS:
        raise unknown_choice("model.pooling", pooling, POOLINGS)
    return _average(n, size, device) if pooling == "average" else _strided(n, size, device)


def bins(n: int, size: int, device: torch.device) -> Tensor:
    """Which of n positions are in each of the bins of `pool`, bool (size, n)."""
    i = torch.arange(size, device=device)[:, None]
    position = torch.arange(n, device=device)
    return (position >= i * n // size) & (position * size < (i + 1) * n)


def _average(n: int, size: int, device: torch.device) -> Tensor:
    inside = bins(n, size, device)
    return inside / inside.sum(1, keepdim=True)


def _strided(n: int, size: int, device: torch.device) -> Tensor:
    middle = (2 * torch.arange(size, device=device)[:, None] + 1) * n // (2 * size)
    return (torch.arange(n, device=device) == middle).float()
