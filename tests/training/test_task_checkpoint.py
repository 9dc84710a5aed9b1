"""The task in a checkpoint: made of modules, or written by an earlier version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torchmetrics import MeanMetric

from coseg.errors import CosegError
from coseg.hub.load import load_network
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.siamese import SiameseNetwork
from coseg.training.losses import JaccardLoss, PairLoss, SemanticLoss
from coseg.training.task import CosegTask
from coseg.training.task_checkpoint import task_arguments


def network() -> SiameseNetwork:
    return SiameseNetwork(VGG16Encoder(width=0.125, stride=8))


def test_a_task_of_modules(tmp_path: Path) -> None:
    first = network()
    losses: dict[str, Any] = {"pair": PairLoss(), "jaccard": (0.5, JaccardLoss()), "semantic": SemanticLoss(first, 2)}
    task = CosegTask(first, losses, {"share": MeanMetric()}, class_names=["a", "b"])
    assert task.weights == {"pair": 1.0, "jaccard": 0.5, "semantic": 1.0}
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(CosegError, match="network="):
        CosegTask.load_from_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(CosegError, match="network="):
        load_network(tmp_path / "a.ckpt")
    with pytest.raises(CosegError, match="losses="):
        CosegTask.load_from_checkpoint(tmp_path / "a.ckpt", network=network())
    second = network()
    losses["semantic"] = SemanticLoss(second, 2)
    loaded = CosegTask.load_from_checkpoint(tmp_path / "a.ckpt", network=second, losses=losses, metrics={})
    assert loaded.network is second
    assert loaded.state_dict().keys() == task.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), task.parameters(), strict=True))
    with pytest.raises(CosegError, match="CosegNetwork"):
        CosegTask(nn.Conv2d(3, 2, 1))
    with pytest.raises(CosegError, match="Module"):
        CosegTask(first, {"mine": 3})  # type: ignore[dict-item]


def test_arguments_of_earlier_checkpoints() -> None:
    earlier = {"network": {"_target_": "x"}, "void": "background", "jaccard": 0.5, "semantic": 1.0, "class_names": []}
    found = task_arguments(earlier, Path("a.ckpt"))
    assert found.keys() == {"network", "losses", "class_names"}
    assert found["losses"]["pair"] | {"_target_": ""} == {"_target_": "", "weight": 1.0, "void": "background"}
    assert [term["weight"] for term in found["losses"].values()] == [1.0, 0.5, 1.0]
