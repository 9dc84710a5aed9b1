from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from coseg.models.blocks import ConvBlock, ReflectConv2d, normalised
from coseg.models.padding import pad_by_reflection


def test_reflection() -> None:
    image = torch.arange(6.0).view(1, 1, 2, 3)
    padded = pad_by_reflection(image, 2, 1, 0, 1)
    assert padded[0, 0].tolist() == [[2, 1, 0, 1, 2, 1], [5, 4, 3, 4, 5, 4], [2, 1, 0, 1, 2, 1]]


def test_a_short_axis_repeats_its_border() -> None:
    image = torch.tensor([[1.0, 2.0, 3.0]]).view(1, 1, 1, 3)
    assert pad_by_reflection(image, 1, 0, 2, 1)[0, 0].tolist() == [[2, 1, 2, 3]] * 4


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_reflecting_convolution_is_torchs_on_large_maps(kernel_size: int) -> None:
    conv = ReflectConv2d(3, 5, kernel_size)
    torchs = nn.Conv2d(3, 5, kernel_size, padding=kernel_size // 2, padding_mode="reflect")
    torchs.load_state_dict(conv.state_dict())
    image = torch.randn(2, 3, 9, 8)
    torch.testing.assert_close(conv(image), torchs(image))
    assert conv(torch.randn(1, 3, 1, 2)).shape == (1, 5, 1, 2)


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_fresh_blocks_keep_the_size_of_their_signal(slope: float) -> None:
    torch.manual_seed(0)
    signal: Tensor = torch.randn(4, 64, 16, 16)
    up = nn.ConvTranspose2d(64, 64, 4, 2, 1)
    with torch.no_grad():
        for block in (ConvBlock(64, 64, 5, False, slope), nn.Sequential(up, *normalised(up, 64, False, slope))):
            inner = block(signal)[..., 4:-4, 4:-4]
            assert inner.square().mean().sqrt().item() == pytest.approx(1, abs=0.1)
