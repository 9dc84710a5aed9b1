"""Batches of pairs in which some images show their partner's object, against one exemplar at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from coseg.errors import CosegError
from coseg.models.base import EncoderDecoderNetwork
from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.models.embedding_matching import EmbeddingMatchingNetwork
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.exemplar import Exemplar, contrasted, given
from coseg.models.features import take
from coseg.models.siamese import SiameseNetwork

SIZE_A, SIZE_B = (48, 64), (40, 56)


def network(name: str, **settings: Any) -> EncoderDecoderNetwork:
    """A small network that knows its statistics, as after training."""
    torch.manual_seed(0)
    made: EncoderDecoderNetwork
    if name == "embedding_matching":
        made = EmbeddingMatchingNetwork(VGG16Encoder(width=0.125, stride=8), channels=8, dropout=0, top=0.1, **settings)
    else:
        made = CrossCorrelationNetwork(VGG16Encoder(width=0.125, stride=8), rescale=True, **settings)
    for part in made.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        made.train()(torch.rand(2, 3, 48, 48), torch.rand(2, 3, 48, 48))
    return made.eval()


def regions(height: int, width: int) -> Tensor:
    """An object with the rest, none, an object without a rest, a small one beside void, and one with two parts."""
    shown = torch.zeros(5, height, width, dtype=torch.uint8)
    shown[0, : height // 2, : width // 2] = 1
    shown[1, :5] = 255
    shown[2] = 1
    shown[3] = 255
    shown[3, 3:7, 9:12] = 1
    shown[4, :, :9] = shown[4, 20:30, 25:36] = 1
    return shown


NETWORKS = pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("embedding_matching", {}),
        ("embedding_matching", {"input_size": 32}),
        ("cross_correlation", {"input_size": 32}),
        ("cross_correlation", {"pooling": "max"}),
        ("cross_correlation", {"skip_channels": 4}),
    ],
)


@NETWORKS
def test_a_batch_gives_what_each_exemplar_gives_alone(name: str, settings: dict[str, Any]) -> None:
    net = network(name, **settings)
    a, b = torch.rand(5, 3, *SIZE_A), torch.rand(5, 3, *SIZE_B)
    region_a, region_b = regions(*SIZE_A).flip(0), regions(*SIZE_B)
    with torch.no_grad():
        features_a, features_b = net.encode(a), net.encode(b)
        both = net.cosegment_shown(features_a, features_b, SIZE_A, SIZE_B, region_a, region_b)
        for k in range(5):
            one_a, one_b = (take(features, torch.tensor([k])) for features in (features_a, features_b))
            plain = net.cosegment(one_a, one_b, SIZE_A, SIZE_B)
            for side, image, size, partner, partner_size, region in (
                (0, one_a, SIZE_A, one_b, SIZE_B, region_b[k]),
                (1, one_b, SIZE_B, one_a, SIZE_A, region_a[k]),
            ):
                expected = plain[side]
                if (region == 1).any():
                    (expected,) = net.cosegment_exemplars([Exemplar(partner, partner_size, region)], [image], [size])
                torch.testing.assert_close(both[side][k : k + 1], expected, atol=2e-5, rtol=1e-5)


@NETWORKS
def test_without_any_exemplar_it_is_the_pair(name: str, settings: dict[str, Any]) -> None:
    net = network(name, **settings)
    a, b, nothing = torch.rand(2, 3, *SIZE_A), torch.rand(2, 3, *SIZE_A), torch.zeros(2, *SIZE_A, dtype=torch.uint8)
    with torch.no_grad():
        sides = *net.encode_pairs(a, b), SIZE_A, SIZE_A
        for logits, expected in zip(net.cosegment_shown(*sides, nothing, nothing), net.cosegment(*sides), strict=True):
            torch.testing.assert_close(logits, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["embedding_matching", "cross_correlation"])
def test_what_is_neither_object_nor_rest_does_not_matter(name: str) -> None:
    net = network(name, input_size=64)
    region = torch.full((1, 64, 64), 255, dtype=torch.uint8)
    region[:, :32, 16:40] = 1
    nothing = torch.zeros_like(region)
    a, b = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        features_a, features_b = net.encode_pairs(a, b)
        (objects, rest) = net.shown_positions(features_b, (64, 64), region)
        assert not rest.any() and 0 < objects.sum() < objects.numel()
        first, _ = net.cosegment_shown(features_a, features_b, (64, 64), (64, 64), nothing, region)
        changed = net.feature_map(features_b)  # in place, so of the features too
        changed[:, :, ~objects[0]] = 7.0
        again, _ = net.cosegment_shown(features_a, features_b, (64, 64), (64, 64), nothing, region)
        assert torch.equal(first, again)
        changed[:, :, objects[0]] += torch.rand(int(objects.sum()))
        other, _ = net.cosegment_shown(features_a, features_b, (64, 64), (64, 64), nothing, region)
        assert not torch.allclose(first, other)


@pytest.mark.parametrize("name", ["embedding_matching", "cross_correlation"])
def test_the_gradient_is_finite_and_reaches_object_and_rest(name: str) -> None:
    net = network(name)
    features = net.encode_pairs(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    maps = [net.feature_map(side) for side in features]
    for tensor in maps:
        tensor.retain_grad()
    region = torch.zeros(2, 64, 64, dtype=torch.uint8)
    region[0, :32] = 1
    region[1, 32:] = 1
    region[1, :32] = 255
    nothing = torch.zeros_like(region)
    # Of side A alone, for which B is a partner and no more.
    logits, _ = net.cosegment_shown(*features, (64, 64), (64, 64), nothing, region)
    logits[:, 1].square().sum().backward()
    for parameter in net.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
    gradient = maps[1].grad
    assert gradient is not None
    slopes = gradient.abs().sum(1)
    assert slopes[0, :3].any() and slopes[0, 5:].any() and slopes[1, 5:].any()
    assert not slopes[1, :3].any()


def test_the_rows_of_a_side_without_a_rest_are_left_alone() -> None:
    objects = torch.tensor([[[True, False]], [[True, True]], [[False, True]]])
    rest = ~objects
    side = given((torch.arange(3.0)[:, None],), torch.rand(3, 1, 1, 2), objects, rest)
    assert side.rows.tolist() == [0, 2] and side.images[0].flatten().tolist() == [0, 1, 2, 0, 2]
    assert torch.equal(side.chosen, torch.cat((objects, rest[[0, 2]])))
    logits = torch.randn(5, 2, 4, 4, requires_grad=True)
    result = side.contrasted(logits)
    assert torch.equal(result[1], logits[1])
    torch.testing.assert_close(result[2], contrasted(logits[2:3], logits[4:5])[0])
    result.sum().backward()
    assert logits.grad is not None and logits.grad[4].any()


def test_a_network_without_the_method_refuses() -> None:
    with pytest.raises(CosegError, match="exemplar"):
        SiameseNetwork(VGG16Encoder(width=0.125)).cosegment_shown((), (), SIZE_A, SIZE_B, *torch.zeros(2, 1, 4, 4))
