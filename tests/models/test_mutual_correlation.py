from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coseg.errors import CosegError
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.mutual_correlation import MutualCorrelationNetwork, mutual_correlation


def naive(base: Tensor, other: Tensor, reach: int) -> Tensor:
    """The definition, a scalar product at a time."""
    side = 2 * reach + 1
    result = torch.zeros(base.shape[0], side, side, *base.shape[-2:], dtype=base.dtype)
    for y in range(base.shape[-2]):
        for x in range(base.shape[-1]):
            for v in range(other.shape[-2]):
                for u in range(other.shape[-1]):
                    d, e = v - y, u - x
                    if max(abs(d), abs(e)) <= reach:
                        result[:, d + reach, e + reach, y, x] = (base[:, :, y, x] * other[:, :, v, u]).mean(1)
    return result.flatten(1, 2)


@pytest.mark.parametrize("shape", [(4, 4), (4, 5), (1, 1), (6, 3)])
@pytest.mark.parametrize("reach", [0, 1, 3, 7])
def test_correlation_is_the_naive_loop(shape: tuple[int, int], reach: int) -> None:
    base, other = torch.randn(2, 3, 4, 5, dtype=torch.double), torch.randn(2, 3, *shape, dtype=torch.double)
    torch.testing.assert_close(mutual_correlation(base, other, reach), naive(base, other, reach))


def test_gradient_of_the_correlation() -> None:
    maps = [torch.randn(1, 2, *shape, dtype=torch.double, requires_grad=True) for shape in ((3, 2), (2, 4))]
    assert torch.autograd.gradcheck(lambda a, b: mutual_correlation(a, b, 2), maps)


def test_correlations_of_both_sides_hold_the_same_products() -> None:
    a, b = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    there, back = mutual_correlation(a, b, 3), mutual_correlation(b, a, 3)
    torch.testing.assert_close(there.flatten().sort().values, back.flatten().sort().values)


def published() -> MutualCorrelationNetwork:
    with torch.device("meta"):
        return MutualCorrelationNetwork(VGG16Encoder(batch_norm=False, stride=32))


def test_published_size() -> None:
    network = published()
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(69.3e6, rel=1e-3)
    assert network.decoder.blocks[0][0].in_channels == 512 + 961
    with torch.device("meta"):
        features = network.encode(torch.empty(1, 3, 512, 512))
        assert features.shape == (1, 1024, 16, 16)
        assert mutual_correlation(features, features, network.reach).shape == (1, 961, 16, 16)


@pytest.mark.parametrize(("size", "stride", "displacements"), [(64, 8, 225), (96, 16, 121), (100, 32, 49), (16, 16, 1)])
def test_displacements_follow_from_the_input_size(size: int, stride: int, displacements: int) -> None:
    network = MutualCorrelationNetwork(VGG16Encoder(width=0.125, stride=stride), input_size=size)
    assert network.decoder.blocks[0][0].in_channels == 64 + displacements
    with torch.no_grad():
        logits, _ = network.eval()(torch.rand(1, 3, 30, 50), torch.rand(1, 3, 20, 20))
    assert logits.shape == (1, 2, 30, 50)


def test_width_goes_with_the_encoder_or_is_given() -> None:
    encoder = VGG16Encoder(width=0.25, stride=8)
    assert MutualCorrelationNetwork(encoder, input_size=32).feature_channels == 256
    assert MutualCorrelationNetwork(encoder, input_size=32, width=0.5).feature_channels == 512
    widths = [
        layer.out_channels
        for layer in MutualCorrelationNetwork(encoder, input_size=32).decoder.blocks
        if isinstance(layer, torch.nn.ConvTranspose2d)
    ]
    assert widths == [64, 32, 16]  # those of the other networks' decoders at this encoder


def test_smaller_inputs_than_its_own_fit() -> None:
    """As they come when training goes through growing input sizes."""
    network = MutualCorrelationNetwork(VGG16Encoder(width=0.125, stride=8), input_size=64).eval()
    network.input_size = 32
    with torch.no_grad():
        assert network.encode(torch.rand(1, 3, 64, 64)).shape[-2:] == (4, 4)
        assert network(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 40, 32))[1].shape == (1, 2, 40, 32)


def test_it_needs_an_input_size_and_a_width() -> None:
    with pytest.raises(CosegError, match=r"model\.input_size.*null"):
        MutualCorrelationNetwork(VGG16Encoder(width=0.125), input_size=None)
    with pytest.raises(CosegError, match=r"model\.width.*'0'"):
        MutualCorrelationNetwork(VGG16Encoder(width=0.125), width=0)
    with pytest.raises(CosegError, match=r"model\.decoder_channels.*\[8\]"):
        MutualCorrelationNetwork(VGG16Encoder(width=0.125), decoder_channels=[8])
