"""The decoder's sizes and widths, and its blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from coseg.errors import CosegError
from coseg.models.decoder import (
    ConvBlock,
    Decoder,
    ReflectConv2d,
    enlarged_convolution,
    normalised,
    skip_levels,
    skip_modules,
    skip_strides,
)
from coseg.models.encoders.timm import TimmEncoder
from coseg.models.encoders.vgg import VGG16Encoder


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
    with pytest.raises(CosegError, match=r"model\.decoder_channels.*\b3\b"):
        Decoder(8, 8, channels=channels)  # type: ignore[arg-type]


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


def test_a_map_joins_where_the_decoder_has_reached_its_stride() -> None:
    decoder = Decoder(8, 16, skip_strides=[4, 8], skip_channels=3).eval()
    features, fine, coarse = torch.randn(2, 8, 2, 3), torch.randn(2, 3, 8, 12), torch.randn(2, 3, 4, 6)
    first, second, third, fourth = (nn.Sequential(*decoder.blocks[k : k + 4]) for k in range(0, 16, 4))
    with torch.no_grad():
        by_hand = third(torch.cat((second(torch.cat((first(features), coarse), 1)), fine), 1))
        torch.testing.assert_close(decoder(features, fine, coarse), decoder.logits(fourth(by_hand)))


def test_skips_are_of_the_levels_at_strides_of_4_and_8() -> None:
    encoder = VGG16Encoder(width=0.125, stride=16)
    assert [encoder.level_strides[k] for k in skip_levels(encoder)] == [4, 8] == skip_strides(encoder, 5)
    widths_of_levels = zip(skip_modules(encoder, 5), (32, 64), strict=True)
    assert [module(torch.rand(1, width, 2, 2)).shape[1] for module, width in widths_of_levels] == [5, 5]
    assert skip_modules(encoder, 0) == [] == skip_strides(encoder, 0)
    with pytest.raises(CosegError, match="skip_channels"):
        skip_modules(TimmEncoder("test_vit", [1]), 5)
    with pytest.raises(CosegError, match="skip_channels"):
        skip_modules(encoder, -1)


@pytest.mark.parametrize("stride", [2, 8, 14, 16])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize("part", [1, 2**24])
def test_evaluation_gives_what_the_layers_give_one_after_the_other(
    stride: int, size: tuple[int, int], part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coseg.models.decoder._PART", part)
    torch.manual_seed(0)
    decoder = Decoder(24, stride, skip_strides=(4,), skip_channels=3)
    decoder(torch.randn(3, 24, 4, 4), torch.randn(3, 3, stride, stride))  # statistics of batch norm
    features = torch.randn(2, 24, *size)
    skip = torch.randn(2, 3, *(side * stride // 4 for side in size))
    decoder.eval()
    with torch.no_grad():
        maps = features
        for position, layer in enumerate(decoder.blocks):
            maps = layer(maps)
            if position in decoder.joins:
                maps = torch.cat((maps, skip), 1)
        torch.testing.assert_close(decoder(features, skip), decoder.logits(maps), atol=1e-5, rtol=1e-5)
        parts = decoder.own_part(features[:, :17]), features[:, 17:]
        torch.testing.assert_close(decoder(parts[1], parts[0], skip), decoder.logits(maps), atol=1e-5, rtol=1e-5)


def test_gradients_in_evaluation_are_those_of_the_layers() -> None:
    torch.manual_seed(0)
    decoder = Decoder(8, 4).eval()
    gradients = []
    for decode in (decoder, lambda maps: decoder.logits(decoder.blocks(maps))):
        decoder.zero_grad()
        maps = torch.ones(1, 8, 3, 4, requires_grad=True)
        decode(maps).square().sum().backward()
        gradients.append([maps.grad, *(parameter.grad for parameter in decoder.parameters())])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(2, 2), (2, 5), (3, 4), (7, 6)])
def test_a_convolution_of_enlarged_maps_needs_none(size: tuple[int, int]) -> None:
    conv, maps = nn.Conv2d(5, 3, 3, padding=1), torch.randn(2, 5, *size)
    enlarged = nn.functional.interpolate(maps, scale_factor=2, mode="bilinear")
    with torch.no_grad():
        torch.testing.assert_close(enlarged_convolution(maps, conv), conv(enlarged), atol=1e-5, rtol=1e-5)
