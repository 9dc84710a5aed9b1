from __future__ import annotations

import math

import pytest
import torch

from coseg.errors import CosegError
from coseg.models.base import CosegNetwork
from coseg.models.encoders.base import Encoder
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.semantic_attention import ATTENTIONS, SemanticAttentionNetwork


def made(attention: str = "channel", **settings: object) -> SemanticAttentionNetwork:
    torch.manual_seed(0)
    return SemanticAttentionNetwork(VGG16Encoder(width=0.125, stride=8), attention, **settings).eval()  # type: ignore[arg-type]


def by_hand(network: SemanticAttentionNetwork, features: torch.Tensor) -> list[float]:
    """The attention of one image (C, h, w), a number at a time."""
    first, second = network.learner[0], network.learner[2]
    means = [sum(channel.flatten().tolist()) / channel.numel() for channel in features]
    hidden = [
        math.tanh(sum(w * m for w, m in zip(row, means, strict=True)) + bias)
        for row, bias in zip(first.weight.tolist(), first.bias.tolist(), strict=True)
    ]
    return [
        1 / (1 + math.exp(-sum(w * h for w, h in zip(row, hidden, strict=True)) - bias))
        for row, bias in zip(second.weight.tolist(), second.bias.tolist(), strict=True)
    ]


def test_attention_by_hand() -> None:
    network = made(hidden=5)
    features = torch.randn(2, 64, 2, 3)
    with torch.no_grad():
        found = network.attend(features)
    for k in range(2):
        assert found[k].tolist() == pytest.approx(by_hand(network, features[k]), rel=1e-4)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_what_is_selected_by_hand(attention: str) -> None:
    network = made(attention)
    features, own, other = torch.randn(1, 64, 2, 3), torch.rand(1, 64), torch.rand(1, 64)
    with torch.no_grad():
        found = network.select(features, own, other)
        for y in range(2):
            for x in range(3):
                wanted = features[0, :, y, x] * other[0]
                if attention == "fused":
                    wanted = wanted * own[0]
                if attention == "channel_spatial":
                    layer = network.spatial
                    assert layer is not None and layer.bias is not None
                    score = (layer.weight.flatten() * wanted).sum().item() + layer.bias.item()
                    wanted = wanted / (1 + math.exp(-score))
                torch.testing.assert_close(found[0, :, y, x], wanted)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_group_is_decoded_once_an_image_from_the_mean_attention_of_the_others(attention: str) -> None:
    network = made(attention)
    features = [network.encode(torch.rand(1, 3, 24, 24 + 8 * k)).detach() for k in range(3)]
    sizes = [(24, 24 + 8 * k) for k in range(3)]
    calls = []
    network.decoder.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        group = list(network.cosegment_group(features, sizes))
        assert len(calls) == 3
        attend = [network.attend(each) for each in features]
        others = (attend[0] + attend[2]) / 2
        (wanted,) = network.decode((network.select(features[1], attend[1], others),), (sizes[1],))
    torch.testing.assert_close(group[1], wanted)
    assert not torch.allclose(group[1], list(CosegNetwork.cosegment_group(network, features, sizes))[1], atol=1e-6)


def test_published_size() -> None:
    with torch.device("meta"):
        network = SemanticAttentionNetwork(VGG16Encoder(batch_norm=False, stride=32))
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(32.7e6, rel=1e-3)
    assert [layer.out_features for layer in (network.learner[0], network.learner[2])] == [4096, 512]


def test_wide_encoders_and_strides_that_are_no_power_of_two() -> None:
    with torch.device("meta"):
        wide = SemanticAttentionNetwork(Encoder(torch.nn.Conv2d(3, 2048, 14, 14), 2048, 14))
        logits, _ = wide(torch.empty(2, 3, 30, 28), torch.empty(2, 3, 28, 28))
    assert logits.shape == (2, 2, 30, 28)
    assert wide.learner[0].out_features == 4096
    assert sum(parameter.numel() for parameter in wide.decoder.parameters()) < 16e6


def test_settings_are_checked() -> None:
    with pytest.raises(CosegError, match=r"model\.attention.*'chanel'.*'channel'"):
        made("chanel")
    with pytest.raises(CosegError, match=r"model\.hidden.*'0'"):
        made(hidden=0)
