from __future__ import annotations

import pytest
import torch
from tiny_networks import siamese

from coseg.export.graphs import graphs_of
from coseg.models.mirrored import MirroredNetwork


@pytest.mark.parametrize("width", [17, 40, 64])  # padded by 7, 0 and 0 columns
def test_the_mean_with_the_mirror_image_is_in_the_graphs(width: int) -> None:
    network = siamese()
    plain, mirrored = graphs_of(network), graphs_of(MirroredNetwork(network))
    assert mirrored.features == {"features": 8, "mirrored_features": 8, "width": 0} and not mirrored.kernels
    image = torch.randint(256, (2, 3, 24, width), dtype=torch.uint8)
    with torch.no_grad():
        encoded = mirrored.encode(image)
        logits = mirrored.cosegment(*encoded)[..., :width]
        one, other = (plain.cosegment(*plain.encode(seen))[..., :width] for seen in (image, image.flip(-1)))
        turned = mirrored.cosegment(*mirrored.encode(image.flip(-1)))[..., :width]
    assert encoded[-1].tolist() == [width, width]
    torch.testing.assert_close(logits, (one + other.flip(-1)) / 2)
    torch.testing.assert_close(turned.flip(-1), logits)
