"""The control: each image by itself."""

from __future__ import annotations

import torch

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
