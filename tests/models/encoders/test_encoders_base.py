"""What every encoder must do, whatever its architecture: normalise, pad, freeze, tell its layers, read its weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from coseg.errors import CosegError
from coseg.models.encoders.base import Encoder, pad_by_reflection, pad_to_multiple
from coseg.models.encoders.timm import TimmEncoder
from coseg.models.encoders.vgg import VGG16Encoder


def timm_encoder(name: str, out_indices: list[int], stride: int = 16, **settings: object) -> Encoder:
    return TimmEncoder(name, out_indices, output_stride=stride, **settings)  # type: ignore[arg-type]


ENCODERS: dict[str, Callable[..., Encoder]] = {
    "vgg16": lambda **settings: VGG16Encoder(**{"width": 0.125, **settings}),
    "resnet": lambda **settings: timm_encoder("test_resnet", [1, 2, 3, 4], **settings),
    "convnext": lambda **settings: timm_encoder("test_convnext", [0, 1, 2], **settings),
}


@pytest.fixture(params=ENCODERS, ids=str)
def make(request: pytest.FixtureRequest) -> Callable[..., Encoder]:
    torch.manual_seed(0)
    return ENCODERS[request.param]


def test_any_size_gives_a_map_of_its_stride(make: Callable[..., Encoder]) -> None:
    for stride in (8, 16):
        encoder = make(stride=stride).eval()
        assert encoder.stride == stride
        for height, width in ((64, 32), (65, 31), (1, 1)):
            with torch.no_grad():
                features = encoder(torch.rand(1, 3, height, width))
            assert features.shape == (1, encoder.out_channels, -(-height // stride), -(-width // stride))
            assert features.isfinite().all()


def test_levels_are_maps_at_rising_strides_that_end_with_the_features(make: Callable[..., Encoder]) -> None:
    encoder, image = make(stride=16).eval(), torch.rand(2, 3, 40, 33)
    assert encoder.level_strides in ((4, 8, 16), (4, 8, 16, 16))
    assert len(encoder.level_channels) == len(encoder.level_strides)
    with torch.no_grad():
        levels = encoder.levels(image)
        for level, channels, stride in zip(levels, encoder.level_channels, encoder.level_strides, strict=True):
            assert level.shape == (2, channels, 48 // stride, 48 // stride)
        assert torch.equal(levels[-1], encoder(image))


def test_a_level_is_the_last_map_before_a_pool() -> None:
    encoder = VGG16Encoder(width=0.125, stride=16).eval()
    with torch.no_grad():
        maps, wanted = encoder.prepare(torch.rand(1, 3, 32, 32)), []
        levels = encoder.levels(maps * encoder.std + encoder.mean)
        for layer in encoder.features:
            if isinstance(layer, torch.nn.MaxPool2d):
                wanted.append(maps)
            maps = layer(maps)
    for level, expected in zip(levels, [*wanted[2:], maps], strict=True):
        torch.testing.assert_close(level, expected, atol=1e-5, rtol=1e-4)


def test_layers_hold_every_parameter_once(make: Callable[..., Encoder]) -> None:
    for settings in ({}, {"stride": 8}):
        encoder = make(**settings)
        layers = encoder.layers()
        assert all(layers)
        inside = [id(parameter) for layer in layers for parameter in layer]
        assert sorted(inside) == sorted(id(parameter) for parameter in encoder.parameters())
        assert inside[0] in [id(parameter) for parameter in list(encoder.parameters())[:2]]


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


def test_a_frozen_encoder_stays_as_it_is(make: Callable[..., Encoder]) -> None:
    encoder = make(frozen=True)
    wrapper = torch.nn.Sequential(encoder).train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(wrapper(images), wrapper(images))  # no path is dropped either
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


def test_weights_that_are_not_there(make: Callable[..., Encoder]) -> None:
    with pytest.raises(CosegError, match=r"'nowhere\.pth'"):
        make(weights="nowhere.pth")


def test_reflection() -> None:
    image = torch.arange(6.0).view(1, 1, 2, 3)
    padded = pad_by_reflection(image, 2, 1, 0, 1)
    assert padded[0, 0].tolist() == [[2, 1, 0, 1, 2, 1], [5, 4, 3, 4, 5, 4], [2, 1, 0, 1, 2, 1]]


def test_a_short_axis_repeats_its_border() -> None:
    image = torch.tensor([[1.0, 2.0, 3.0]]).view(1, 1, 1, 3)
    assert pad_by_reflection(image, 1, 0, 2, 1)[0, 0].tolist() == [[2, 1, 2, 3]] * 4
