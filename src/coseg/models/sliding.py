"""Depth-wise correlation of maps with their own kernels, forward and backward in the fastest way for the shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from coseg.models.sliding_ways import (
    direct,
    fourier,
    fourier_kernel_gradient,
    padded,
    tiles_kernel_gradient,
)


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
