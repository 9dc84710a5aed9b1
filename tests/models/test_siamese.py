"""The control: each image by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.siamese import SiameseNetwork


def test_the_partner_does_not_matter() -> None:
    torch.manual_seed(0)
    network = SiameseNetwork(VGG16Encoder(width=0.125)).eval()
    a, b, c = torch.rand(3, 1, 3, 33, 47)
    with torch.no_grad():
        torch.testing.assert_close(network(a, b)[0], network(a, c)[0])
        alone = network.restore(network.decoder(network.encoder(a)), (33, 47))
        torch.testing.assert_close(network(a, b)[0], alone)


def test_a_group_is_each_image_by_itself() -> None:
    torch.manual_seed(0)
    network = SiameseNetwork(VGG16Encoder(width=0.125)).eval()
    images = torch.rand(3, 1, 3, 20, 31)
    with torch.no_grad():
        group = list(network.cosegment_group([network.encode(image) for image in images], [(20, 31)] * 3))
        for logits, image in zip(group, images, strict=True):
            torch.testing.assert_close(logits, network(image, images[0])[0])


def test_the_decoder_starts_from_the_features_alone() -> None:
    network = SiameseNetwork(VGG16Encoder(width=0.125), decoder_channels=[16, 16, 8, 8])
    assert network.decoder.in_channels == network.encoder.out_channels == network.feature_channels


class Turned(SiameseNetwork):
    """A subclass of a user's, with a `cosegment` of its own."""

    def cosegment(self, features_a: Any, features_b: Any, size_a: Any, size_b: Any) -> tuple[Tensor, Tensor]:
        logits_a, logits_b = self.decode([-features_a, -features_b], (size_a, size_b), (features_a, features_b))
        return logits_a, logits_b


def test_a_subclass_that_cosegments_gets_the_features_of_encode() -> None:
    network = Turned(VGG16Encoder(width=0.125)).eval()
    a, b = torch.rand(2, 1, 3, 20, 31)
    with torch.no_grad():
        pair = network.cosegment(network.encode_for_pairs(a), network.encode_for_pairs(b), (20, 31), (20, 31))
        for found, wanted in zip(pair, network(a, b), strict=True):
            torch.testing.assert_close(found, wanted)
