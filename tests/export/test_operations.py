"""Operations whose sizes enter as numbers are those of the networks."""

from __future__ import annotations

import pytest
import torch

from coseg.export.operations import (
    SamePaddedConv2d,
    largest_means,
    padded_to_multiple,
    pooled,
    reflected,
    replace_same_padding,
    slid,
)
from coseg.models.correlation import POOLINGS, pool
from coseg.models.encoders.base import pad_by_reflection, pad_to_multiple
from coseg.models.fast_correlation import slide

SIZES = [(1, 1), (2, 9), (7, 3), (12, 16)]


@pytest.mark.parametrize("count", [4, 5, 25, 75, 125, 576])  # also where a share of them is n and a half
@pytest.mark.parametrize("shares", [(0.02, 0.1), (0.2, 1.0)])
def test_means_of_the_largest(count: int, shares: tuple[float, ...]) -> None:
    values = torch.randn(2, 3, count, generator=torch.Generator().manual_seed(count))
    ranked = values.sort(-1, descending=True).values
    expected = [ranked[..., 0], *(ranked[..., : max(1, round(share * count))].mean(-1) for share in shares)]
    torch.testing.assert_close(largest_means(values, shares), torch.stack(expected, -1))


@pytest.mark.parametrize(("side", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 2, 1), (5, 1, 2), (1, 1, 1)])
def test_padding_of_tensorflow(side: int, stride: int, dilation: int) -> None:
    from timm.layers import Conv2dSame

    network = torch.nn.Sequential(Conv2dSame(4, 4, side, stride, dilation=dilation, groups=2))
    maps = torch.randn(2, 4, 8, 12)
    with torch.no_grad():
        expected = network(maps)
        replace_same_padding(network)
        assert type(network[0]) is SamePaddedConv2d
        torch.testing.assert_close(network(maps), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("multiple", [1, 8])
def test_images_are_padded_as_by_the_encoder(size: tuple[int, int], multiple: int) -> None:
    images = torch.rand(2, 3, *size)
    assert torch.equal(padded_to_multiple(images, multiple), pad_to_multiple(images, multiple))


@pytest.mark.parametrize("size", SIZES)
def test_borders_are_reflected_as_by_the_decoder(size: tuple[int, int]) -> None:
    maps = torch.rand(2, 3, *size)
    mine = reflected(reflected(maps, -1, 3, 3), -2, 3, 3)
    assert torch.equal(mine, pad_by_reflection(maps, 3, 3, 3, 3))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_kernels_are_pooled_as_by_the_network(size: tuple[int, int], pooling: str) -> None:
    features = torch.randn(2, 3, *size)
    for s in (1, 3, 5):
        assert torch.allclose(pooled(features, s, pooling), pool(features, s, pooling), atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 7)])
def test_kernels_slide_as_in_the_network(size: tuple[int, int], kernel: tuple[int, int]) -> None:
    base, kernels = torch.randn(2, 3, *size), torch.randn(2, 3, *kernel)
    assert torch.allclose(slid(base, kernels), slide(base, kernels), atol=1e-5)
