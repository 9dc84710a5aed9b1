"""Which pairs are exemplars, what they show and what is learned from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch import Tensor

from coseg.data.batches import collate
from coseg.data.dataset import CliqueBatch, PairBatch, PairDataset, PairSample
from coseg.errors import CosegError
from coseg.labels import pair_targets
from coseg.models.exemplar import Exemplar
from coseg.models.features import take
from coseg.training.exemplars import _one_of, show
from coseg.training.fit import fit, make_datamodule, make_task, make_trainer
from coseg.training.losses import encode_batch, jaccard_loss, pair_loss
from coseg.training.task import load_task


def batch(seed: int = 0, pairs: int = 40, classes: int = 4, start: int = 0) -> PairBatch:
    """Label maps of blobs of up to three classes, some pairs without a common one; images are nothing."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((2, pairs, 12, 10), np.uint8)
    presence = rng.random((2, pairs, classes)) < 0.5
    presence[..., 0] |= ~presence.any(2)
    for side, pair, k in zip(*presence.nonzero(), strict=True):
        labels[side, pair, 3 * k : 3 * k + 2, : 2 + k] = k + 1
    labels[:, :, 11] = 255
    common = torch.from_numpy(presence[0] & presence[1])
    a, b = (torch.from_numpy(side) for side in labels)
    index = torch.arange(start, start + 2 * pairs).view(-1, 2)
    nothing = torch.zeros(pairs, 3, 12, 10, dtype=torch.uint8)
    return PairBatch(
        image_a=nothing, image_b=nothing, labels_a=a, labels_b=b, common=common, pair=index,
        target_a=pair_targets(a, common), target_b=pair_targets(b, common),
    )  # fmt: skip


def targets(of: PairBatch) -> tuple[Tensor, Tensor]:
    return of["target_a"], of["target_b"]


def shown_classes(region: Tensor, labels: Tensor) -> list[int]:
    """The labels under a region's object."""
    return sorted(set(labels[region == 1].tolist()))


def test_an_exemplar_shows_one_class_and_the_partner_is_to_find_that_one() -> None:
    made = batch()
    shown = show(made, targets(made), 1.0, seed=3, epoch=0)
    negatives = 0
    for k in range(40):
        labels = made["labels_a"][k], made["labels_b"][k]
        common = {int(c) + 1 for c in made["common"][k].nonzero()}
        negatives += not common
        for side in (0, 1):
            region, own, other = shown.regions[side][k], labels[side], labels[1 - side]
            (chosen,) = shown_classes(region, own)
            assert chosen in (common or set(own.unique().tolist()) - {0, 255})
            assert torch.equal(region == 1, own == chosen)  # all of it
            assert torch.equal(region == 255, own == 255)
            target = shown.targets[1 - side][k]
            assert torch.equal(target == 1, other == chosen)
            assert torch.equal(target == 255, other == 255)
            if not common:
                assert not (target == 1).any()
    assert 3 < negatives < 30


def test_one_of_several_classes_is_chosen_at_random() -> None:
    candidates = torch.tensor([[False, True, False, True, True]]).expand(3000, 5)
    picked = _one_of(candidates, torch.rand(3000, generator=torch.Generator().manual_seed(0)))
    assert (picked.sum(1) == 1).all()
    assert picked.float().mean(0).tolist() == pytest.approx([0, 1 / 3, 0, 1 / 3, 1 / 3], abs=0.03)
    ends = _one_of(candidates[:2], torch.tensor([0.0, 1.0]))  # a draw that is rounded to 1 picks the last
    assert ends.nonzero().tolist() == [[0, 1], [1, 4]]
    assert not _one_of(torch.zeros(1, 5, dtype=torch.bool), torch.tensor([0.5])).any()


def test_the_share_of_exemplars_and_the_others_stay_as_they_are() -> None:
    made = batch(pairs=1000)
    shown = show(made, targets(made), 0.3, seed=0, epoch=0)
    of_a, of_b = ((region == 1).flatten(1).any(1) for region in shown.regions)
    assert torch.equal(of_a, of_b)
    assert float(of_a.float().mean()) == pytest.approx(0.3, abs=0.05)
    for target, before in zip(shown.targets, targets(made), strict=True):
        assert torch.equal(target[~of_a], before[~of_a])


