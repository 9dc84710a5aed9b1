"""The interface of networks: what the base classes check and do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coseg.errors import CosegError
from coseg.models.base import CosegNetwork
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.siamese import SiameseNetwork


def tiny(**settings: object) -> VGG16Encoder:
    return VGG16Encoder(width=0.125, **settings)  # type: ignore[arg-type]


def photo(height: int, width: int, batch: int = 2, seed: int = 1) -> Tensor:
    return torch.randint(
        0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


B = photo(17, 5, seed=2)


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [0, -3, 1.5, "big"])
def test_input_size_is_checked(size: object) -> None:
    with pytest.raises(CosegError, match=r"model\.input_size") as refused:
        SiameseNetwork(tiny(), input_size=size)  # type: ignore[arg-type]
    assert f"'{size}'" in str(refused.value)


def test_encoder_is_checked() -> None:
    with pytest.raises(CosegError, match=r"model\.encoder.*Conv2d"):
        SiameseNetwork(torch.nn.Conv2d(3, 3, 1))  # type: ignore[arg-type]


def test_size_must_be_that_of_the_encoded_image() -> None:
    network = SiameseNetwork(tiny()).eval()
    features = network.encode(B)
    with pytest.raises(ValueError, match=r"\(170, 50\)"):
        network.cosegment(features, features, (17, 5), (170, 50))


def test_networks_with_several_feature_maps_are_encoded_once() -> None:
    class Plain(CosegNetwork):
        calls = 0

        def encode(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            self.calls += 1
            images = self.resize(images)
            return images, (images[:, :2], images[:, 1:])

        def cosegment(self, features_a, features_b, size_a, size_b):  # type: ignore[no-untyped-def]
            assert torch.equal(features_a[0][:, 1:], features_a[1][1])
            return self.restore(features_a[1][0], size_a), self.restore(features_b[1][0], size_b)

    network = Plain()
    a, b = photo(6, 4), photo(6, 4, seed=2)
    logits_a, logits_b = network(a, b)
    assert network.calls == 1
    close(logits_a, a[:, :2] / 255)
    close(logits_b, b[:, :2] / 255)


def test_resized_images_are_those_of_a_smaller_image() -> None:
    network = SiameseNetwork(tiny(), input_size=32).eval()
    flat = torch.full((1, 3, 50, 70), 100, dtype=torch.uint8)
    with torch.no_grad():
        close(network.encode(flat), network.encode(flat[:, :, :32, :32]))
        assert network.encode(photo(50, 70)).shape[-2:] == (2, 2)


def test_a_network_without_a_method_for_exemplars_refuses_them() -> None:
    network = SiameseNetwork(tiny())
    with pytest.raises(CosegError, match="exemplar") as refused:
        network.cosegment_exemplars([], [], [])
    assert network.name in str(refused.value) and "cross_correlation" in str(refused.value)
