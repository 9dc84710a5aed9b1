"""Matching of embeddings against loops over positions, and groups against pairs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from coseg.errors import CosegError
from coseg.models import embedding_matching
from coseg.models.embedding_matching import EmbeddingMatchingNetwork
from coseg.models.encoders.vgg import VGG16Encoder


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
        matched = [made.match(features[1][1], features[k][1].flatten(2)) for k in (0, 2, 3)]
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
