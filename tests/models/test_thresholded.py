import pytest
import torch

from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.siamese import SiameseNetwork
from coseg.models.thresholded import ThresholdedNetwork


@pytest.fixture(scope="module")
def network() -> SiameseNetwork:
    torch.manual_seed(0)
    return SiameseNetwork(VGG16Encoder(width=0.125), input_size=64).eval()


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.75])
@torch.no_grad()
def test_the_foreground_is_where_the_probability_is_above_the_threshold(
    network: SiameseNetwork, threshold: float
) -> None:
    a, b = torch.rand(1, 3, 40, 56), torch.rand(1, 3, 33, 47)
    lowered = ThresholdedNetwork(network, threshold)
    for plain, shifted in zip(network(a, b), lowered(a, b), strict=True):
        assert torch.equal(plain.softmax(1)[:, 1] > threshold, shifted[:, 1] > shifted[:, 0])
        assert torch.equal(plain[:, 0], shifted[:, 0])
    features = [lowered.encode(images) for images in (a, b, a)]
    sizes = [(40, 56), (33, 47), (40, 56)]
    groups = [list(asked.cosegment_group(features, sizes)) for asked in (network, lowered)]
    for plain, shifted in zip(*groups, strict=True):
        assert torch.equal(plain.softmax(1)[:, 1] > threshold, shifted[:, 1] > shifted[:, 0])


@torch.no_grad()
def test_no_threshold_makes_logits_that_are_not_finite(network: SiameseNetwork) -> None:
    image = torch.rand(1, 3, 40, 56)
    for threshold, foreground in ((0.0, True), (1.0, False)):
        logits, _ = ThresholdedNetwork(network, threshold)(image, image)
        assert logits.isfinite().all() and ((logits[:, 1] > logits[:, 0]) == foreground).all()


def test_it_is_the_network_within_that_has_an_input_size_and_a_name(network: SiameseNetwork) -> None:
    lowered = ThresholdedNetwork(network, 0.75)
    assert lowered.input_size == 64 and lowered.name == "SiameseNetwork, threshold 0.75"
    lowered.input_size = 48
    assert network.input_size == 48
    network.input_size = 64
