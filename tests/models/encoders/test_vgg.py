"""VGG16 against torchvision's, its layers and strides."""

from __future__ import annotations

import pytest
import torch
import torchvision

from coseg.errors import CosegError
from coseg.models.encoders.vgg import VGG16Encoder


@pytest.mark.parametrize("batch_norm", [True, False])
def test_keys_and_shapes_are_torchvision_s(batch_norm: bool) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, "vgg16_bn" if batch_norm else "vgg16")(weights=None)
        ours = VGG16Encoder(batch_norm=batch_norm)
    wanted = {key: value.shape for key, value in theirs.features.state_dict().items()}
    assert {key: value.shape for key, value in ours.features.state_dict().items()} == wanted


@pytest.mark.parametrize("width", [0.01, 0.1, 0.25, 0.3])
def test_width_scales_the_channels_to_multiples_of_eight(width: float) -> None:
    encoder = VGG16Encoder(width=width)
    found = [layer.out_channels for layer in encoder.features if isinstance(layer, torch.nn.Conv2d)]
    published = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert all(
        n % 8 == 0 and n >= 8 and (n == 8 or abs(n - c * width) <= 4) for n, c in zip(found, published, strict=True)
    )
    assert encoder.out_channels == found[-1]


@pytest.mark.parametrize(
    ("layer", "stride", "convolutions", "dilated"),
    [
        ("conv4_3", 8, 10, 0),
        ("conv4_3", 16, 10, 0),
        ("conv5_3", 8, 13, 3),
        ("conv5_3", 16, 13, 0),
        ("conv5_3", 32, 13, 0),
    ],
)
def test_layers_and_strides(layer: str, stride: int, convolutions: int, dilated: int) -> None:
    encoder = VGG16Encoder(width=0.125, layer=layer, stride=stride).eval()
    convs = [part for part in encoder.features if isinstance(part, torch.nn.Conv2d)]
    assert len(convs) == convolutions
    assert sum(conv.dilation == (2, 2) for conv in convs) == dilated
    for height, width in ((64, 32), (65, 31), (1, 1)):
        features = encoder(torch.rand(1, 3, height, width))
        assert features.shape == (1, encoder.out_channels, -(-height // stride), -(-width // stride))
    assert features.min() >= 0  # after ReLU


def test_dilation_keeps_what_is_computed() -> None:
    """At stride 8 the last block sees the same inputs as at 16 where its pool would have changed nothing.

    On an image of constant blocks of 16 pixels, far from the border, both strides give the same features at the
    positions that they share.
    """
    torch.manual_seed(0)
    fine, coarse = VGG16Encoder(0.125, stride=8).eval(), VGG16Encoder(0.125, stride=16).eval()
    fine.load_state_dict(coarse.state_dict())
    flat = torch.full((1, 3, 512, 512), 0.7)
    with torch.no_grad():
        torch.testing.assert_close(fine(flat)[..., 30:34, 30:34], coarse(flat)[..., 15:17, 15:17].repeat(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"layer": "conv5_4"}, r"model\.encoder\.layer.*'conv5_4'.*'conv5_3'"),
        ({"stride": 4}, r"model\.encoder\.stride.*'4'"),
        ({"layer": "conv4_3", "stride": 32}, r"\b32\b.*\b16\b"),
        ({"width": 0}, r"model\.encoder\.width.*'0'"),
        ({"width": "wide"}, r"model\.encoder\.width.*'wide'"),
    ],
)
def test_bad_values_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(CosegError, match=sentence):
        VGG16Encoder(**settings)  # type: ignore[arg-type]


def test_layers_are_convolutions_with_their_batch_norm() -> None:
    encoder = VGG16Encoder(width=0.125, layer="conv4_3", stride=8)
    layers = encoder.layers()
    assert [len(layer) for layer in layers] == [4] * 10  # weight and bias of both
    assert layers[1][0] is encoder.features[3].weight and layers[1][2] is encoder.features[4].weight
