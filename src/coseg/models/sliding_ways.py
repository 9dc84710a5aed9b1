"""Ways to compute depth-wise correlation on CPUs, and its gradient for the kernel; `coseg.models.sliding` chooses.

With maps f, g (H, W) and a kernel k (s, t) of odd sides, r = (s // 2, t // 2), and zeros outside the map, they compute
c(p) = Σ_q f(p + q - r) k(q), or its gradient for k given that for c, d(q) = Σ_p f(p + q - r) g(p). The maps of a batch
and its channels are independent, so each way goes through them in parts that stay in the processor's caches; what it
allocates beyond its result is the workspace of one part.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

PART = 2**19
"""Numbers of padded maps that are worked on at once, 2 MiB in float32."""

TILE_ROWS = 8
"""Rows of the output's gradient that make a kernel in `tiles_kernel_gradient`."""


def direct(base: Tensor, kernel: Tensor) -> Tensor:
    """One grouped convolution of base (B, C, H, W) with kernel (B, C, s, t): (B, C, H, W)."""
    (batch, channels, height, width), (s, t) = base.shape, kernel.shape[-2:]
    maps = batch * channels
    weight = kernel.reshape(maps, 1, s, t)
    result = F.conv2d(base.reshape(1, maps, height, width), weight, padding=(s // 2, t // 2), groups=maps)
    return result.view(batch, channels, height, width)


def padded(base: Tensor, kernel: Tensor) -> Tensor:
    """As `direct`, but padded beforehand: convolutions that pad 7 or more themselves leave their fast path."""
    (height, width), (s, t) = base.shape[-2:], kernel.shape[-2:]
    f, k = base.reshape(-1, height, width), kernel.reshape(-1, 1, s, t)
    result = torch.empty_like(f)
    for part in _parts(len(f), (height + s - 1) * (width + t - 1)):
        maps = _pad(f[part], s, t)
        result[part] = F.conv2d(maps[None], k[part], groups=len(maps))[0]
    return result.view_as(base)


def fourier(base: Tensor, kernel: Tensor) -> Tensor:
    """As `direct`, by the correlation theorem; in float32 or float64."""
    (height, width), (s, t) = base.shape[-2:], kernel.shape[-2:]
    f, k = base.reshape(-1, height, width), kernel.reshape(-1, s, t)
    size = _spectrum_size(height, width, s, t)
    result = torch.empty_like(f)
    for part in _parts(len(f), size[0] * size[1]):
        middle_first = torch.roll(
            F.pad(_wide(k[part]), (0, size[1] - t, 0, size[0] - s)), (-(s // 2), -(t // 2)), (1, 2)
        )
        spectrum = torch.fft.rfft2(_wide(f[part]), size) * torch.fft.rfft2(middle_first, size).conj()
        result[part] = torch.fft.irfft2(spectrum, size)[:, :height, :width]
    return result.view_as(base)


def tiles_kernel_gradient(base: Tensor, gradient: Tensor, s: int, t: int) -> Tensor:
    """The gradient (B, C, s, t) from base and gradient, both (B, C, H, W), by grouped convolutions forward.

    Each strip of 8 rows of the gradient (all of them to 12 rows) is a kernel; their results are
    added. In float32 or float64 inside.
    """
    height, width = base.shape[-2:]
    rows = height if height <= 12 else TILE_ROWS  # small maps whole: two strips would be filled up with zeros
    tiles = -(-height // rows)
    below = tiles * rows - height
    f, g = base.reshape(-1, height, width), gradient.reshape(-1, height, width)
    result = f.new_empty(len(f), s, t)
    for part in _parts(len(f), tiles * (rows + s - 1) * (width + t - 1)):
        strips = F.pad(_wide(g[part]), (0, 0, 0, below)).reshape(-1, 1, rows, width)
        windows = _pad(_wide(f[part]), s, t, below).unfold(1, rows + s - 1, rows).transpose(2, 3)
        windows = windows.reshape(1, len(strips), rows + s - 1, width + t - 1)
        result[part] = F.conv2d(windows, strips, groups=len(strips)).view(-1, tiles, s, t).sum(1)
    return result.view(*base.shape[:2], s, t)


def fourier_kernel_gradient(base: Tensor, gradient: Tensor, s: int, t: int) -> Tensor:
    """As `tiles_kernel_gradient`, by the correlation theorem."""
    height, width = base.shape[-2:]
    f, g = base.reshape(-1, height, width), gradient.reshape(-1, height, width)
    size = _spectrum_size(height, width, s, t)
    result = f.new_empty(len(f), s, t)
    for part in _parts(len(f), size[0] * size[1]):
        spectrum = torch.fft.rfft2(_wide(f[part]), size) * torch.fft.rfft2(_wide(g[part]), size).conj()
        shifts = torch.fft.irfft2(spectrum, size)
        result[part] = torch.roll(shifts, (s // 2, t // 2), (1, 2))[:, :s, :t]
    return result.view(*base.shape[:2], s, t)


def _parts(maps: int, numbers: int) -> Iterator[slice]:
    step = max(1, PART // numbers)
    return (slice(start, start + step) for start in range(0, maps, step))


def _pad(maps: Tensor, s: int, t: int, below: int = 0) -> Tensor:
    return F.pad(maps, (t // 2, t // 2, s // 2, s // 2 + below))


def _wide(maps: Tensor) -> Tensor:
    return maps if maps.dtype == torch.float64 else maps.float()


def _spectrum_size(height: int, width: int, s: int, t: int) -> tuple[int, int]:
    """The period, quick to transform, from which on nothing wraps around onto what is kept."""
    return _quick(max(height + s // 2, s)), _quick(max(width + t // 2, t))


def _quick(n: int) -> int:
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1
