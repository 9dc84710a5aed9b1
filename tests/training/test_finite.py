from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from metrics_file import read_losses
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.errors import CosegError
from coseg.hub.checkpoint import read_checkpoint
from coseg.inference.cooccurrence.known_images import known_images
from coseg.inference.segmenter import CoSegmenter
from coseg.instantiate import build_network
from coseg.models.base import CosegNetwork
from coseg.training.check import check
from coseg.training.fit import fit, make_datamodule
from coseg.training.task import CosegTask

Tiny = Callable[..., DictConfig]


@pytest.fixture
def broken_loss(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, float], None]:
    """``broken_loss(batch, value)``: the loss of that batch, counted from 0, is not finite."""

    def at(number: int, value: float) -> None:
        original = CosegTask.training_step
        count = -1

        def step(self: CosegTask, batch: Any, batch_idx: int) -> Tensor:
            nonlocal count
            count += 1
            return original(self, batch, batch_idx) * (value if count == number else 1)

        monkeypatch.setattr(CosegTask, "training_step", step)

    return at


def break_weights(network: torch.nn.Module) -> None:
    with torch.no_grad():
        list(network.parameters())[-1].fill_(float("nan"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("overrides", "batch", "step"),
    [([], 5, 5), (["trainer.accumulate_grad_batches=2"], 5, 2), (["callbacks=ema"], 5, 5)],
    ids=["plain", "accumulation", "average"],
)
def test_training_stops_at_the_first_loss(
    value: float,
    overrides: list[str],
    batch: int,
    step: int,
    tiny: Tiny,
    tmp_path: Path,
    broken_loss: Callable[[int, float], None],
) -> None:
    broken_loss(batch, value)
    settings = ["schedule=constant", "optimizer.lr=0.002", "checkpoint_minutes=1e-9", *overrides]
    with pytest.raises(CosegError) as error:
        fit(tiny(*settings), tmp_path)
    told = str(error.value)
    assert re.search(rf"step {step}\b.*epoch 1\b.*0\.002", told)
    assert all(word in told for word in ("optimizer.lr", "gradient_clip_val", "precision=32-true", "last.ckpt"))
    last = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert last["global_step"] == step  # of before: the broken step is not in it
    assert all(weights.isfinite().all() for weights in last["state_dict"].values())
    assert all(torch.isfinite(torch.tensor(float(loss))) for _, loss in read_losses(tmp_path))
    assert not (tmp_path / "finished.json").exists()


def test_the_first_step_has_no_checkpoint_before_it(
    tiny: Tiny, tmp_path: Path, broken_loss: Callable[[int, float], None]
) -> None:
    broken_loss(0, float("nan"))
    with pytest.raises(CosegError, match=r"step 0\b.*no checkpoint"):
        fit(tiny(), tmp_path)
    assert not list(tmp_path.glob("checkpoints/*"))


def test_the_command_ends_with_exit_code_2(
    command: Callable[..., tuple[int, str, str]],
    tiny_overrides: dict[str, tuple[str, ...]],
    broken_loss: Callable[[int, float], None],
) -> None:
    broken_loss(2, float("nan"))
    code, _, err = command("train", *tiny_overrides["train"], "panels=0")
    assert code == 2 and "loss of step 2" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("batch", "minutes", "told"),
    [
        pytest.param(1, 0, "loss of step 2", id="the next loss"),
        pytest.param(1, 1e-9, "by step 2", id="a checkpoint before it"),
        pytest.param(3, 0, "by step 4", id="the checkpoint of an epoch without validation"),
    ],
)
def test_weights_break_under_a_finite_loss(
    batch: int, minutes: float, told: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = CosegTask.optimizer_step

    def step(self: CosegTask, epoch: int, batch_idx: int, *arguments: Any, **named: Any) -> None:
        original(self, epoch, batch_idx, *arguments, **named)
        if batch_idx == batch:
            break_weights(self.network)

    monkeypatch.setattr(CosegTask, "optimizer_step", step)
    with pytest.raises(CosegError, match=told):
        fit(tiny(f"checkpoint_minutes={minutes}", "trainer.check_val_every_n_epoch=2"), tmp_path)
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert not last.exists() or read_checkpoint(last)["global_step"] == 1


def test_validation_names_the_images(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = CosegTask.on_validation_epoch_start

    def start(self: CosegTask) -> None:
        original(self)
        if self.current_epoch == 1:
            break_weights(self.network)

    monkeypatch.setattr(CosegTask, "on_validation_epoch_start", start)
    config = tiny()
    with pytest.raises(CosegError, match="not finite") as error:
        fit(config, tmp_path)
    datamodule = make_datamodule(config)
    datamodule.setup("fit")
    ids = datamodule.catalog("val").ids
    first, second = datamodule.order("val").pair(0, 0)
    assert ids[first] in str(error.value) and ids[second] in str(error.value)
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 4


def test_check_refuses_too(tiny: Tiny, broken_loss: Callable[[int, float], None], tmp_path: Path) -> None:
    broken_loss(1, float("nan"))
    with pytest.raises(CosegError, match="loss of step 1"):
        check(tiny(), tmp_path)


@pytest.fixture
def broken_checkpoint(trained: Path, tmp_path: Path) -> Path:
    state = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    state["state_dict"]["network.decoder.logits.bias"].fill_(float("nan"))
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    return path


@pytest.mark.parametrize("protocol", ["paper", "group"])
def test_a_test_names_the_images_and_writes_nothing(
    protocol: str,
    broken_checkpoint: Path,
    command: Callable[..., tuple[int, str, str]],
    tiny_overrides: dict[str, tuple[str, ...]],
) -> None:
    words = (*tiny_overrides["test"], "panels=0", "split=unseen", f"protocol={protocol}", f"ckpt={broken_checkpoint}")
    code, out, err = command("test", *words)
    assert code == 2, out + err
    assert "not finite" in err and "Traceback" not in err
    assert re.search(r"numbers for \S+, \S+", err)
    run = broken_checkpoint.parent.parent
    assert not list(run.rglob("results.json")) and not list(run.rglob("*.npz"))


def test_a_calibration_names_the_images(tiny: Tiny) -> None:
    config = tiny()
    datamodule = make_datamodule(config)
    datamodule.setup("fit")
    catalog: Catalog = datamodule.catalog("val")
    network: CosegNetwork = build_network(OmegaConf.to_container(config.model, resolve=True))  # type: ignore[arg-type]
    model = CoSegmenter(network.eval(), {"size": None, "threshold": 0.5, "cooccurrence": None}, "cpu")
    break_weights(network)
    with pytest.raises(CosegError, match="not finite") as error:
        known_images(model, catalog, None, 3, 0)
    assert any(name in str(error.value) for name in catalog.ids)
