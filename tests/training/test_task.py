from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from coseg.data.batches import collate
from coseg.data.dataset import PairDataset, PairSample
from coseg.errors import CosegError
from coseg.hub.checkpoint import read_checkpoint
from coseg.instantiate import build, plain
from coseg.training.fit import fit, make_datamodule, make_task, make_trainer
from coseg.training.losses import LossInput, SemanticLoss, pair_loss
from coseg.training.task import CosegTask, load_task

NETWORK = {
    "_target_": "coseg.models.siamese.SiameseNetwork",
    "encoder": {"_target_": "coseg.models.encoders.vgg.VGG16Encoder", "width": 0.125, "stride": 8, "weights": None},
}


def test_both_sides_add_up() -> None:
    task = CosegTask(network=NETWORK, class_names=["a"])
    generator = torch.Generator().manual_seed(0)
    sides = [torch.randn(2, 2, 5, 7, generator=generator) for _ in range(2)]
    targets = [torch.randint(0, 3, (2, 5, 7), generator=generator, dtype=torch.uint8) for _ in range(2)]
    expected = sum(
        float(-logits.double().log_softmax(1)[b, int(target[b, y, x] == 1), y, x]) / target.numel()
        for logits, target in zip(sides, targets, strict=True)
        for b in range(2)
        for y in range(5)
        for x in range(7)
    )
    assert pairs_loss(task, sides, targets) == pytest.approx(expected, rel=1e-5)


def pairs_loss(task: CosegTask, logits: Any, targets: Any) -> float:
    return float(task.get_submodule("pair_loss")(LossInput(logits, targets, torch.ones(1, 1), ((), ()), [])))


def test_a_step_adds_the_weighted_semantic_loss(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    config = tiny("task.semantic=0.5", "trainer.max_epochs=1")
    datamodule = make_datamodule(config)
    datamodule.setup("fit")
    torch.manual_seed(0)
    task = make_task(config, datamodule.catalog("train").class_names).eval()
    logged: dict[str, float] = {}
    task.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign,assignment]
    batch = next(iter(datamodule.train_dataloader()))
    with torch.no_grad():
        loss = float(task.training_step(batch, 0))
        logits = task(batch["image_a"], batch["image_b"])
        pairs = sum(
            float(pair_loss(side, batch[f"target_{name}"], "ignored"))  # type: ignore[literal-required]
            for side, name in zip(logits, "ab", strict=True)
        )
        assert isinstance(task.semantic_loss, SemanticLoss)
        of_images = task.semantic_loss.of_images
        semantic = sum(
            0.25 * float(of_images(task.network.encode(batch[f"image_{side}"]), batch[f"labels_{side}"]))  # type: ignore[literal-required]
            for side in "ab"
        )
    assert logged == pytest.approx({"train/loss": pairs, "train/semantic_loss": semantic}, rel=1e-5)
    assert loss == pytest.approx(pairs + semantic, rel=1e-5)

    fit(config, tmp_path)  # and its checkpoint opens alone
    loaded = load_task(tmp_path / "checkpoints" / "last.ckpt")
    assert isinstance(loaded.semantic_loss, SemanticLoss)
    assert loaded.semantic_loss.layer.out_channels == len(datamodule.catalog("train").class_names) + 1


def pairs_of(datamodule: Any, role: str) -> Iterator[tuple[Any, Any]]:
    """Every pair of `role`, read from the catalog without a loader, as a batch of one; and its index."""
    catalog, order = datamodule.catalog(role), datamodule.order(role)
    for position in range(len(order)):
        i, j = order.pair(0, position)
        yield collate([PairDataset(catalog)[PairSample(i, j, 0)]]), (i, j)


def iou(mask: Tensor, target: Tensor) -> float:
    """IoU by sets of pixels, void as background."""
    truth = {tuple(at) for at in torch.nonzero(target == 1).tolist()}
    found = {tuple(at) for at in torch.nonzero(mask).tolist()}
    return len(truth & found) / len(truth | found)


