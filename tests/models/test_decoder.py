"""The decoder's sizes and widths."""

from __future__ import annotations

import pytest
import torch

from coseg.errors import CosegError
from coseg.models.decoder import Decoder


def widths(decoder: Decoder) -> list[int]:
    return [layer.out_channels for layer in decoder.blocks if isinstance(layer, torch.nn.Conv2d)]


@pytest.mark.parametrize("stride", [2, 8, 12, 14, 16, 32])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_logits_are_stride_times_larger(stride: int, batch_norm: bool) -> None:
    decoder = Decoder(24, stride, batch_norm=batch_norm)
    assert decoder(torch.rand(2, 24, 3, 2)).shape == (2, 2, 3 * stride, 2 * stride)
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in decoder.blocks) == batch_norm


def test_widths_halve_from_the_encoder_s_and_end_at_sixteen() -> None:
    assert widths(Decoder(1024, 16, features=512)) == [256, 128, 64, 32]
    assert widths(Decoder(512, 16)) == [256, 128, 64, 32]
    assert widths(Decoder(128, 16)) == [64, 32, 16, 16]
    assert widths(Decoder(4096, 14, features=2048)) == [256, 128, 64, 32]
    assert widths(Decoder(8, 8, channels=[12, 5, 7])) == [12, 5, 7]


@pytest.mark.parametrize("channels", [[8], [8, 8, 0], [8, 8, 2.5], 8, "8"])
def test_channels_are_checked(channels: object) -> None:
    with pytest.raises(CosegError, match=r"model\.decoder_channels is .* list of 3 positive numbers"):
        Decoder(8, 8, channels=channels)  # type: ignore[arg-type]
