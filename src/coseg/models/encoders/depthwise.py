"""Depth-wise convolutions whose gradients CPUs compute faster in half precision than by torch's own way.

Torch's is slow for the maps of strided convolutions, and for kernels beyond 3 x 3. Here the former is computed in
float32, the latter is put together from windows of 3 x 3. In float32 torch's is fast, in channels-last layout.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame, conv2d_same, pad_same
from torch import Tensor, nn
from torch.autograd import Function

WINDOW = 3
"""The side of kernels for which torch's own gradient is fast."""


def depthwise_convolution(maps: Tensor, kernel: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """Convolve each channel of maps (B, C, H, W) with its own kernel (C, 1, s, s): (B, C, H', W').

    On CPUs the result is in channels-last layout, in which all of it is several times as fast. Under autocast as a
    convolution: in its data type.
    """
    device = maps.device.type
    if torch.is_autocast_enabled(device) and torch.float64 not in (maps.dtype, kernel.dtype):
        dtype = torch.get_autocast_dtype(device)
        maps, kernel = maps.to(dtype), kernel.to(dtype)
    result: Tensor = _Depthwise.apply(maps.contiguous(memory_format=torch.channels_last), kernel, stride, padding)
    return result


class _Depthwise(Function):
    @staticmethod
    def forward(maps: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:  # type: ignore[override]
        return F.conv2d(maps, kernel, None, stride, padding, 1, len(kernel))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Apart from `forward`, as `torch.func` needs it."""
        maps, kernel, ctx.stride, ctx.padding = inputs
        ctx.save_for_backward(maps, kernel)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # type: ignore[override]
        maps, kernel = ctx.saved_tensors
        of_maps, of_kernel = ctx.needs_input_grad[:2]
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if torch.is_grad_enabled():  # the gradient is to be differentiated: torch's own can be
            both = _torch_gradients(gradient, maps, kernel, ctx.stride, ctx.padding, of_maps, of_kernel)
            return *both, None, None
        for_maps = maps_gradient(gradient, maps, kernel, ctx.stride, ctx.padding) if of_maps else None
        for_kernel = kernel_gradient(gradient, maps, kernel, ctx.stride, ctx.padding) if of_kernel else None
        return for_maps, for_kernel, None, None


def maps_gradient(gradient: Tensor, maps: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
    """The gradient for `maps`, given that for the output; of `maps` itself only the shape is used."""
    dtype = maps.dtype
    if stride > 1 and dtype.itemsize < 4:
        maps = torch.empty_like(maps, dtype=torch.float32)
        gradient, kernel = gradient.float(), kernel.float()
    result: Tensor = _torch_gradients(gradient, maps, kernel, stride, padding, True, False)[0].to(dtype)
    return result


def kernel_gradient(gradient: Tensor, maps: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
    """The gradient for `kernel`, given that for the output; in half precision in windows of 3 x 3."""
    side = kernel.shape[-1]
    result: Tensor
    if side <= WINDOW or kernel.dtype.itemsize >= 4:
        result = _torch_gradients(gradient, maps, kernel, stride, padding, False, True)[1]
        return result
    maps = F.pad(maps, (padding,) * 4) if padding else maps
    # The rows and columns of the maps that a window meets at its place in the kernel.
    rows, columns = ((n - 1) * stride + WINDOW for n in gradient.shape[-2:])
    starts = [*range(0, side - WINDOW, WINDOW), side - WINDOW]
    window = kernel[:, :, :WINDOW, :WINDOW].contiguous()
    result = torch.empty_like(kernel)
    for top in starts:
        for left in starts:
            part = maps[:, :, top : top + rows, left : left + columns].contiguous(memory_format=torch.channels_last)
            of_window = _torch_gradients(gradient, part, window, stride, 0, False, True)[1]
            result[:, :, top : top + WINDOW, left : left + WINDOW] = of_window
    return result


def _torch_gradients(
    gradient: Tensor, maps: Tensor, kernel: Tensor, stride: int, padding: int, of_maps: bool, of_kernel: bool
) -> tuple[Any, Any]:
    """Torch's own for maps and kernel; None for what is not asked for."""
    for_maps, for_kernel, _ = torch.ops.aten.convolution_backward(
        gradient, maps, kernel, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(kernel),
        [of_maps, of_kernel, False],
    )  # fmt: skip
    return for_maps, for_kernel


class DepthwiseConv2d(nn.Conv2d):
    """A depth-wise `torch.nn.Conv2d`, of the same parameters and results, that is quicker to train on CPUs."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H', W')."""
        if torch.jit.is_scripting():
            return self._conv_forward(input, self.weight, self.bias)
        else:  # not compiled by TorchScript, which skips no code behind a return
            if not _trains_on_cpu(input, self.weight):
                return super().forward(input)
            padding = int(self.padding[0])
            return _with_bias(depthwise_convolution(input, self.weight, self.stride[0], padding), self.bias)


class DepthwiseConv2dSame(Conv2dSame):
    """The same for timm's convolution with the padding of TensorFlow, which depends on the size of the maps."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, ceil(H / stride), ceil(W / stride))."""
        if torch.jit.is_scripting():
            padding, stride, dilation = self.padding, self.stride, self.dilation
            return conv2d_same(input, self.weight, self.bias, stride, padding, dilation, self.groups)  # type: ignore[arg-type]
        else:
            if not _trains_on_cpu(input, self.weight):
                return super().forward(input)
            padded = pad_same(input, list(self.kernel_size), list(self.stride))
            return _with_bias(depthwise_convolution(padded, self.weight, self.stride[0]), self.bias)


def _trains_on_cpu(maps: Tensor, weight: Tensor) -> bool:
    recorded = torch.is_grad_enabled() and (maps.requires_grad or weight.requires_grad)
    eager = not (torch.compiler.is_compiling() or torch.jit.is_tracing())
    return recorded and eager and maps.ndim == 4 and maps.device.type == weight.device.type == "cpu"


def _with_bias(maps: Tensor, bias: Tensor | None) -> Tensor:
    return maps if bias is None else maps + bias.to(maps.dtype).view(-1, 1, 1)


_FAST = {nn.Conv2d: DepthwiseConv2d, Conv2dSame: DepthwiseConv2dSame}


def quicken_depthwise(network: nn.Module) -> None:
    """Make the depth-wise convolutions of `network` those of this module, in place: parameters and names stay."""
    for module in network.modules():
        fast = _FAST.get(type(module))
        if fast is not None and isinstance(module, nn.Conv2d) and _fits(module):
            module.__class__ = fast


def _fits(conv: nn.Conv2d) -> bool:
    """Whether `conv` is depth-wise, square with an odd side of 3 or more, not dilated, and padded by zeros."""
    side = conv.kernel_size[0]
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and conv.groups > 1
        and conv.kernel_size == (side, side)
        and side >= WINDOW
        and side % 2 == 1
        and conv.stride[0] == conv.stride[1]
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and conv.padding[0] == conv.padding[1] < side
    )
