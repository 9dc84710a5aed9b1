"""Operations of the networks, on maps whose size is known only when a graph runs: `coseg.export.graphs` uses them.

Tracing fixes what Python decides: ``if`` on a size, a loop over bins. Here sizes enter indices and masks instead, so
that one graph is right for every size. Each function names the operation that it is equal to.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.models.correlation import bins, weights
from coseg.models.decoder import ReflectConv2d


def reflected(maps: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Pad one axis of (B, C, H, W), as `coseg.models.encoders.base.pad_by_reflection`; `before` is at most `after`."""
    size = maps.shape[axis]
    place = torch.arange(before + size + after, device=maps.device) - before
    mirrored = (size - 1) - ((size - 1) - place.abs()).abs()
    repeated = place.clamp(min=0).clamp(max=size - 1)
    too_short = place * 0 + after >= size
    return maps.index_select(axis, torch.where(too_short, repeated, mirrored))


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
