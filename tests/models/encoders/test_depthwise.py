from __future__ import annotations

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from coseg.models.encoders.depthwise import (
    DepthwiseConv2d,
    DepthwiseConv2dSame,
    depthwise_convolution,
    kernel_gradient,
    maps_gradient,
    quicken_depthwise,
)
from coseg.models.encoders.timm import TimmEncoder

KERNELS = [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (9, 2)]


def gradients(conv: nn.Conv2d, maps: Tensor) -> tuple[Tensor, ...]:
    maps = maps.clone().requires_grad_()
    result = conv(maps)
    (result * torch.linspace(-1, 1, result.numel()).view_as(result)).sum().backward()
    assert maps.grad is not None and conv.weight.grad is not None
    return result.detach(), maps.grad, conv.weight.grad, *([] if conv.bias is None else [conv.bias.grad])


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(("side", "stride"), KERNELS)
@pytest.mark.parametrize("autocast", [False, True])
def test_results_and_gradients_are_torchs(side: int, stride: int, same: bool, autocast: bool) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 8, 13, 10)
    layer, padding = (Conv2dSame, 0) if same else (nn.Conv2d, side // 2)
    plain = layer(8, 8, side, stride, padding, groups=8)
    fast = nn.Sequential(layer(8, 8, side, stride, padding, groups=8))
    quicken_depthwise(fast)
    assert type(fast[0]) is (DepthwiseConv2dSame if same else DepthwiseConv2d)
    fast[0].load_state_dict(plain.state_dict())
    expected = gradients(plain, maps)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        actual = gradients(fast[0], maps)
    for ours, torchs in zip(actual, expected, strict=True):
        error = (ours.float() - torchs).abs().max() / torchs.abs().max()
        assert ours.shape == torchs.shape and error < (2e-2 if autocast else 1e-6)


@pytest.mark.parametrize(("side", "stride"), KERNELS)
def test_half_precision_is_as_exact_as_its_numbers(side: int, stride: int) -> None:
    """Against the gradients in float64 of the same rounded numbers: one rounding, of the result."""
    torch.manual_seed(1)
    maps, kernel = torch.randn(2, 8, 15, 12).bfloat16(), torch.randn(8, 1, side, side).bfloat16()
    wide = [value.double().requires_grad_() for value in (maps, kernel)]
    result = nn.functional.conv2d(*wide, None, stride, side // 2, 1, 8)
    gradient = torch.randn(result.shape).bfloat16()
    result.backward(gradient.double())
    for gradient_of, value in zip((maps_gradient, kernel_gradient), wide, strict=True):
        ours = gradient_of(gradient, maps, kernel, stride, side // 2)
        assert ours.dtype == torch.bfloat16 and value.grad is not None
        assert (ours - value.grad).abs().max() / value.grad.abs().max() < 2**-7


def test_gradients_can_be_differentiated() -> None:
    torch.manual_seed(2)
    maps = torch.randn(1, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(2, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda f, k: depthwise_convolution(f, k, 2, 2), (maps, kernel))


def test_only_what_fits_is_replaced_and_names_stay() -> None:
    other = [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(4, 4, 3, dilation=2, groups=4)]
    other += [nn.Conv2d(4, 4, 1, groups=4), nn.Conv2d(4, 4, 3, padding="same", groups=4)]
    network = nn.Sequential(*other, nn.Conv2d(4, 4, 3, padding=1, groups=4))
    names = list(network.state_dict())
    quicken_depthwise(network)
    assert [type(layer) for layer in network] == [nn.Conv2d] * len(other) + [DepthwiseConv2d]
    assert list(network.state_dict()) == names


def test_encoders_of_timm_have_them() -> None:
    encoder = TimmEncoder("tf_efficientnet_lite0", [1, 2, 3, 4])
    depthwise = [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    assert depthwise and all(isinstance(layer, DepthwiseConv2d | DepthwiseConv2dSame) for layer in depthwise)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("layer", [nn.Conv2d, Conv2dSame])
def test_functional_gradients_and_torchscript(layer: type[nn.Conv2d]) -> None:
    torch.manual_seed(3)
    fast = nn.Sequential(layer(4, 4, 3, stride=2, groups=4))
    quicken_depthwise(fast)
    maps, weights = torch.randn(1, 4, 9, 8), {name: value.detach() for name, value in fast.named_parameters()}
    found = torch.func.grad(lambda given: torch.func.functional_call(fast, given, (maps,)).square().sum())(weights)
    fast(maps).square().sum().backward()
    for name, value in fast.named_parameters():
        torch.testing.assert_close(found[name], value.grad)
    torch.testing.assert_close(torch.jit.script(fast)(maps), fast(maps))
