"""The encoder against torchvision's VGG16, its strides and its padding."""

from __future__ import annotations

import pytest
import torch
import torchvision

from coseg.errors import CosegError
from coseg.models.encoder import VGG16Encoder, pad_to_multiple


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


def test_images_are_normalised_with_imagenet_s_numbers() -> None:
    encoder = VGG16Encoder(width=0.125)
    encoder.features = torch.nn.Identity()
    image = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    image[0, 1] = 255
    found = encoder(image)[0, :, 0, 0]
    torch.testing.assert_close(found, torch.tensor([-0.485 / 0.229, (1 - 0.456) / 0.224, -0.406 / 0.225]))


def test_padding_reflects_where_it_can() -> None:
    row = torch.arange(5.0).expand(1, 1, 5, 5)
    assert pad_to_multiple(row, 8)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert pad_to_multiple(row, 16)[0, 0, 0].tolist() == [0, 1, 2, 3] + [4] * 12
    assert pad_to_multiple(row, 5) is row
    assert pad_to_multiple(row[..., :1, :], 4).shape == (1, 1, 4, 8)


def test_a_frozen_encoder_stays_as_it_is() -> None:
    encoder = VGG16Encoder(width=0.125, frozen=True)
    wrapper = torch.nn.Sequential(encoder).train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    wrapper(torch.rand(2, 3, 32, 32))
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"layer": "conv5_4"}, r"model\.encoder\.layer is 'conv5_4'.*Did you mean 'conv5_3'"),
        ({"stride": 4}, r"model\.encoder\.stride is '4'"),
        ({"layer": "conv4_3", "stride": 32}, "choose stride 16 or less"),
        ({"width": 0}, r"model\.encoder\.width is '0'"),
        ({"width": "wide"}, r"model\.encoder\.width is 'wide'"),
    ],
)
def test_bad_values_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(CosegError, match=sentence):
        VGG16Encoder(**settings)  # type: ignore[arg-type]
