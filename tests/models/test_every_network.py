"""The shared tester: what every network must do, whatever its method.

Each configuration of ``conf/model`` is tried, so that a new one needs no line here, and the variants in `NETWORKS`:
forward at odd sizes and at a single pixel, backward, swapped images, images encoded alone, groups, save and load,
half precision, memory formats, compilation. With each encoder: ``test_every_network_and_encoder.py``; exported:
``tests/export``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from coseg.errors import CosegError
from coseg.instantiate import build_network, plain
from coseg.models.base import CosegNetwork
from coseg.models.channel_spatial_attention import ChannelSpatialAttentionNetwork
from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.features import concatenate
from coseg.models.mirrored import MirroredNetwork
from coseg.models.mutual_correlation import MutualCorrelationNetwork
from coseg.models.semantic_attention import SemanticAttentionNetwork


def tiny(**settings: object) -> VGG16Encoder:
    return VGG16Encoder(width=0.125, **settings)  # type: ignore[arg-type]


SHIPPED = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "conf" / "model").glob("*.yaml"))

NETWORKS: dict[str, Callable[[], CosegNetwork]] = {
    "input_size": lambda: CrossCorrelationNetwork(tiny(), input_size=40),
    "max fusion": lambda: CrossCorrelationNetwork(tiny(stride=8), fusion="max", use="add"),
    "concatenation": lambda: CrossCorrelationNetwork(tiny(layer="conv4_3"), fusion="concatenate", use="gate"),
    "ordinary": lambda: CrossCorrelationNetwork(tiny(), correlation="ordinary", fusion="concatenate"),
    "alone": lambda: CrossCorrelationNetwork(
        tiny(stride=32, batch_norm=False), normalization="l2", pooling="strided", use="correlation", batch_norm=False
    ),
    "rescaled": lambda: CrossCorrelationNetwork(
        tiny(), [5], pooling="max", normalization="none", rescale=True, skip_channels=3
    ),
    "mutual, normalised": lambda: MutualCorrelationNetwork(tiny(), batch_norm=True, width=0.05, input_size=40),
    "fused": lambda: SemanticAttentionNetwork(tiny(stride=8), "fused", hidden=12, input_size=40),
    "channel and spatial": lambda: SemanticAttentionNetwork(tiny(), "channel_spatial"),
    "mirrored": lambda: MirroredNetwork(CrossCorrelationNetwork(tiny(stride=8), [1, 3], rescale=True, input_size=40)),
    "mirrored, any size": lambda: MirroredNetwork(SemanticAttentionNetwork(tiny())),
    "high level alone": lambda: ChannelSpatialAttentionNetwork(tiny(stride=8), reduction=2, low_level=False),
}


@pytest.fixture(scope="module", params=[*SHIPPED, *NETWORKS], ids=str)
def make(request: pytest.FixtureRequest, compose: Callable[..., DictConfig]) -> Callable[[], CosegNetwork]:
    """Makes a network anew: of `NETWORKS`, or as shipped, but for a small width and, where it has one, input size."""
    if request.param in NETWORKS:
        return NETWORKS[request.param]
    config = plain(compose("train", "experiment=voc_pairs", f"model={request.param}").model)
    config["encoder"] |= {"weights": None} | ({"width": 0.125} if "width" in config["encoder"] else {})
    if config["input_size"] is not None:
        config["input_size"] = 48
    return lambda: build_network(config)


@pytest.fixture(scope="module")
def prototype(make: Callable[[], CosegNetwork]) -> CosegNetwork:
    torch.manual_seed(0)
    made = make()
    for module in made.modules():  # batch norm that does something in evaluation: the statistics of one batch
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        made.train()(photo(48, 48, seed=3), photo(48, 48, seed=4))
    return made.eval()


@pytest.fixture
def network(prototype: CosegNetwork) -> CosegNetwork:
    return copy.deepcopy(prototype)


def photo(height: int, width: int, batch: int = 2, seed: int = 1) -> Tensor:
    return torch.randint(
        0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


A, B = photo(33, 47, seed=1), photo(17, 5, seed=2)


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("a", "b"), [(A, B), (photo(1, 1), photo(1, 1, seed=2)), (A, A.flip(0))])
def test_logits_have_the_size_of_their_image(network: CosegNetwork, a: Tensor, b: Tensor) -> None:
    logits = network(a, b)
    assert [each.shape for each in logits] == [(2, 2, *a.shape[-2:]), (2, 2, *b.shape[-2:])]
    assert all(each.dtype == torch.float32 and each.isfinite().all() for each in logits)


@pytest.mark.parametrize("b", [B, photo(33, 47, seed=2)])
def test_every_parameter_has_a_finite_gradient(network: CosegNetwork, b: Tensor) -> None:
    network.train()
    logits_a, logits_b = network(A, b)
    (logits_a.square().mean() + logits_b.square().mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_swapped_images_give_swapped_logits(network: CosegNetwork) -> None:
    with torch.no_grad():
        logits_a, logits_b = network(A, B)
        swapped_b, swapped_a = network(B, A)
    close(swapped_a, logits_a)
    close(swapped_b, logits_b)


@pytest.mark.parametrize("b", [B, photo(33, 47, seed=2)])
def test_images_may_be_encoded_alone_and_pairs_alone(network: CosegNetwork, b: Tensor) -> None:
    with torch.no_grad():
        joint = network(A, b)
        for k in range(len(A)):
            features_a, features_b = network.encode(A[k : k + 1]), network.encode(b[k : k + 1])
            alone = network.cosegment(features_a, features_b, A.shape[-2:], b.shape[-2:])
            for found, wanted in zip(alone, joint, strict=True):
                close(found, wanted[k : k + 1])


@pytest.mark.parametrize("b", [B, photo(33, 47, seed=2)])
def test_what_is_made_of_one_image_alone_gives_the_same_logits(network: CosegNetwork, b: Tensor) -> None:
    results = []
    with torch.no_grad():
        for encode in (network.encode, network.encode_for_pairs):
            sides = [concatenate([encode(image[None]) for image in side]) for side in (A, b)]
            results.append(network.cosegment(*sides, A.shape[-2:], b.shape[-2:]))
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_group_of_two_is_a_pair(network: CosegNetwork) -> None:
    a, b = A[:1], B[:1]
    with torch.no_grad():
        group = list(network.cosegment_group([network.encode(a), network.encode(b)], [a.shape[-2:], b.shape[-2:]]))
        for found, wanted in zip(group, network(a, b), strict=True):
            close(found, wanted)


def test_a_group_does_not_depend_on_its_order(network: CosegNetwork) -> None:
    images = [A[:1], A[1:], B[:1]]
    sizes = [image.shape[-2:] for image in images]
    with torch.no_grad():
        features = [network.encode(image) for image in images]
        forward = list(network.cosegment_group(features, sizes))
        backward = list(network.cosegment_group(features[::-1], sizes[::-1]))
    for found, wanted, size in zip(backward[::-1], forward, sizes, strict=True):
        assert found.shape == (1, 2, *size)
        close(found, wanted)


def test_some_of_a_group_are_as_in_all_of_it(network: CosegNetwork) -> None:
    images = [A[:1], A[1:], B[:1], B[1:]]
    sizes = [image.shape[-2:] for image in images]
    with torch.no_grad():
        features = [network.encode(image) for image in images]
        whole = list(network.cosegment_group(features, sizes))
        for members in ([0, 2], [3], []):
            some = list(network.cosegment_group(features, sizes, members))
            assert len(some) == len(members)
            assert all(torch.equal(logits, whole[k]) for logits, k in zip(some, members, strict=True))


def test_a_group_of_one_is_refused(network: CosegNetwork) -> None:
    with pytest.raises(CosegError, match=r"\btwo\b"):
        network.cosegment_group([network.encode(B[:1])], [B.shape[-2:]])


def test_default_of_the_group_is_the_mean_of_the_pairs(network: CosegNetwork) -> None:
    images = [A[:1], A[1:], B[:1]]
    sizes = [image.shape[-2:] for image in images]
    with torch.no_grad():
        features = [network.encode(image) for image in images]
        found = list(CosegNetwork.cosegment_group(network, features, sizes))
        for i in range(3):
            others = [network(images[i], images[j])[0] for j in range(3) if j != i]
            close(found[i], torch.stack(others).mean(0))


def test_uint8_and_float_images_are_equal(network: CosegNetwork) -> None:
    with torch.no_grad():
        for found, wanted in zip(network(A.float() / 255, B.float() / 255), network(A, B), strict=True):
            close(found, wanted)


def test_it_repeats_itself(network: CosegNetwork) -> None:
    with torch.no_grad():
        assert all(torch.equal(x, y) for x, y in zip(network(A, B), network(A, B), strict=True))


def test_saved_and_loaded(network: CosegNetwork, make: Callable[[], CosegNetwork], tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    other = make().eval()
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        assert all(torch.equal(x, y) for x, y in zip(other(A, B), network(A, B), strict=True))


def test_bfloat16_autocast_trains_and_agrees(network: CosegNetwork) -> None:
    with torch.no_grad():
        wanted, _ = network(A, B)
    with torch.autocast("cpu", torch.bfloat16):
        logits_a, logits_b = network(A, B)
    assert logits_a.dtype == logits_b.dtype == torch.float32
    # 17 layers with batch norm on noise: rounding alone makes up to 0.17, most of it in the encoder.
    assert (logits_a - wanted).norm() < 0.25 * wanted.norm()
    (logits_a.mean() + logits_b.mean()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())  # type: ignore[union-attr]


def test_channels_last_changes_nothing(network: CosegNetwork) -> None:
    with torch.no_grad():
        wanted = network(A, B)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        found = network(A.contiguous(memory_format=torch.channels_last), B)
    for x, y in zip(found, wanted, strict=True):
        close(x, y)


@pytest.mark.slow
@pytest.mark.parametrize("make", SHIPPED, indirect=True)
def test_compiled_in_place(network: CosegNetwork) -> None:
    keys = list(network.state_dict())
    with torch.no_grad():
        wanted = network(A, B)
        network.compile()
        try:
            found = network(A, B)
        except Exception as error:
            pytest.skip(f"no working compiler: {error}")
    assert list(network.state_dict()) == keys
    for x, y in zip(found, wanted, strict=True):
        close(x, y)


def test_every_network_has_one_feature_map(network: CosegNetwork) -> None:
    with torch.no_grad():
        both, first = (network.feature_map(network.encode(images)) for images in (A, A[:1]))
    assert both.ndim == 4 and len(both) == len(A)
    close(both[:1], first)
