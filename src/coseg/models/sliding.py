"""Sliding a kernel over each channel of a feature map, as fast backward as forward.

A grouped convolution with a group for each channel of each image does it, but on CPUs its gradient with respect to the
kernels takes many times as long as its forward pass, and kernels of more than 13 x 13 fall off a cliff. Both are mended
by the same sums in other shapes; ``benchmarks/correlation.py`` measures them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

PLAIN = 3
"""The largest kernel whose gradient torch's own convolution computes fast on CPUs."""

DIRECT = 13
"""The largest kernel, in rows or columns, for which one grouped convolution is fast on CPUs."""

FOURIER = 27
"""From this size on, a product of Fourier transforms is faster than strips."""


def slide(base: Tensor, kernel: Tensor) -> Tensor:
    r"""The sums over a kernel at each position of a map, each channel by itself, zero outside the map.

    .. math:: c(b, z, y, x) = \sum_{v, u} f(b, z, y + v, x + u) \, k(b, z, v + r, u + r), \quad r = (s - 1) / 2

    What of a kernel reaches the map from no position is left out. Then the kernel's size alone decides, so that equal
    shapes are always computed in the same way:

    - 1 x 1: a product;
    - 3 x 3: one grouped convolution with B C groups, torch's own gradient;
    - up to 13 x 13: one grouped convolution with B C groups;
    - up to 25 x 25: one for each strip of at most 13 rows of the kernel, summed;
    - larger: a product of Fourier transforms, in float32 or float64.

    The gradient with respect to the map is the same with the kernel turned by 180 degrees. That with respect to the
    kernel correlates the map with a gradient as large as the map: strips of at most 13 rows of the gradient are the
    kernels of a grouped convolution over the rows of the map below them, and the results are summed (for 7 x 7 the
    strips of a 32 x 32 map take 1.9 times its memory); from 27 x 27 on it is a product of transforms, too. Elsewhere
    than on CPUs torch's own convolution does it all but for these largest kernels.

    Args:
        base: f, (B, C, H, W).
        kernel: k, (B, C, s, t), s and t odd.

    Returns:
        (B, C, H, W); under autocast in its type.
    """
    device = base.device.type
    if torch.is_autocast_enabled(device):
        base, kernel = (each.to(torch.get_autocast_dtype(device)) for each in (base, kernel))
    kernel = _reaching(kernel, base.shape[-2], base.shape[-1])
    largest = max(kernel.shape[-2:])
    if largest == 1:
        return base * kernel
    if largest >= FOURIER:
        return _fourier_slide(base, kernel)
    if device != "cpu" or largest <= PLAIN:
        return _convolved(base, kernel, padded=True)
    if not (torch.is_grad_enabled() and (base.requires_grad or kernel.requires_grad)):
        return _slid(base, kernel)
    result: Tensor = _Slide.apply(base, kernel)  # type: ignore[no-untyped-call]
    return result


