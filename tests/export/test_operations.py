"""Operations whose sizes enter as numbers are those of the networks."""

from __future__ import annotations

import pytest
import torch

from coseg.export.operations import padded_to_multiple, pooled, reflected, slid
from coseg.models.correlation import POOLINGS, pool
from coseg.models.encoders.base import pad_by_reflection, pad_to_multiple
from coseg.models.fast_correlation import slide

SIZES = [(1, 1), (2, 9), (7, 3), (12, 16)]


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
