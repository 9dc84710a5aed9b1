from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from coseg.errors import CosegError
from coseg.models.channel_spatial_attention import ChannelSpatialAttentionNetwork
from coseg.models.encoders.base import Encoder
from coseg.models.encoders.vgg import VGG16Encoder


def made(**settings: object) -> ChannelSpatialAttentionNetwork:
    torch.manual_seed(0)
    settings = {"encoder": VGG16Encoder(width=0.125, stride=16)} | settings
    return ChannelSpatialAttentionNetwork(**settings).eval()  # type: ignore[arg-type]


def test_levels_of_the_encoder() -> None:
    network = made()
    images = torch.rand(1, 3, 64, 48)
    with torch.no_grad():
        low, high = network.encode(images)
        assert low.shape == (1, 32, 16, 12) and high.shape == (1, 64, 4, 3)
        torch.testing.assert_close(high, network.encoder(images))
    # conv3_3 after ReLU is the last at this stride
    assert isinstance(network.encoder.features, nn.Sequential)
    end = network.encoder.level_ends[0]
    assert network.encoder.level_strides[0] == 4 and isinstance(network.encoder.features[end], nn.MaxPool2d)


class Opaque(nn.Module):
    """Features that are no sequence of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 24, 14, 14)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images)  # type: ignore[no-any-return]


def test_encoders_without_a_low_level() -> None:
    network = made(encoder=Encoder(Opaque(), 24, 14))
    with torch.no_grad():
        assert len(network.encode(torch.rand(1, 3, 28, 28))) == 1
        assert network(torch.rand(1, 3, 30, 28), torch.rand(1, 3, 9, 9))[0].shape == (1, 2, 30, 28)
    assert len(made(low_level=False).encode(torch.rand(1, 3, 32, 32))) == 1


def test_attention_by_hand() -> None:
    network = made()
    low, high = torch.randn(1, 32, 5, 4), torch.randn(1, 64, 2, 3)
    other = torch.randn(1, 32, 3, 3), torch.randn(1, 64, 3, 3)
    with torch.no_grad():
        attention = network.attend(other)
        enhanced = network.enhance((low, high), attention)
    for k, features in enumerate((low, high)):
        first, last = network.channel_attention[k].layers[0], network.channel_attention[k].layers[2]  # type: ignore[index,union-attr]
        score = torch.zeros(features.shape[1])
        for pooled in (other[k][0].flatten(1).mean(1), other[k][0].flatten(1).max(1).values):
            score = score + last.weight @ (first.weight @ pooled + first.bias).clamp(min=0) + last.bias
        weight = 1 / (1 + torch.exp(-score))
        torch.testing.assert_close(attention[k][0], weight)
        selected = features[0] * weight[:, None, None]
        spatial = network.spatial_attention[k]
        height, width = features.shape[-2:]
        for y in range(height):
            for x in range(width):
                total = spatial.bias.item()  # type: ignore[union-attr,operator]
                for v in range(height):
                    for u in range(width):
                        if abs(v - y) <= 3 and abs(u - x) <= 3:
                            at = spatial.weight[0, :, v - y + 3, u - x + 3]  # type: ignore[index]
                            here = selected[:, v, u]
                            total += at[0].item() * here.mean().item() + at[1].item() * here.max().item()
                wanted = selected[:, y, x] / (1 + math.exp(-total))
                torch.testing.assert_close(enhanced[k][0, :, y, x], wanted, atol=1e-5, rtol=1e-4)


def test_the_low_level_makes_a_difference_where_it_joins() -> None:
    network = made()
    with torch.no_grad():
        low, high = network.encode(torch.rand(1, 3, 32, 32))
        changed = low.clone()
        changed[..., :2, :2] += 1
        difference = (network.decoder(changed, high) - network.decoder(low, high)).abs().sum(1)[0]
    assert difference.shape == (32, 32)
    assert difference[:8, :8].sum() > 0
    assert difference[20:, 20:].sum() == 0  # it is spatial, not pooled


def test_a_group_is_the_mean_attention_of_the_others() -> None:
    network = made()
    with torch.no_grad():
        features = [network.encode(torch.rand(1, 3, 32, 32)) for _ in range(3)]
        group = list(network.cosegment_group(features, [(32, 32)] * 3))
        attention = [network.attend(each) for each in features]
        others = tuple((x + y) / 2 for x, y in zip(attention[0], attention[1], strict=True))
        wanted = network.restore(network.decoder(*network.enhance(features[2], others)), (32, 32))
    torch.testing.assert_close(group[2], wanted)


def test_size() -> None:
    """Nothing is published; this is the size that the documentation states."""
    with torch.device("meta"):
        network = ChannelSpatialAttentionNetwork(VGG16Encoder(batch_norm=False, stride=32))
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(16.4e6, rel=5e-3)


def test_finding_the_levels_leaves_the_encoder_as_it_was() -> None:
    encoder = VGG16Encoder(width=0.125)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    ChannelSpatialAttentionNetwork(encoder)
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_settings_are_checked() -> None:
    with pytest.raises(CosegError, match=r"model\.reduction.*'0'"):
        made(reduction=0)
