"""The terms of the loss against numbers worked out by hand; a step on cliques is the step on their pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from metrics_file import read_losses
from omegaconf import DictConfig
from torch import Tensor

from coseg.data.batches import collate
from coseg.data.dataset import PairDataset, PairSample
from coseg.errors import CosegError
from coseg.models.base import CosegNetwork, Size
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.mutual_correlation import MutualCorrelationNetwork
from coseg.models.siamese import SiameseNetwork
from coseg.training.fit import fit, make_datamodule, make_task
from coseg.training.losses import SemanticLoss, jaccard_loss, pair_loss


def test_loss_is_the_cross_entropy_of_the_pixels_that_count() -> None:
    logits = torch.tensor([[[[2.0, 0.0, -1.0, 0.5]], [[0.0, 1.0, 3.0, 0.5]]]])  # (1, 2, 1, 4)
    target = torch.tensor([[[0, 1, 2, 255]]], dtype=torch.uint8)

    def cost(background: float, foreground: float, truth: int) -> float:
        chosen = foreground if truth else background
        return math.log(math.exp(background) + math.exp(foreground)) - chosen

    three = cost(2, 0, 0) + cost(0, 1, 1) + cost(-1, 3, 0)  # the other object, 2, is background
    assert pair_loss(logits, target, "ignored").item() == pytest.approx(three / 3, rel=1e-6)
    assert pair_loss(logits, target, "background").item() == pytest.approx((three + cost(0.5, 0.5, 0)) / 4, rel=1e-6)
    assert pair_loss(logits, torch.full_like(target, 255), "ignored").item() == 0


def test_jaccard_loss_is_one_minus_the_mean_index_of_masks_with_foreground() -> None:
    probabilities = torch.tensor([[0.9, 0.2, 0.5, 0.6], [0.3, 0.1, 0.8, 0.5], [0.4, 0.4, 0.4, 0.4]])[:, None]
    logits = torch.stack((torch.zeros_like(probabilities), (probabilities / (1 - probabilities)).log()), 1)
    target = torch.tensor([[[1, 0, 2, 255]], [[0, 0, 1, 1]], [[0, 2, 0, 0]]], dtype=torch.uint8)  # the third has none
    first, second = 0.9 / (1 + 0.2 + 0.5), 1.3 / (0.3 + 0.1 + 2)
    assert jaccard_loss(logits, target, "ignored").item() == pytest.approx(1 - (first + second) / 2, rel=1e-5)
    first = 0.9 / (1 + 0.2 + 0.5 + 0.6)
    assert jaccard_loss(logits, target, "background").item() == pytest.approx(1 - (first + second) / 2, rel=1e-5)
    assert jaccard_loss(logits, torch.zeros_like(target), "ignored").item() == 0


@pytest.fixture
def semantic() -> SemanticLoss:
    torch.manual_seed(0)
    return SemanticLoss(SiameseNetwork(VGG16Encoder(width=0.125, stride=8)), classes=3)


def test_semantic_loss_is_told_from_the_last_of_several_maps(semantic: SemanticLoss) -> None:
    features = torch.rand(2, semantic.layer.in_channels, 2, 3)
    labels = torch.randint(0, 4, (2, 16, 24), dtype=torch.uint8)
    assert semantic.of_images((torch.rand(2, 5, 4, 6), features), labels) == semantic.of_images(features, labels)


def test_semantic_loss_takes_features_that_are_not_the_encoders() -> None:
    network = MutualCorrelationNetwork(VGG16Encoder(width=0.125, stride=8), input_size=32)
    loss = SemanticLoss(network, classes=3)
    labels = torch.zeros(1, 32, 32, dtype=torch.uint8)
    assert loss.of_images(network.encode(torch.rand(1, 3, 32, 32)), labels).isfinite()


def test_semantic_loss_of_constant_features(semantic: SemanticLoss) -> None:
    """The same scores everywhere, so that each labelled pixel costs -log of its class's share; void costs nothing."""
    features = torch.rand(2, semantic.layer.in_channels, 1, 1).expand(-1, -1, 2, 3)
    labels = torch.tensor([0, 1, 3, 255, 2, 0], dtype=torch.uint8).repeat(2, 8, 3)[:, :, :17].contiguous()
    labels[1] = labels[1].roll(1, -1)
    weighted: dict[bool, list[tuple[float, float]]] = {False: [], True: []}  # background, objects: weight and cost
    for b in range(2):
        weight, bias = semantic.layer.weight.detach()[..., 0, 0], semantic.layer.bias
        assert bias is not None
        shares = (weight @ features[b, :, 0, 0] + bias.detach()).softmax(0)
        seen = labels[b, ::2, ::2].flatten().tolist()
        for label in set(seen) - {255}:
            pixels = seen.count(label)
            total = pixels if label == 0 else pixels / max(pixels, len(seen) / 100)  # each class once in each image
            weighted[label > 0].append((total, -math.log(float(shares[label]))))
    assert len(weighted[True]) > 3
    means = [sum(w * cost for w, cost in each) / sum(w for w, _ in each) for each in weighted.values()]
    assert semantic.of_images(features, labels).item() == pytest.approx(sum(means) / 2, rel=1e-5)


def test_a_small_object_weighs_as_much_as_a_large_one(semantic: SemanticLoss) -> None:
    def losses(side: int) -> tuple[float, float]:
        """With scores that get the large object, or the small one, of class 3, wrong."""
        labels = torch.full((1, 40, 40), 1, dtype=torch.uint8)
        labels[:, :side, :side] = 3
        features = torch.zeros(1, semantic.layer.in_channels, 1, 1)
        result = []
        for wrong in (1, 3):
            with torch.no_grad():
                semantic.layer.weight.zero_()
                semantic.layer.bias.zero_()  # type: ignore[union-attr]
                semantic.layer.bias[wrong] = -5  # type: ignore[index]
            result.append(semantic.of_images(features, labels).item())
        return result[0], result[1]

    large, small = losses(side=10)
    assert small == pytest.approx(large, rel=1e-5)
    large, small = losses(side=2)  # one counted pixel of 400: a quarter of a hundredth
    right = math.log(3 + math.exp(-5)) / 2
    assert (small - right) / (large - right) == pytest.approx(0.25, rel=1e-4)


