"""Sliding kernels: the sums of a plain loop, and values and gradients of torch's own convolution, in whatever way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from coseg.models import sliding
from coseg.models.sliding import slide

SIZES = (1, 3, 5, 7, 9, 13, 15, 17, 21, 25, 27, 33)


def plain(base: Tensor, kernel: Tensor) -> Tensor:
    """One grouped convolution, with torch's own gradient."""
    batch, channels, height, width = base.shape
    groups, (rows, columns) = batch * channels, kernel.shape[-2:]
    weight = kernel.reshape(groups, 1, rows, columns)
    found = F.conv2d(base.reshape(1, groups, height, width), weight, padding=(rows // 2, columns // 2), groups=groups)
    return found.view_as(base)


def drawn(size: tuple[int, ...], kernel: tuple[int, int], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(sum(size) + sum(kernel))
    shapes = size, (*size[:2], *kernel)
    first, second = (torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes)
    return first, second


def close(found: Tensor, expected: Tensor) -> None:
    """To 1e-4 of the largest number."""
    scale = expected.abs().max().item()
    torch.testing.assert_close(found, expected, atol=1e-4 * scale, rtol=0)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 5), (15, 3), (27, 5)])
def test_is_the_sum_of_a_loop(kernel: tuple[int, int]) -> None:
    base, weight = drawn((1, 2, 6, 9), kernel, torch.float64)
    expected = torch.zeros_like(base)
    (r, t), (height, width) = (size // 2 for size in kernel), base.shape[-2:]
    for z in range(2):
        for y in range(height):
            for x in range(width):
                for v in range(-r, r + 1):
                    for u in range(-t, t + 1):
                        if 0 <= y + v < height and 0 <= x + u < width:
                            expected[0, z, y, x] += (base[0, z, y + v, x + u] * weight[0, z, v + r, u + t]).detach()
    torch.testing.assert_close(slide(base, weight), expected)


@pytest.mark.parametrize("size", [(2, 3, 8, 8), (1, 4, 17, 14), (2, 2, 33, 40), (1, 2, 64, 64), (2, 2, 1, 5)])
@pytest.mark.parametrize("s", SIZES)
def test_values_and_gradients_are_torch_s(size: tuple[int, ...], s: int) -> None:
    base, kernel = drawn(size, (s, s))
    gradient = torch.randn(size, generator=torch.Generator().manual_seed(1))
    expected, found = plain(base, kernel), slide(base, kernel)
    close(found, expected)
    with torch.no_grad():
        close(slide(base, kernel), expected)
    wanted = torch.autograd.grad(expected, (base, kernel), gradient)
    for one, other in zip(torch.autograd.grad(found, (base, kernel), gradient), wanted, strict=True):
        close(one, other)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 7), (15, 3), (3, 27)])
def test_gradients_and_their_gradients(kernel: tuple[int, int]) -> None:
    inputs = drawn((1, 2, 15, 4) if kernel[0] == 5 else (1, 1, 9, 14), kernel, torch.float64)
    assert torch.autograd.gradcheck(slide, inputs)
    assert torch.autograd.gradgradcheck(slide, inputs)
    for alone in range(2):  # only one of them asks for its gradient
        fixed = [each.detach().requires_grad_(k == alone) for k, each in enumerate(inputs)]
        assert torch.autograd.gradcheck(slide, fixed)


@pytest.mark.parametrize("s", [3, 7, 17, 27])
def test_bfloat16_and_channels_last(s: int) -> None:
    base, kernel = drawn((2, 8, 16, 20), (s, s))
    expected = slide(base, kernel)
    with torch.autocast("cpu", torch.bfloat16):
        found = slide(base, kernel)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.03 * expected.abs().max().item(), rtol=0)
    wanted = torch.autograd.grad(expected.sum(), (base, kernel))
    for one, other in zip(torch.autograd.grad(found.float().sum(), (base, kernel)), wanted, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, atol=0.03 * other.abs().max().item(), rtol=0)
    close(slide(base.to(memory_format=torch.channels_last), kernel), expected)


def test_the_kernel_s_size_alone_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[str] = []

    def told(name: str) -> None:
        way = getattr(sliding, name)
        monkeypatch.setattr(sliding, name, lambda *inputs, **more: (ways.append(name), way(*inputs, **more))[1])

    for name in ("_convolved", "_fourier_slide", "_slid"):
        told(name)
    expected = {1: [], 3: ["_convolved"], 5: ["_slid", "_convolved"], 13: ["_slid", "_convolved"]}
    expected |= {15: ["_slid", "_convolved", "_convolved"], 27: ["_fourier_slide"]}
    for s, wanted in expected.items():
        ways.clear()
        slide(torch.rand(1, 1, 20, 20), torch.rand(1, 1, s, s))
        assert ways == wanted
    ways.clear()
    slide(torch.rand(1, 1, 2, 2), torch.rand(1, 1, 33, 33))  # no more than 3 x 3 of it reaches the map
    assert ways == ["_convolved"]


@pytest.mark.parametrize("n", [1, 7, 11, 35, 61])
def test_lengths_of_transforms(n: int) -> None:
    found = sliding._fast(n)
    assert found >= n and found % 2 == 0
    assert not [each for each in range(n + n % 2, found, 2) if _smooth(each)] and _smooth(found)


def _smooth(number: int) -> bool:
    return max(p for p in range(1, number + 1) if number % p == 0 and all(p % q for q in range(2, p))) <= 5