def test_validation_scores_are_those_of_the_pairs(tiny: Callable[..., DictConfig]) -> None:
    config = tiny("data.val_pairs=5")
    datamodule = make_datamodule(config)
    datamodule.setup("fit")
    torch.manual_seed(0)
    task = make_task(config, datamodule.catalog("val").class_names)
    trainer = make_trainer(config, [], False, enable_checkpointing=False)
    (logged,) = trainer.validate(task, datamodule=datamodule, verbose=False)
    task.eval()
    scores, losses = [], []
    with torch.no_grad():
        for batch, _ in pairs_of(datamodule, "val"):
            logits = task(batch["image_a"], batch["image_b"])
            losses.append(pairs_loss(task, logits, (batch["target_a"], batch["target_b"])))
            for side, key in zip(logits, ("target_a", "target_b"), strict=True):
                scores.append(iou(side.argmax(1)[0], batch[key][0]))
    assert len(losses) == 5
    assert logged["val/jaccard"] == pytest.approx(sum(scores) / len(scores), abs=1e-9)
    assert logged["val/loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert 0 < logged["val/jaccard"] < 1


def test_auto_is_the_number_of_steps_of_the_whole_training(tiny: Callable[..., DictConfig], trained: Path) -> None:
    schedule = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["lr_schedulers"][0]
    assert schedule["total_steps"] == 8  # 2 epochs of 16 pairs in batches of 4
    assert schedule["last_epoch"] == 8


def test_the_shipped_schedule_has_any_number_of_steps(compose: Callable[..., DictConfig]) -> None:
    shipped = plain(compose("train", "schedule=one_cycle").schedule)
    for steps in range(2, 201):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        schedule = build({**shipped, "total_steps": steps}, LRScheduler, "schedule", optimizer=optimizer)
        optimizer.step()
        schedule.step()
        assert 0 < schedule.get_last_lr()[0] <= shipped["max_lr"]


def primitive(value: object) -> bool:
    if type(value) is dict:
        return all(type(key) is str and primitive(each) for key, each in value.items())
    if type(value) is list:
        return all(primitive(each) for each in value)
    return value is None or type(value) in (str, int, float, bool)


def test_a_checkpoint_opens_alone(trained: Path) -> None:
    for name in ("best", "last"):
        path = trained / "checkpoints" / f"{name}.ckpt"
        contents = torch.load(path, weights_only=True)
        assert primitive(dict(contents["hyper_parameters"])), contents["hyper_parameters"]
        task = CosegTask.load_from_checkpoint(path, weights_only=True).eval()
        other = load_task(path).eval()
        for key, value in contents["state_dict"].items():
            assert torch.equal(task.state_dict()[key], value)
        images = torch.rand(2, 3, 40, 56)
        with torch.no_grad():
            for mine, yours in zip(task(images, images.flip(0)), other(images, images.flip(0)), strict=True):
                assert torch.equal(mine, yours)


def test_logits_survive_a_checkpoint(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    config = tiny()
    datamodule = make_datamodule(config)
    task = make_task(config, datamodule.catalog("train").class_names)
    trainer = make_trainer(config, [], False, enable_checkpointing=False, max_epochs=1, limit_val_batches=0)
    trainer.fit(task, datamodule=datamodule)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    images = torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        before = task.eval()(images, images.flip(-1))
        after = CosegTask.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True).eval()(images, images.flip(-1))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_opening_a_checkpoint_fetches_no_weights(
    tiny: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coseg.models.encoders.vgg import VGG16Encoder

    state = {
        f"features.{key}": value for key, value in VGG16Encoder(width=0.125, stride=8).features.state_dict().items()
    }
    torch.save(state, tmp_path / "features.pth")
    config = tiny(f"model.encoder.weights={tmp_path / 'features.pth'}", "model.kernel_sizes=[3]")
    datamodule = make_datamodule(config)
    task = make_task(config, datamodule.catalog("train").class_names)
    assert torch.equal(task.network.encoder.features[0].weight, state["features.0.weight"])  # type: ignore[attr-defined]
    trainer = make_trainer(config, [], False, enable_checkpointing=False, fast_dev_run=True)
    trainer.fit(task, datamodule=datamodule)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    (tmp_path / "features.pth").unlink()
    assert "features.pth" not in str(read_checkpoint(tmp_path / "a.ckpt")["hyper_parameters"])
    loaded = CosegTask.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), task.parameters(), strict=True))


@pytest.mark.parametrize(
    "network", [{"_target_": "os.system"}, {"_target_": "subprocess.Popen"}, {"_target_": "no.such"}]
)
def test_a_checkpoint_calls_nothing_but_networks(network: dict[str, str]) -> None:
    with pytest.raises(CosegError, match=network["_target_"]):
        build({**NETWORK, "encoder": network}, torch.nn.Module, "model")
    with pytest.raises(CosegError, match=network["_target_"]):
        build({**NETWORK, "decoder_channels": [network]}, torch.nn.Module, "model")