class _Slide(torch.autograd.Function):
    """`_slid` with gradients that are made of itself and `_Windows`, so that they have gradients, too."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(base, kernel)
        return _slid(base, kernel)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        base, kernel = ctx.saved_tensors
        apply: Any = _Slide.apply, _Windows.apply
        to_base = apply[0](gradient, kernel.flip(-2, -1)) if ctx.needs_input_grad[0] else None
        to_kernel = apply[1](base, gradient, *kernel.shape[-2:]) if ctx.needs_input_grad[1] else None
        return to_base, to_kernel


class _Windows(torch.autograd.Function):
    """The gradient of `_Slide` with respect to the kernel: a map against a gradient, at the kernel's offsets."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, gradient: Tensor, rows: int, columns: int) -> Tensor:
        ctx.save_for_backward(base, gradient)
        batch, channels, height, width = base.shape
        each = _strip(height)
        count = -(-height // each)
        more = count * each - height  # rows of zeros, so that all strips are equal
        strips = F.pad(gradient, (0, 0, 0, more)).reshape(batch, channels * count, each, width)
        below = base.new_zeros(batch, channels, count, each + rows - 1, width + columns - 1)
        for number in range(count):
            start = number * each - rows // 2  # the first row of the map that the strip's windows touch
            first, last = max(0, start), min(height, start + each + rows - 1)
            place = below[:, :, number, first - start : last - start, columns // 2 : columns // 2 + width]
            place.copy_(base[:, :, first:last])
        parts = _convolved(below.view(batch, channels * count, *below.shape[-2:]), strips)
        return parts.view(batch, channels, count, rows, columns).sum(2, dtype=_wide(base)).to(base.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # type: ignore[override]
        base, other = ctx.saved_tensors
        apply: Any = _Slide.apply
        to_base = apply(other, gradient.flip(-2, -1)) if ctx.needs_input_grad[0] else None
        to_other = apply(base, gradient) if ctx.needs_input_grad[1] else None
        return to_base, to_other, None, None


def _slid(base: Tensor, kernel: Tensor) -> Tensor:
    """`slide` by convolutions, of kernels that reach the map."""
    rows, columns = kernel.shape[-2:]
    if max(rows, columns) <= DIRECT:
        return _convolved(base, kernel, padded=True)
    padded = F.pad(base, (columns // 2, columns // 2, rows // 2, rows // 2))
    each = _strip(rows)
    result = None
    for first in range(0, rows, each):
        strip = kernel[..., first : first + each, :]
        below = padded[..., first : first + base.shape[-2] + strip.shape[-2] - 1, :]
        part = _convolved(below, strip)
        result = part if result is None else result.add_(part)
    assert result is not None
    return result


def _reaching(kernel: Tensor, height: int, width: int) -> Tensor:
    """The part of a kernel that some position of the map lays over the map: at most 2 H - 1 x 2 W - 1."""
    for axis, n in ((-2, height), (-1, width)):
        beyond = max(0, (kernel.shape[axis] - (2 * n - 1)) // 2)
        kernel = kernel.narrow(axis, beyond, kernel.shape[axis] - 2 * beyond)
    return kernel


def _convolved(base: Tensor, kernel: Tensor, padded: bool = False) -> Tensor:
    """Each channel of each image with its own kernel; `padded` with zeros to the size of the map, or not at all."""
    batch, channels, rows, columns = kernel.shape
    groups = batch * channels
    images = base.reshape(1, groups, base.shape[-2], base.shape[-1])
    padding = (rows // 2, columns // 2) if padded else (0, 0)
    result = F.conv2d(images, kernel.reshape(groups, 1, rows, columns), padding=padding, groups=groups)
    return result.view(batch, channels, result.shape[-2], result.shape[-1])


def _strip(rows: int) -> int:
    """How many rows each of the fewest strips has that a convolution is fast for."""
    return -(-rows // -(-rows // DIRECT))


def _wide(like: Tensor) -> torch.dtype:
    """The type to add up, or to transform, numbers of this type in."""
    return torch.promote_types(like.dtype, torch.float32)


def _fourier_slide(base: Tensor, kernel: Tensor) -> Tensor:
    """`slide` as the product of a spectrum with a conjugate one, on a torus that is wide enough not to wrap."""
    height, width = base.shape[-2:]
    rows, columns = kernel.shape[-2:]
    size = _fast(height + rows // 2), _fast(width + columns // 2)
    kind = _wide(base)
    spread = F.pad(kernel.to(kind), (0, size[1] - columns, 0, size[0] - rows))
    centred = spread.roll((-(rows // 2), -(columns // 2)), (-2, -1))
    with torch.autocast(base.device.type, enabled=False):
        product = torch.fft.rfft2(base.to(kind), size) * torch.fft.rfft2(centred).conj()
        return torch.fft.irfft2(product, size)[..., :height, :width].to(base.dtype)


def _fast(least: int) -> int:
    """The next even number with no prime factor above 5: transforms of such lengths are fast."""
    number = least + least % 2
    while True:
        rest = number
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return number
        number += 2