def test_objects_of_no_class_are_void_to_the_semantic_loss(semantic: SemanticLoss) -> None:
    """Data sets of groups, and those of chosen classes, have such objects."""
    features = torch.rand(1, semantic.layer.in_channels, 4, 4)
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[0, 4:], labels[0, :4, 4:] = 2, 4
    assert semantic.of_images(features, labels) == semantic.of_images(features, labels.where(labels != 4, 255))


def test_semantic_loss_falls_to_nothing(semantic: SemanticLoss) -> None:
    """Features and labels that agree place by place can be told apart: rows and columns are not mixed up."""
    labels = torch.zeros(1, 32, 48, dtype=torch.uint8)
    labels[:, :16, 24:] = 2
    labels[:, 16:, :24] = 3
    labels[:, 14:18] = labels[:, :, 22:26] = 255  # scores change over from one class to the next
    features = torch.zeros(1, semantic.layer.in_channels, 16, 24)
    features[:, 2, :8, 12:] = features[:, 3, 8:, :12] = 1
    features[:, 0] = 1 - features.sum(1)
    with torch.no_grad():
        semantic.layer.weight.zero_()
        semantic.layer.weight[:, :4, 0, 0] = 30 * torch.eye(4)
    assert semantic.of_images(features, labels).item() < 1e-6
    assert semantic.of_images(features.flip(2), labels).item() > 1
    assert semantic.of_images(features.flip(3), labels).item() > 1


def test_semantic_loss_of_nothing_but_void(semantic: SemanticLoss) -> None:
    features = torch.rand(1, semantic.layer.in_channels, 2, 2)
    assert semantic.of_images(features, torch.full((1, 16, 16), 255, dtype=torch.uint8)).item() == 0


class Other(CosegNetwork):
    """Without an encoder; two levels, of which the first has 5 channels and the last is a map or not."""

    def __init__(self, last: int = 0) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 5, 8, stride=8)
        self.last = last

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.layer(self.resize(images))
        return maps, (maps.mean((2, 3)) if self.last else maps[:, :4])

    def cosegment(self, features_a: Any, features_b: Any, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        return features_a[0], features_b[0]


class First(Other):
    def feature_map(self, features: Any) -> Tensor:
        return features[0]


def test_semantic_loss_of_any_network_with_a_feature_map() -> None:
    labels = torch.zeros(2, 16, 24, dtype=torch.uint8)
    for network, channels in ((Other(), 4), (First(1), 5)):
        loss = SemanticLoss(network, 3)
        assert loss.layer.in_channels == channels and network.training
        value = loss.of_images(network.encode(torch.rand(2, 3, 16, 24)), labels)
        value.backward()
        assert network.layer.weight.grad is not None and network.layer.weight.grad.abs().sum() > 0
        assert set(loss.state_dict()) == {"layer.weight", "layer.bias"}


def test_semantic_loss_without_a_feature_map() -> None:
    with pytest.raises(CosegError, match=r"task\.semantic.*Other.*\(1, 4\)|task\.semantic.*Other.*\(1, 5\)"):
        SemanticLoss(Other(1), 3)


Tiny = Callable[..., DictConfig]
CLIQUES = ("data/sampler=clique", "data.clique=3", "augmentation=none", "task.semantic=0")


def test_a_step_on_cliques_is_the_step_on_their_pairs(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    datamodule = make_datamodule(tiny(*CLIQUES))
    datamodule.setup("fit")
    batch = next(iter(datamodule.train_dataloader()))
    catalog = datamodule.catalog("train")
    torch.manual_seed(0)
    task = make_task(tiny(*CLIQUES), catalog.class_names).eval()  # so that batch norm does not depend on the batch
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
    encoded: list[int] = []
    encode = task.network.encode
    monkeypatch.setattr(task.network, "encode", lambda images: (encoded.append(len(images)), encode(images))[1])

    task.training_step(batch, 0).backward()
    assert encoded == [6]  # two cliques of three
    found = {name: value.grad.clone() for name, value in task.named_parameters() if value.grad is not None}
    task.zero_grad()

    # The same pairs, read from the catalog one by one.
    pairs = batch["image"][batch["pairs"]].tolist()
    assert len(pairs) == 6
    dataset = PairDataset(catalog, make_datamodule(tiny("augmentation=none")).augmentation)
    plain: Any = collate([dataset[PairSample(i, j, 0)] for i, j in pairs])
    loss = task.training_step(plain, 0)
    loss.backward()
    assert encoded == [6, 12]
    for name, value in task.named_parameters():
        if value.grad is not None:
            torch.testing.assert_close(found[name], value.grad, rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        assert float(task.training_step(batch, 0)) == pytest.approx(float(loss), rel=1e-5)


def test_training_on_cliques_with_negatives_and_growing_sizes(tiny: Tiny, tmp_path: Path) -> None:
    more = ("data/sampler=clique", "data.negatives=0.3", "task.semantic=1", "model.input_size=48", "callbacks=resizing")
    fit(tiny(*more, "callbacks.resizing.sizes=[32,48]", "data.pairs_per_epoch=24"), tmp_path)
    losses = [float(loss) for _, loss in read_losses(tmp_path)]
    assert len(losses) == 2 * 4 and all(0 < loss < 10 for loss in losses)
