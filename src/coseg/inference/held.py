"""The features of a group that wait for their turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import torch
from torch import Tensor

FULL_BYTES = 512 * 2**20
"""Past this, features wait on the host, in half precision."""


class HeldFeatures(Sequence[Any]):
    """A growing list of features, which gives each on `device` and in the precision that it came in.

    Small ones stay as they are. Once they take more than `full_bytes`, all of them are held on the host in half
    precision: the features of 200 images of 1024 x 768 pixels in 512 channels at a stride of 16 then take 0.6 GB.
    """

    def __init__(self, device: torch.device, full_bytes: int = FULL_BYTES) -> None:
        self.device = device
        self.full_bytes = full_bytes
        self.bytes = 0
        self.half = False
        self._held: list[Any] = []
        self._types: list[Any] = []

    def append(self, features: Any) -> None:
        """Add what `encode` gave for one image."""
        self._types.append(_each(features, lambda tensor: tensor.dtype))
        self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in _tensors(features))
        if not self.half and self.bytes > self.full_bytes:
            self.half = True
            self._held = [_each(held, _packed) for held in self._held]
        self._held.append(_each(features, _packed) if self.half else features)

    def __len__(self) -> int:
        return len(self._held)

    @overload
    def __getitem__(self, k: int) -> Any: ...

    @overload
    def __getitem__(self, k: slice) -> list[Any]: ...

    def __getitem__(self, k: int | slice) -> Any:
        if isinstance(k, slice):
            return [self[place] for place in range(*k.indices(len(self)))]
        return _unpacked(self._held[k], self._types[k], self.device) if self.half else self._held[k]


def _each(features: Any, job: Any) -> Any:
    return job(features) if isinstance(features, Tensor) else tuple(_each(part, job) for part in features)


def _tensors(features: Any) -> Iterator[Tensor]:
    if isinstance(features, Tensor):
        yield features
    else:
        for part in features:
            yield from _tensors(part)


def _packed(tensor: Tensor) -> Tensor:
    tensor = tensor.cpu()
    limit = torch.finfo(torch.float16).max
    return tensor.clamp(-limit, limit).half() if tensor.is_floating_point() else tensor


def _unpacked(held: Any, types: Any, device: torch.device) -> Any:
    if isinstance(held, Tensor):
        return held.to(device=device, dtype=types)
    return tuple(_unpacked(part, each, device) for part, each in zip(held, types, strict=True))
