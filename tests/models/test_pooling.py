"""Pooling against torch's adaptive pooling, loops and hand-computed numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from coseg.errors import CosegError
from coseg.models.pooling import pool

SIZES = [(1, 1), (2, 3), (5, 7), (12, 12), (33, 17)]


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_average_and_max_are_torch_s_adaptive_pooling(shape: tuple[int, int], size: int) -> None:
    features = torch.randn(2, 3, *shape)
    torch.testing.assert_close(pool(features, size, "average"), F.adaptive_avg_pool2d(features, size))
    assert torch.equal(pool(features, size, "max"), F.adaptive_max_pool2d(features, size))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("size", [1, 3, 7])
def test_strided_takes_the_position_nearest_to_the_middle_of_each_bin(shape: tuple[int, int], size: int) -> None:
    features = torch.randn(2, 3, *shape)
    rows, columns = ([int((i + 0.5) * n / size) for i in range(size)] for n in shape)
    assert torch.equal(pool(features, size, "strided"), features[:, :, rows][..., columns])


def test_by_hand() -> None:
    row = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 10.0, 12.0]).expand(1, 1, 7, 7)
    # Bins of 7 positions in 3: 0..2, 2..4, 4..6; their middles 1, 3, 5.
    assert pool(row, 3, "average")[0, 0, 1].tolist() == pytest.approx([1, 3, 26 / 3])
    assert pool(row, 3, "max")[0, 0, 1].tolist() == [2, 4, 12]
    assert pool(row, 3, "strided")[0, 0, 1].tolist() == [1, 3, 10]


@pytest.mark.parametrize("pooling", ["average", "max", "strided"])
def test_gradient(pooling: str) -> None:
    features = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: pool(f, 3, pooling), features)


def test_unknown_pooling() -> None:
    with pytest.raises(CosegError, match="Did you mean 'average'"):
        pool(torch.rand(1, 1, 3, 3), 3, "averag")
