import pytest
import torch

from coseg.errors import CosegError
from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.mirrored import MirroredNetwork


@pytest.fixture
def network() -> CrossCorrelationNetwork:
    torch.manual_seed(0)
    return CrossCorrelationNetwork(VGG16Encoder(width=0.125, stride=8), [1, 3], input_size=32).eval()


def test_groups_are_the_mean_of_both_sides(network: CrossCorrelationNetwork) -> None:
    images = [torch.rand(1, 3, 24 + k, 40) for k in range(3)]
    sizes = [(24 + k, 40) for k in range(3)]
    mirrored = MirroredNetwork(network)
    with torch.no_grad():
        found = list(mirrored.cosegment_group([mirrored.encode(image) for image in images], sizes))
        plain = network.cosegment_group([network.encode(image) for image in images], sizes)
        turned = network.cosegment_group([network.encode(image.flip(-1)) for image in images], sizes)
        for logits, each, other in zip(found, plain, turned, strict=True):
            torch.testing.assert_close(logits, (each + other.flip(-1)) / 2)
    with pytest.raises(CosegError, match=r"\btwo\b"):
        mirrored.cosegment_group([mirrored.encode(images[0])], sizes[:1])


def test_the_input_size_is_the_networks_own(network: CrossCorrelationNetwork) -> None:
    mirrored = MirroredNetwork(network)
    assert mirrored.input_size == 32
    mirrored.input_size = 48
    assert network.input_size == 48
    assert mirrored.encode(torch.rand(1, 3, 20, 30))[1].shape[-2:] == (6, 6)
    assert mirrored.name == "CrossCorrelationNetwork, mirrored"
    assert list(mirrored.parameters()) == list(network.parameters())


def test_its_feature_map_is_not_mirrored(network: CrossCorrelationNetwork) -> None:
    images = torch.rand(1, 3, 24, 40)
    mirrored = MirroredNetwork(network)
    with torch.no_grad():
        assert torch.equal(mirrored.feature_map(mirrored.encode(images)), network.encode(images))
