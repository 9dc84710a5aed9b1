"""Depth-wise correlation of maps with their own kernels, forward and backward in the fastest way for the shape.

With maps f, g (H, W) and a kernel k (s, t) of odd sides, r = (s // 2, t // 2), and zeros outside the map, this computes
c(p) = Σ_q f(p + q - r) k(q), and its gradient for k given that for c, d(q) = Σ_p f(p + q - r) g(p). The maps of a batch
and its channels are independent, so on CPUs they are processed in parts that stay in the processor's caches; what is
allocated beyond the result is the workspace of one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

PART = 2**19
"""Numbers of padded maps that are worked on at once, 2 MiB in float32."""

TILE_ROWS = 8
"""Rows of the output's gradient that make a kernel in `tiles_kernel_gradient`."""


def slide(base: Tensor, kernel: Tensor) -> Tensor:
    r"""Correlate each channel of base (B, C, H, W) with its own kernel (B, C, s, t), s and t odd: (B, C, H, W).

    .. math:: c(y, x) = \sum_{v, u} f(y + v - \lfloor s/2 \rfloor, x + u - \lfloor t/2 \rfloor) \, k(v, u),

    where f is zero outside the map. Differentiable twice and more. What of a kernel can meet no position of the map
    (beyond 2 H - 1 by 2 W - 1) is cut off and has gradient zero. Under autocast as a convolution: in its data type.

    The way depends on nothing but the shapes and the kind of device, so that equal runs give equal numbers. On CPUs it
    is `forward_way` and `kernel_gradient_way`, and the gradient for the base is one more correlation, of the output's
    gradient with the turned kernel. On other devices, and for kernels to 3 x 3, it is one grouped convolution and
    torch's own gradients; with 1 x 1 it is a product.
    """
    device = base.device.type
    if torch.is_autocast_enabled(device) and torch.float64 not in (base.dtype, kernel.dtype):
        dtype = torch.get_autocast_dtype(device)
        base, kernel = base.to(dtype), kernel.to(dtype)
    kernel = _touching(kernel, *base.shape[-2:])
    if kernel.shape[-2:] == (1, 1):
        return base * kernel
    base, kernel = base.contiguous(), kernel.contiguous()
    if device != "cpu" or max(kernel.shape[-2:]) <= 3:
        return direct(base, kernel)
    if not (torch.is_grad_enabled() and (base.requires_grad or kernel.requires_grad)):
        return forward_way(*base.shape[-2:], *kernel.shape[-2:])(base, kernel)
    result: Tensor = _Slide.apply(base, kernel)
    return result


def forward_way(height: int, width: int, s: int, t: int) -> Callable[[Tensor, Tensor], Tensor]:
    """How maps of height x width are correlated with kernels of s x t on CPUs.

    Torch's grouped convolution is fast where it pads up to 6 itself, that is to 13 x 13; after, padding beforehand is.
    """
    if max(s, t) <= 13:
        return direct
    return fourier if _many_products(height, width, s, t) else padded


def kernel_gradient_way(height: int, width: int, s: int, t: int) -> Callable[[Tensor, Tensor, int, int], Tensor]:
    """How the gradient for the kernels is computed on CPUs."""
    return fourier_kernel_gradient if _many_products(height, width, s, t) else tiles_kernel_gradient


def _many_products(height: int, width: int, s: int, t: int) -> bool:
    """Whether a product for each position and kernel element is more work than transforms of the padded maps.

    The factor lies between the measured cases: products are faster with 25 x 25 on 32 x 32 maps (330), transforms
    with 33 x 33 on 24 x 24 (392, equal), 25 x 25 on 64 x 64 (443) and 33 x 33 on 32 x 32 (484).
    """
    return s * t * height * width > 390 * (height + s // 2) * (width + t // 2)


def _touching(kernel: Tensor, height: int, width: int) -> Tensor:
    """The middle of the kernel that reaches from a position of the map to another one."""
    for axis, n in ((-2, height), (-1, width)):
        beyond = (kernel.shape[axis] - (2 * n - 1)) // 2
        if beyond > 0:
            kernel = kernel.narrow(axis, beyond, 2 * n - 1)
    return kernel


class _Slide(Function):
    """Forward and gradients by the chosen ways; both gradients are correlations, so they differentiate again."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(base, kernel)
        return forward_way(*base.shape[-2:], *kernel.shape[-2:])(base, kernel)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        base, kernel = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_base = _Slide.apply(gradient, kernel.flip(2, 3)) if ctx.needs_input_grad[0] else None
        of_kernel = _KernelGradient.apply(base, gradient, *kernel.shape[-2:]) if ctx.needs_input_grad[1] else None
        return of_base, of_kernel


class _KernelGradient(Function):
    @staticmethod
    def forward(ctx: Any, base: Tensor, gradient: Tensor, s: int, t: int) -> Tensor:
        ctx.save_for_backward(base, gradient)
        way = kernel_gradient_way(base.shape[-2], base.shape[-1], s, t)
        return way(base, gradient, s, t)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # type: ignore[override]
        base, gradient = ctx.saved_tensors
        outer = outer.contiguous()
        of_base = _Slide.apply(gradient, outer.flip(2, 3)) if ctx.needs_input_grad[0] else None
        of_gradient = _Slide.apply(base, outer) if ctx.needs_input_grad[1] else None
        return of_base, of_gradient, None, None


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