def test_the_choice_depends_on_the_pair_the_epoch_and_the_seed_alone() -> None:
    made = batch(pairs=60)
    whole = show(made, targets(made), 0.5, seed=0, epoch=2)
    part: Any = {key: value[20:30] for key, value in made.items()}  # type: ignore[index]
    again = show(part, targets(part), 0.5, seed=0, epoch=2)
    for one, other in zip((*whole.regions, *whole.targets), (*again.regions, *again.targets), strict=True):
        assert torch.equal(one[20:30], other)
    for seed, epoch in ((1, 2), (0, 1)):
        changed = show(made, targets(made), 0.5, seed=seed, epoch=epoch)
        assert not torch.equal(changed.regions[0], whole.regions[0])


def test_a_class_that_the_augmentation_cut_away_is_not_shown() -> None:
    made = batch()
    for name in ("labels_a", "labels_b"):
        labels = made[name]  # type: ignore[literal-required]
        labels[labels != 255] = 0
    shown = show(made, targets(made), 1.0, seed=0, epoch=0)
    assert not any((region == 1).any() for region in shown.regions)
    for target, before in zip(shown.targets, targets(made), strict=True):
        assert torch.equal(target, before)


def test_cliques_are_shown_as_their_pairs() -> None:
    pairs = batch(pairs=6)
    labels = torch.cat((pairs["labels_a"], pairs["labels_b"]))
    places = torch.stack((torch.arange(6), torch.arange(6, 12)), 1)
    image = torch.cat(pairs["pair"].unbind(1))
    clique = CliqueBatch(images=torch.zeros(12), labels=labels, image=image, pairs=places, common=pairs["common"])
    one, other = (show(made, targets(pairs), 0.7, seed=0, epoch=1) for made in (pairs, clique))
    for left, right in zip((*one.regions, *one.targets), (*other.regions, *other.targets), strict=True):
        assert torch.equal(left, right)


SMALL = ("model=cross_correlation", "model.kernel_sizes=[3]", "task.jaccard=0.5", "data.negatives=0.25")


def test_a_step_has_the_loss_of_pairs_and_exemplars_one_by_one(tiny: Callable[..., DictConfig]) -> None:
    config = tiny(*SMALL, "task.exemplars=0.6", "task.semantic=0", "data.batch_size=8")
    datamodule = make_datamodule(config)
    datamodule.setup("fit")
    torch.manual_seed(0)
    task = make_task(config, datamodule.catalog("train").class_names).eval()
    logged: dict[str, float] = {}
    task.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign,assignment]
    made: PairBatch = next(iter(datamodule.train_dataloader()))
    with torch.no_grad():
        loss = float(task.training_step(made, 0))
        encoded = encode_batch(task.network, made)
        shown = show(made, targets(made), 0.6, seed=config.seed, epoch=0)
        sides = []
        for side in (0, 1):
            size = encoded.sizes[side]
            rows = []
            for k in range(8):
                image, partner = (take(encoded.features[at], torch.tensor([k])) for at in (side, 1 - side))
                region = shown.regions[1 - side][k]
                if (region == 1).any():
                    (logits,) = task.network.cosegment_exemplars([Exemplar(partner, size, region)], [image], [size])
                else:
                    logits, _ = task.network.cosegment(image, partner, size, size)
                rows.append(logits)
            sides.append((torch.cat(rows), shown.targets[side]))
        pair = sum(float(pair_loss(*side, "ignored")) for side in sides)
        jaccard = sum(float(jaccard_loss(*side, "ignored")) for side in sides)
    assert any((region == 1).any() for region in shown.regions)
    assert logged["train/loss"] == pytest.approx(pair, rel=1e-4)
    assert loss == pytest.approx(pair + 0.5 * jaccard, rel=1e-4)


class Weights(Callback):
    """Keeps the weights after training."""

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.state = {key: value.clone() for key, value in pl_module.network.state_dict().items()}


