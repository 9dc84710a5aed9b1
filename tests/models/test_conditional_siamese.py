"""What the conditional Siamese network does beyond what every network must do."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from coseg.errors import CosegError
from coseg.models.conditional_siamese import ConditionalSiameseNetwork, conditioned, contrastive_loss
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.training.losses import pair_loss


def made(**settings: Any) -> ConditionalSiameseNetwork:
    torch.manual_seed(0)
    encoder = settings.pop("encoder", None) or VGG16Encoder(width=0.125)
    settings = {"input_size": 48, "metric_channels": 12, "decision_channels": 6} | settings
    return ConditionalSiameseNetwork(encoder, **settings)


def photo(height: int, width: int, seed: int, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=generator)


A, B = photo(33, 47, 1), photo(60, 20, 2)


def test_a_pixel_is_marked_where_the_decoder_marks_it_and_something_is_common() -> None:
    logits = torch.randn(4, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    decision = torch.tensor([3.0, 0.4, -0.1, -9.0])
    found = conditioned(logits, decision)
    for b in range(4):
        for y in range(5):
            for x in range(6):
                background, foreground = logits[b, :, y, x].tolist()
                wanted = min(foreground - background, decision[b].item())
                assert (found[b, 1, y, x] - found[b, 0, y, x]).item() == pytest.approx(wanted, abs=1e-6)
                marked = foreground > background and decision[b] > 0
                assert bool(found[b, 1, y, x] > found[b, 0, y, x]) == bool(marked)


def test_contrastive_loss_of_single_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(7, 5, generator=generator) for _ in range(2))
    a[6] = b[6]
    a.requires_grad_()
    positive = torch.tensor([1.0, 0, 1, 0, 1, 0, 1])
    wanted = 0.0
    for first, second, same in zip(a.tolist(), b.tolist(), positive.tolist(), strict=True):
        distance = math.dist(first, second)
        wanted += distance**2 if same else max(0.0, 2.5 - distance) ** 2
    loss = contrastive_loss(a, b, positive, 2.5)
    assert loss.item() == pytest.approx(wanted / 7, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, a)
    assert gradient.isfinite().all()  # of equal embeddings too


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_embeddings_have_length_one_and_belong_to_their_image(pooling: str) -> None:
    network = made(pooling=pooling).eval()
    with torch.no_grad():
        embedded = network.embed(network.encode(A))
        alone = network.embed(network.encode(A[1:2]))
    assert embedded.shape == (3, 12)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(embedded[1:2], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("partner", ["features", "metric"])
def test_the_decision_does_not_depend_on_which_image_comes_first(partner: str) -> None:
    network = made(partner=partner).eval()
    with torch.no_grad():
        a, b = network.encode(A), network.encode(B)
        torch.testing.assert_close(network.classify(a, b), network.classify(b, a))
        logits_a, logits_b = network.cosegment(a, b, (33, 47), (60, 20))
        swapped_b, swapped_a = network.cosegment(b, a, (60, 20), (33, 47))
    torch.testing.assert_close(logits_a, swapped_a, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits_b, swapped_b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("partner", ["features", "metric"])
def test_masks_depend_on_the_partner_and_on_the_decision(partner: str) -> None:
    network = made(partner=partner).eval()
    with torch.no_grad():
        a, b = network.encode(A), network.encode(B)
        network.decision[-1].bias.fill_(1e3)
        own, _, _ = network.learn(a, b, (33, 47), (60, 20), torch.ones(3, dtype=torch.bool))
        other, _, _ = network.learn(a, b.roll(1, 0), (33, 47), (60, 20), torch.ones(3, dtype=torch.bool))
        assert not torch.allclose(own, other)
        torch.testing.assert_close(network.cosegment(a, b, (33, 47), (60, 20))[0], own)
        network.decision[-1].bias.fill_(-1e3)
        for logits in network.cosegment(a, b, (33, 47), (60, 20)):
            assert (logits[:, 1] < logits[:, 0]).all()


def test_losses_are_those_of_the_decision_and_of_the_embeddings() -> None:
    network = made(metric_weight=0.5, decision_weight=2.0, margin=1.5).eval()
    positive = torch.tensor([True, False, True])
    with torch.no_grad():
        a, b = network.encode(A), network.encode(B)
        _, _, losses = network.learn(a, b, (33, 47), (60, 20), positive)
        decision, embedded_a, embedded_b = network.classify(a, b), network.embed(a), network.embed(b)
    entropy = -sum(
        math.log(torch.sigmoid(logit if same else -logit)) for logit, same in zip(decision, positive, strict=True)
    )
    assert losses.keys() == {"decision_loss", "metric_loss"}
    assert losses["decision_loss"].item() == pytest.approx(2.0 * entropy / 3, rel=1e-4)
    metric = contrastive_loss(embedded_a, embedded_b, positive.float(), 1.5)
    assert losses["metric_loss"].item() == pytest.approx(0.5 * metric.item(), rel=1e-4)


def test_masks_of_negative_pairs_can_be_left_to_the_decision() -> None:
    positive = torch.tensor([True, False, True])
    target = torch.zeros(3, 33, 47, dtype=torch.uint8)
    target[0, :20] = 1
    found = {}
    for mask_pairs in ("all", "positive"):
        network = made(mask_pairs=mask_pairs).eval()
        logits, _, _ = network.learn(network.encode(A), network.encode(B), (33, 47), (60, 20), positive)
        pair_loss(logits, target, "background").backward()
        found[mask_pairs] = logits.detach(), network.decoder
    (every, _), (some, decoder) = found["all"], found["positive"]
    torch.testing.assert_close(some[positive], every[positive])
    assert pair_loss(some[1:2], target[1:2], "background").item() == 0
    own = made(mask_pairs="all").eval()
    logits, _, _ = own.learn(*(own.encode(each[positive]) for each in (A, B)), (33, 47), (60, 20), positive[positive])
    (pair_loss(logits, target[positive], "background") * 2 / 3).backward()  # the mean is over all three pairs
    for left, right in zip(decoder.parameters(), own.decoder.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad)


def test_every_parameter_learns() -> None:
    network = made().train()
    a, b = network.encode_pairs(photo(48, 48, 3), photo(48, 48, 4))
    logits_a, logits_b, losses = network.learn(a, b, (48, 48), (48, 48), torch.tensor([True, False, True]))
    (logits_a.square().mean() + logits_b.square().mean() + sum(losses.values())).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"input_size": None}, r"^model\.input_size.*null"),
        ({"input_size": 0}, r"^model\.input_size.*'0'"),
        ({"pooling": "mean"}, r"^model\.pooling.*'mean'.*average.*max"),
        ({"partner": "feature"}, r"^model\.partner.*'feature'.*'features'"),
        ({"mask_pairs": "none"}, r"^model\.mask_pairs.*'none'.*all.*positive"),
        ({"metric_channels": 0}, r"^model\.metric_channels.*'0'"),
        ({"decision_channels": 1.5}, r"^model\.decision_channels.*'1\.5'"),
        ({"margin": 0}, r"^model\.margin.*'0'.*\b0\b.*\b2\b"),
        ({"margin": 2.5}, r"^model\.margin.*'2\.5'"),
        ({"metric_weight": -1}, r"^model\.metric_weight.*'-1'"),
        ({"decision_weight": "much"}, r"^model\.decision_weight.*'much'"),
        ({"encoder": torch.nn.Conv2d(3, 3, 1)}, r"^model\.encoder.*Conv2d"),
    ],
)
def test_bad_settings(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CosegError, match=sentence):
        made(**settings)


class Decides(ConditionalSiameseNetwork):
    """A subclass of a user's, with a `classify` of its own."""

    def classify(self, features_a: Any, features_b: Any) -> Tensor:
        return (features_a * features_b).mean((1, 2, 3))


def test_a_subclass_that_classifies_gets_the_features_of_encode() -> None:
    network = Decides(VGG16Encoder(width=0.125), 48, 12, 6).eval()
    with torch.no_grad():
        for plain, special in ((network.encode(side), network.encode_for_pairs(side)) for side in (A, B)):
            assert torch.equal(plain, special)


def test_weights_of_half_precision() -> None:
    network = made()
    features = [network.encode(side).bfloat16() for side in (A, B)]
    network.bfloat16()
    logits_a, _, losses = network.learn(*features, (33, 47), (60, 20), torch.tensor([True, False, True]))
    assert logits_a.isfinite().all() and all(loss.isfinite() for loss in losses.values())
    assert network.cosegment(*features, (33, 47), (60, 20))[1].dtype == torch.float32
