"""Batches of training pairs, and how they come from the processes that make them: in one block of shared memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from coseg.errors import CosegError

if TYPE_CHECKING:
    from coseg.data.dataset import PairBatch

_ALIGNMENT = 8
"""Bytes of the largest number in a batch: each tensor of a block begins at a multiple."""


def collate(items: Sequence[PairBatch]) -> PairBatch:
    """Stack items into a batch.

    Raises:
        CosegError: images of a side have several sizes.
    """
    for side in ("a", "b"):
        require_one_size([item[f"image_{side}"] for item in items])  # type: ignore[literal-required]
    fields = [cast("dict[str, Tensor]", item) for item in items]
    stacked = {name: [item[name][None] for item in fields] for name in fields[0]}
    return cast("PairBatch", joined(stacked))


def require_one_size(images: Sequence[Tensor]) -> None:
    """Check that images (..., H, W) of a batch can be stacked.

    Raises:
        CosegError: they have several sizes.
    """
    sizes = list(dict.fromkeys(f"{height} x {width}" for height, width in (image.shape[-2:] for image in images)))
    if len(sizes) > 1:
        raise CosegError(
            f"The images of a training batch have several sizes ({', '.join(sizes[:4])}): give an augmentation that "
            "crops or resizes them to one, augmentation=[albumentations.Resize(128, 128)] of PairDataModule say, or "
            "take batches of one pair."
        )


def joined(parts: Mapping[str, Sequence[Tensor]]) -> Any:
    """The batch of which `parts` has pieces of each tensor, joined along the first dimension.

    In a worker it is a block that arrives as the batch: torch sends each tensor in a shared file of its own, which
    takes more time than making a batch of small images.
    """
    if get_worker_info() is None:
        return {name: torch.cat(tuple(pieces)) for name, pieces in parts.items()}
    return _Block(parts)


class _Block(dict[str, Tensor]):
    """A batch whose tensors lie one after the other; unpickled, it is a plain dictionary of views into one block."""

    def __init__(self, parts: Mapping[str, Sequence[Tensor]]) -> None:
        self.layout: list[tuple[str, torch.dtype, tuple[int, ...]]] = []
        for name, pieces in parts.items():
            shape = (sum(map(len, pieces)), *pieces[0].shape[1:])
            self.layout.append((name, pieces[0].dtype, shape))
        size = sum(_space(dtype, shape) for _, dtype, shape in self.layout)
        shared = torch.UntypedStorage._new_shared(size)  # as torch's own default_collate does
        self.bytes = torch.empty(0, dtype=torch.uint8).set_(shared)  # type: ignore[call-overload]
        self.views = _views(self.bytes, self.layout)
        for name, view in self.views.items():
            torch.cat(tuple(parts[name]), out=view)
        super().__init__(self.views)

    def __reduce__(self) -> tuple[Any, ...]:
        # A user's collate function may have put other tensors into the batch, or taken some out.
        same = list(self) == list(self.views) and all(self[name] is view for name, view in self.views.items())
        return (_views, (self.bytes, self.layout)) if same else (dict, (dict(self),))


def _views(block: Tensor, layout: list[tuple[str, torch.dtype, tuple[int, ...]]]) -> dict[str, Tensor]:
    views, start = {}, 0
    for name, dtype, shape in layout:
        count = math.prod(shape) * dtype.itemsize
        views[name] = block[start : start + count].view(dtype).view(shape)
        start += _space(dtype, shape)
    return views


def _space(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    """The bytes of a tensor, rounded up so that what follows is aligned."""
    return -(-math.prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT
