"""Training from a configuration: it overwrites no earlier run, and lists the images that it skips."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from facts import mentions
from layouts.groups import GroupItem, write_folder
from metrics_file import read_rows
from omegaconf import DictConfig

from coseg.errors import CosegError
from coseg.hub.checkpoint import read_network
from coseg.training.fit import fit, make_task


def test_no_panels_where_none_are_wanted(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    score = fit(tiny("panels=0", "trainer.max_epochs=1"), tmp_path)
    assert not (tmp_path / "panels").exists()
    assert score == float(next(row["val/jaccard"] for row in read_rows(tmp_path) if row["val/jaccard"]))


def test_a_new_run_does_not_write_over_an_earlier_one(trained: Path, tiny: Callable[..., DictConfig]) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    with pytest.raises(CosegError, match="resume="):
        fit(tiny("seed=1"), trained)
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_skipped_images_are_listed(
    compose: Callable[..., DictConfig],
    tiny_overrides: dict[str, tuple[str, ...]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def tiny(*overrides: str) -> DictConfig:
        settings = [word for word in tiny_overrides["train"] if not word.startswith("dataset.")]
        return compose("train", "dataset=folder", *settings, "panels=0", *overrides)

    truth = np.zeros((48, 48), np.uint8)
    truth[10:30, 8:40] = 1
    rng = np.random.default_rng(0)
    items = [GroupItem("cat", rng.integers(0, 256, (48, 48, 3), dtype=np.uint8), truth) for _ in range(5)]
    write_folder(tmp_path / "own", items)
    images = sorted((tmp_path / "own" / "cat" / "images").iterdir())
    images[1].write_bytes(images[1].read_bytes()[:-100])
    own = (f"dataset.root={tmp_path / 'own'}", "data.pairs_per_epoch=4", "data.batch_size=2")
    own += ("data.val_pairs=2", "data.workers=0", "schedule=constant")
    with pytest.raises(CosegError, match=rf"{images[1].name}.*decoded"):
        fit(tiny(*own, "data.pairs_per_epoch=10", "trainer.max_epochs=1"), tmp_path / "refused")
    with caplog.at_level(logging.WARNING):
        fit(tiny(*own, "data.on_damaged=skip", "trainer.max_epochs=1"), tmp_path / "run")
    assert re.search(r"\b1 .*decoded", caplog.text)
    lines = (tmp_path / "run" / "skipped.txt").read_text().splitlines()
    assert len(lines) == 1 and str(images[1]) in lines[0]
    caplog.clear()
    images[3].write_bytes(b"no")
    with caplog.at_level(logging.WARNING):
        fit(tiny(*own, "data.on_damaged=skip", "trainer.max_epochs=2"), tmp_path / "run", resume=True)
    assert "resumed" in caplog.text
    assert len((tmp_path / "run" / "skipped.txt").read_text().splitlines()) == 2


def test_a_weight_of_a_loss_that_is_not_chosen_is_reported(
    compose: Callable[..., DictConfig], caplog: pytest.LogCaptureFixture
) -> None:
    make_task(compose("train", "experiment=shapes", "loss=pair", "task.semantic=0.5"), ("a", "b"))
    assert [mentions(record.message, "task.semantic", "0.5", "loss") for record in caplog.records] == [True]
    caplog.clear()
    make_task(compose("train", "experiment=shapes", "task.semantic=0.5", "task.jaccard=0.5"), ("a", "b"))
    make_task(compose("train", "experiment=shapes", "loss=pair", "task.semantic=0"), ("a", "b"))
    assert not caplog.records


def test_a_training_starts_from_a_model_and_is_resumed_without_it(
    trained: Path, tiny: Callable[..., DictConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = Path(shutil.copytree(trained / "checkpoints", tmp_path / "start" / "checkpoints")).parent
    weights = read_network(start / "checkpoints" / "best.ckpt").network.state_dict()
    config = tiny(f"weights={start}", "optimizer.lr=1e-12", "trainer.max_epochs=1")
    with caplog.at_level(logging.INFO):
        fit(config, tmp_path / "run")
    assert mentions(caplog.text, f"{len(weights)} of {len(weights)} tensors", "start")
    tuned = read_network(tmp_path / "run" / "checkpoints" / "last.ckpt").network
    assert all(torch.allclose(value, weights[name], atol=1e-6) for name, value in tuned.named_parameters())
    shutil.rmtree(start)
    fit(config, tmp_path / "run", resume=True, limits={"max_epochs": 2})
    with pytest.raises(CosegError, match="no model"):
        fit(tiny(f"weights={start}"), tmp_path / "other")
    assert not (tmp_path / "other").exists()
