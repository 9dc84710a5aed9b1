"""Features as `CosegNetwork.encode` gives them: a tensor, or nested tuples of tensors, the deepest level last.

In each tensor the first dimension is the batch. What uses features beside the network itself (hold them, join the
features of several images, take some rows of a batch) does it by these functions, whatever the network's levels are.

>>> import torch
>>> features = torch.zeros(2, 8, 16, 16), torch.zeros(2, 64, 4, 4)
>>> [tuple(level.shape) for level in concatenate([features, features])]
[(4, 8, 16, 16), (4, 64, 4, 4)]
>>> size_in_bytes(features)
24576
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coseg.errors import CosegError

if TYPE_CHECKING:
    from coseg.models.base import CosegNetwork, Size


def map_levels(function: Callable[..., Any], features: Any, *alike: Any) -> Any:
    """`function` of each tensor, in the same tuples.

    Args:
        function: of a tensor and, for each of `alike`, what stands at the same place there.
        features: tensors in nested tuples.
        alike: nested tuples of the same form.

    Raises:
        CosegError: the features are neither.
    """
    if isinstance(features, Tensor):
        return function(features, *alike)
    return tuple(map_levels(function, *parts) for parts in zip(_parts(features), *alike, strict=True))


def tensors(features: Any) -> Iterator[Tensor]:
    """All tensors, the deepest level last."""
    if isinstance(features, Tensor):
        yield features
    else:
        for part in _parts(features):
            yield from tensors(part)


def _parts(features: Any) -> Sequence[Any]:
    if isinstance(features, tuple | list) and features:
        return features
    raise CosegError(
        f"The features of a network are a {type(features).__name__}, but `encode` must give a tensor, or tuples of "
        "tensors, with the batch first."
    )


def deepest(features: Any) -> Tensor:
    """The last tensor, which is that of the deepest level."""
    while not isinstance(features, Tensor):
        features = _parts(features)[-1]
    return features


def size_in_bytes(features: Any) -> int:
    """The memory that the values take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors(features))


def halves(features: Any) -> tuple[Any, Any]:
    """The first and the second half of a batch."""
    return map_levels(lambda level: level.chunk(2)[0], features), map_levels(lambda level: level.chunk(2)[1], features)


def take(features: Any, rows: Tensor) -> Any:
    """The features at these positions of a batch, int64 (P,); a position may be taken several times."""
    return map_levels(lambda level: torch.index_select(level, 0, rows), features)


def concatenate(features: Sequence[Any]) -> Any:
    """One batch of several; a single one comes back as it is."""
    first, *rest = features
    return map_levels(lambda *levels: torch.cat(levels), first, *rest) if rest else first


def repeat(features: Any, times: int) -> Any:
    """A batch of one as a batch of `times`, without a copy."""
    return map_levels(lambda level: level.expand(times, *level.shape[1:]), features)


def inherits(network: CosegNetwork, owner: type[CosegNetwork], *methods: str) -> bool:
    """Whether these methods of a network are those of `owner`, so that it reads the features that `owner` makes.

    A subclass with a method of its own expects the features of `encode`, whatever its base class makes for itself.
    """
    return all(getattr(type(network), name) is getattr(owner, name) for name in methods)


def means_of_others(values: Sequence[Tensor]) -> list[Tensor]:
    """For each of two or more images the mean of the `values` of all others, summed in float32."""
    total = torch.stack([value.float() for value in values]).sum(0)
    return [((total - value) / (len(values) - 1)).to(value.dtype) for value in values]


def group_logits(
    network: CosegNetwork, features: Sequence[Any], sizes: Sequence[Size], members: Sequence[int] | None = None
) -> Iterable[Tensor]:
    """`CosegNetwork.cosegment_group` of any network: one that does not take `members` computes all logits."""
    if members is None or "members" in signature(network.cosegment_group).parameters:
        return network.cosegment_group(features, sizes, *([] if members is None else [members]))
    wanted = set(members)
    return (logits for k, logits in enumerate(network.cosegment_group(features, sizes)) if k in wanted)


def dtypes(features: Any) -> Any:
    """The data type of each tensor, in the same tuples; see `restore`."""
    return map_levels(lambda level: level.dtype, features)


def to_half_on_cpu(features: Any) -> Any:
    """Floating-point values in half precision, clamped to its range, in the host's memory; other values as they are."""
    return map_levels(_half, features)


def restore(features: Any, types: Any, device: torch.device) -> Any:
    """Features of `to_half_on_cpu` on `device` in the data types that `dtypes` gave."""
    return map_levels(lambda level, dtype: level.to(device=device, dtype=dtype), features, types)


def _half(level: Tensor) -> Tensor:
    level = level.cpu()
    limit = torch.finfo(torch.float16).max
    return level.clamp(-limit, limit).half() if level.is_floating_point() else level
