"""Operations of the networks, on maps whose size is known only when a graph runs: `coseg.export.graphs` uses them.

Tracing fixes what Python decides: ``if`` on a size, a loop over bins. Here sizes enter indices and masks instead, so
that one graph is right for every size. Each function names the operation that it is equal to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.models.correlation import bins, weights
from coseg.models.decoder import ReflectConv2d
from coseg.models.encoders.base import Encoder, unit_range


def reflected(maps: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Pad one axis of (B, C, H, W), as `coseg.models.encoders.base.pad_by_reflection`; `before` is at most `after`."""
    size = maps.shape[axis]
    place = torch.arange(before + size + after, device=maps.device) - before
    mirrored = (size - 1) - ((size - 1) - place.abs()).abs()
    repeated = place.clamp(min=0).clamp(max=size - 1)
    too_short = place * 0 + after >= size
    return maps.index_select(axis, torch.where(too_short, repeated, mirrored))


def prepared(encoder: Encoder, images: Tensor) -> Tensor:
    """As `Encoder.prepare`."""
    return padded_to_multiple((unit_range(images) - encoder.mean) / encoder.std, encoder.stride)


def padded_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """As `coseg.models.encoders.base.pad_to_multiple`."""
    for axis in (-1, -2):
        size = images.shape[axis]
        images = reflected(images, axis, 0, (size + multiple - 1) // multiple * multiple - size)
    return images


class ReflectedConv2d(nn.Module):
    """As the `ReflectConv2d` that it is made from, whose parameters it shares."""

    def __init__(self, conv: ReflectConv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.border = conv.kernel_size[0] // 2

    def forward(self, maps: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        for axis in (-1, -2):
            maps = reflected(maps, axis, self.border, self.border)
        return F.conv2d(maps, self.weight, self.bias)


def replace_reflections(network: nn.Module) -> None:
    """Put a `ReflectedConv2d` in the place of each `ReflectConv2d` within a network."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, ReflectConv2d):
                setattr(module, name, ReflectedConv2d(child))


class SamePaddedConv2d(nn.Module):
    """As a convolution of timm that pads by TensorFlow's rule ``SAME``, where sides are multiples of its stride.

    The padding is a number then. By timm's own rule it is computed from sizes, and tracing it takes very long.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.stride, self.dilation, self.groups = conv.stride, conv.dilation, conv.groups
        self.pads: list[int] = []
        for side, step, apart in list(zip(conv.kernel_size, conv.stride, conv.dilation, strict=True))[::-1]:
            total = max((side - 1) * apart + 1 - step, 0)
            self.pads += [total // 2, total - total // 2]

    def forward(self, maps: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        maps = F.pad(maps, self.pads)
        return F.conv2d(maps, self.weight, self.bias, self.stride, dilation=self.dilation, groups=self.groups)


def replace_same_padding(network: nn.Module) -> None:
    """Put a `SamePaddedConv2d` in the place of each convolution of timm's that pads by the rule ``SAME``.

    The images of an encoder are padded to multiples of its stride, so every map is a multiple of what follows.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d) and type(child).__name__ == "Conv2dSame":
                setattr(module, name, SamePaddedConv2d(child))


def largest_means(values: Tensor, shares: Sequence[float]) -> Tensor:
    """The largest value on the last axis, and the means of the largest ``round(share * count)``, at least one.

    The numbers of values are data here: ranks are compared with them, in float64 as in Python.

    Args:
        values: (..., count), at least four.
        shares: of the values, each at most 1.

    Returns:
        (..., 1 + the number of shares).
    """
    count, most = values.shape[-1], max(shares)
    # One more than is needed, as many as there are at most, and never one, which tracing takes for a special case.
    kept = count if most > 1 / 3 else count * math.ceil(1000 * most) // 1000 + 2
    best = values.topk(kept, -1).values
    total = torch.ones((), dtype=torch.float64, device=values.device) * count
    rank = torch.arange(kept, device=values.device)
    means = [best[..., 0]]
    for share in shares:  # as a tensor: a number would enter an ONNX graph as float32
        number = (total * torch.tensor(share, dtype=torch.float64, device=values.device)).round().clamp(min=1)
        means.append((best * ((rank < number) / number).to(best.dtype)).sum(-1))
    return torch.stack(means, -1)


def pooled(features: Tensor, size: int, pooling: str) -> Tensor:
    """As `coseg.models.correlation.pool`; for ``max`` with a mask for each bin, whose bounds depend on the size.

    The others multiply and sum: products of matrices are traced with guesses on how a map lies in memory.
    """
    if pooling != "max":
        rows, columns = (weights(n, size, pooling, features.device) for n in features.shape[-2:])
        features = (features[:, :, None] * rows[..., None]).sum(-2)
        return (features[..., None, :] * columns).sum(-1)
    for axis in (-2, -1):
        inside = bins(features.shape[axis], size, features.device)
        if axis == -2:
            inside = inside[..., None]
        lowest = torch.full((), -torch.inf, dtype=features.dtype, device=features.device)
        parts = [torch.where(inside[i], features, lowest).amax(axis) for i in range(size)]
        features = torch.stack(parts, axis)
    return features


def slid(base: Tensor, kernel: Tensor) -> Tensor:
    """As `coseg.models.fast_correlation.slide`: shift, multiply, sum, a row of the kernel at a time.

    A grouped convolution would need as many groups as there are maps in the batch, which a graph has to fix.
    """
    (height, width), (s, t) = base.shape[-2:], kernel.shape[-2:]
    if (s, t) == (1, 1):
        return base * kernel
    maps = F.pad(base, (t // 2, t // 2, s // 2, s // 2))
    shifts = torch.arange(t, device=base.device)[:, None] + torch.arange(width, device=base.device)
    shifted = maps.index_select(-1, shifts.flatten()).unflatten(-1, (t, width))  # (B, C, H + s - 1, t, W)
    result = torch.zeros_like(base)
    for v in range(s):
        result = result + (shifted[:, :, v : height + v] * kernel[:, :, None, v, :, None]).sum(3)
    return result