def trained_weights(config: DictConfig) -> dict[str, Tensor]:
    torch.manual_seed(0)
    datamodule = make_datamodule(config)
    task = make_task(config, datamodule.catalog("train").class_names)
    weights = Weights()
    trainer = make_trainer(config, [weights], False, enable_checkpointing=False, limit_val_batches=0)
    trainer.fit(task, datamodule=datamodule)
    return weights.state


def test_weights_after_some_steps(tiny: Callable[..., DictConfig]) -> None:
    """Equal for none and the default, and for any number of workers; others with exemplars, or another seed of them."""
    plain = trained_weights(tiny(*SMALL, "trainer.max_epochs=2"))
    zero = trained_weights(tiny(*SMALL, "trainer.max_epochs=2", "task.exemplars=0"))
    assert all(torch.equal(plain[key], zero[key]) for key in plain)
    shown = [
        trained_weights(tiny(*SMALL, "trainer.max_epochs=2", "task.exemplars=0.5", f"data.workers={workers}"))
        for workers in (0, 2)
    ]
    assert all(torch.equal(shown[0][key], shown[1][key]) for key in plain)
    assert any(not torch.equal(shown[0][key], plain[key]) for key in plain)
    assert all(value.isfinite().all() for value in shown[0].values())


def test_validation_scores_each_pair_as_exemplars_for_each_other(tiny: Callable[..., DictConfig]) -> None:
    config = tiny(*SMALL, "data.val_pairs=5", "data.val_negatives=2", "task.exemplars=0.5")
    datamodule = make_datamodule(config)
    datamodule.setup("fit")
    torch.manual_seed(0)
    task = make_task(config, datamodule.catalog("val").class_names)
    biases = [part.bias for part in task.network.modules() if isinstance(part, torch.nn.Conv2d)]
    assert biases[-1] is not None and len(biases[-1]) == 2
    biases[-1].data[1] += 9  # or a fresh network finds nothing likelier than object and rest together
    trainer = make_trainer(config, [], False, enable_checkpointing=False)
    (logged,) = trainer.validate(task, datamodule=datamodule, verbose=False)
    task.eval()
    scores = []
    catalog, order = datamodule.catalog("val"), datamodule.order("val")
    with torch.no_grad():
        for position in range(len(order)):
            i, j = order.pair(0, position)
            made = collate([PairDataset(catalog)[PairSample(i, j, 0)]])
            if not made["common"].any():
                continue
            shown = show(made, targets(made), 1.0, seed=0, epoch=0)
            images = made["image_a"], made["image_b"]
            sizes = [(image.shape[2], image.shape[3]) for image in images]
            features = [task.network.encode(image) for image in images]
            for side in (0, 1):
                exemplar = Exemplar(features[1 - side], sizes[1 - side], shown.regions[1 - side][0])
                (logits,) = task.network.cosegment_exemplars([exemplar], [features[side]], [sizes[side]])
                mask, truth = logits.argmax(1) == 1, shown.targets[side] == 1
                scores.append(float((mask & truth).sum() / (mask | truth).sum()))
    assert len(scores) == 10
    assert logged["val/jaccard_exemplar"] == pytest.approx(sum(scores) / 10, abs=1e-3)
    assert logged["val/jaccard_exemplar"] > 0


def test_a_checkpoint_keeps_the_setting(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    fit(tiny(*SMALL, "trainer.max_epochs=1", "task.exemplars=0.5"), tmp_path)
    assert "val/jaccard_exemplar" in (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")
    assert load_task(tmp_path / "checkpoints" / "last.ckpt").exemplars == 0.5


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("model=siamese",), "SiameseNetwork"),
        (("model=conditional_siamese",), "ConditionalSiameseNetwork"),
        (("model=embedding_matching", "model.matching=false"), "matching=false"),
    ],
)
def test_a_network_that_cannot_is_refused_before_data_are_read(
    compose: Callable[..., DictConfig], tmp_path: Path, overrides: tuple[str, ...], words: str
) -> None:
    config = compose("train", "dataset=voc", f"dataset.root={tmp_path / 'none'}", "task.exemplars=0.5", *overrides)
    with pytest.raises(CosegError, match=words) as refused:
        fit(config, tmp_path / "run")
    assert "task.exemplars" in str(refused.value)
    assert not (tmp_path / "run" / "checkpoints").exists()
