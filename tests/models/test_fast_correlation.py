"""Sliding against the plain grouped convolution, against numerical gradients, and its choices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coseg.models import fast_correlation
from coseg.models.correlation import DepthwiseCorrelation
from coseg.models.fast_correlation import direct, forward_way, kernel_gradient_way, slide

MAPS = [(8, 8), (9, 13), (32, 32), (17, 64), (3, 40)]
KERNELS = [(1, 1), (3, 3), (5, 5), (7, 7), (13, 13), (15, 15), (17, 17), (25, 25), (33, 33), (3, 17)]
SETTINGS = {"dtype": torch.float64}


def tensors(height: int, width: int, s: int, t: int, **settings: object) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    shapes = ((2, 3, height, width), (2, 3, s, t), (2, 3, height, width))
    return tuple(torch.randn(shape, **settings) for shape in shapes)  # type: ignore[call-overload, return-value]


def close(found: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("size", MAPS, ids=str)
def test_equals_the_grouped_convolution_and_its_gradients(size: tuple[int, int], kernel: tuple[int, int]) -> None:
    f, k, g = tensors(*size, *kernel)
    plain = [each.clone().requires_grad_() for each in (f, k)]
    ours = [each.clone().requires_grad_() for each in (f, k)]
    wanted, found = direct(*plain), slide(*ours)
    close(found, wanted)
    wanted.backward(g)
    found.backward(g)
    for x, y in zip(ours, plain, strict=True):
        assert x.grad is not None and y.grad is not None
        close(x.grad, y.grad)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (7, 3), (15, 15), (33, 33)], ids=str)
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (20, 4)], ids=str)
def test_each_way_computes_the_same(
    size: tuple[int, int], kernel: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    f, k, g = tensors(*size, *kernel, **SETTINGS)
    monkeypatch.setattr(fast_correlation, "PART", 3000)  # several parts, the last one smaller
    wanted = direct(f, k.requires_grad_())
    (wanted_gradient,) = torch.autograd.grad(wanted, k, g)
    k.requires_grad_(False)
    for way in (fast_correlation.padded, fast_correlation.fourier):
        close(way(f, k), wanted, 1e-12)
    for gradient_way in (fast_correlation.tiles_kernel_gradient, fast_correlation.fourier_kernel_gradient):
        close(gradient_way(f, g, *kernel), wanted_gradient, 1e-12)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (7, 3), (15, 15)], ids=str)
@pytest.mark.parametrize("size", [(3, 4), (9, 8)], ids=str)
def test_numerical_gradients(size: tuple[int, int], kernel: tuple[int, int]) -> None:
    f, k, _ = tensors(*size, *kernel, **SETTINGS)
    inputs = f[:1, :1].requires_grad_(), k[:1, :1].requires_grad_()
    assert torch.autograd.gradcheck(slide, inputs)
    assert torch.autograd.gradgradcheck(slide, inputs, fast_mode=True)


def test_numerical_gradients_by_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coseg.models.fast_correlation._many_products", lambda *_: True)
    f, k, _ = tensors(9, 8, 15, 15, **SETTINGS)
    inputs = f[:1, :1].requires_grad_(), k[:1, :1].requires_grad_()
    assert torch.autograd.gradcheck(slide, inputs)
    assert torch.autograd.gradgradcheck(slide, inputs, fast_mode=True)


def test_choices() -> None:
    names = [
        (forward_way(n, n, s, s).__name__, kernel_gradient_way(n, n, s, s).__name__.removesuffix("_kernel_gradient"))
        for n, s in ((32, 7), (12, 13), (32, 15), (32, 17), (64, 33))
    ]
    assert names == [
        ("direct", "tiles"),
        ("direct", "tiles"),
        ("padded", "tiles"),
        ("padded", "tiles"),
        ("fourier", "fourier"),
    ]


@pytest.mark.parametrize("size", [5, 17, 33])
def test_bfloat16_and_autocast(size: int) -> None:
    f, k, g = tensors(32, 32, size, size)
    halves = [each.bfloat16().requires_grad_() for each in (f, k)]
    wide = [each.detach().float().requires_grad_() for each in halves]
    found, wanted = slide(*halves), slide(*wide)
    assert found.dtype == torch.bfloat16
    close(found.float(), wanted, 2e-2)
    found.backward(g.bfloat16())
    wanted.backward(g.bfloat16().float())
    for x, y in zip(halves, wide, strict=True):
        assert x.grad is not None and y.grad is not None and x.grad.dtype == torch.bfloat16
        close(x.grad.float(), y.grad, 2e-2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(slide(f, k), slide(f.bfloat16(), k.bfloat16()))
        assert slide(f.double(), k.double()).dtype == torch.float64


@pytest.mark.parametrize("size", [5, 17])
def test_channels_last_and_repeated_runs_change_nothing(size: int) -> None:
    f, k, g = tensors(16, 20, size, size)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last, torch.contiguous_format):
        inputs = [each.clone().contiguous(memory_format=layout).requires_grad_() for each in (f, k)]
        result = slide(*inputs)
        result.backward(g.contiguous(memory_format=layout))
        results.append((result, *(each.grad for each in inputs)))
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))  # type: ignore[arg-type]


def test_only_the_gradients_asked_for() -> None:
    f, k, _ = tensors(8, 8, 5, 5)
    f.requires_grad_()
    slide(f, k).sum().backward()
    assert f.grad is not None and k.grad is None


@pytest.mark.parametrize("pooling", ["average", "max", "strided"])
def test_kernels_larger_than_the_map(pooling: str) -> None:
    base, other = torch.rand(1, 2, 6, 5), torch.rand(1, 2, 3, 4)
    layer = DepthwiseCorrelation([33], pooling=pooling, normalization="none")
    (kernel,) = layer.kernels(other)
    # Position i of a kernel's axis of 33 is the features' floor(33 positions, spread): they repeat, in order.
    assert kernel.shape == (1, 2, 33, 33)
    torch.testing.assert_close(kernel[..., ::16, ::32], other[..., :, ::3])
    middle = kernel[..., 11:22, 12:21]  # 2 H - 1 by 2 W - 1; beyond it, a kernel meets nothing
    torch.testing.assert_close(layer.correlate(base, [kernel]), direct(base, middle))


@pytest.mark.slow
@pytest.mark.parametrize("size", [5, 17])
def test_compiles_whole_with_its_gradients(size: int) -> None:
    f, k, g = tensors(16, 16, size, size)
    inputs = f.requires_grad_(), k.requires_grad_()
    wanted = slide(*inputs)
    try:
        found = torch.compile(slide, fullgraph=True)(*inputs)
    except torch._inductor.exc.InductorError as error:  # type: ignore[attr-defined]
        pytest.skip(f"no working compiler: {error}")
    close(found, wanted)
    for x, y in zip(torch.autograd.grad(found, inputs, g), torch.autograd.grad(wanted, inputs, g), strict=True):
        close(x, y)
