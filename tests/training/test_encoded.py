"""A step on cliques is the step on their pairs, at the cost of fewer encodings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from metrics_file import read_losses
from omegaconf import DictConfig

from coseg.data.dataset import Draw, PairDataset, collate
from coseg.training.encoded import chosen
from coseg.training.fit import fit, make_datamodule, make_task

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
    plain: Any = collate([dataset[Draw(i, j, 0)] for i, j in pairs])
    loss = task.training_step(plain, 0)
    loss.backward()
    assert encoded == [6, 12]
    for name, value in task.named_parameters():
        if value.grad is not None:
            torch.testing.assert_close(found[name], value.grad, rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        assert float(task.training_step(batch, 0)) == pytest.approx(float(loss), rel=1e-5)


def test_features_are_taken_in_nested_tuples() -> None:
    features = (torch.arange(4), (torch.arange(8).view(4, 2),))
    first, (second,) = chosen(features, torch.tensor([3, 3, 0]))
    assert first.tolist() == [3, 3, 0] and second.tolist() == [[6, 7], [6, 7], [0, 1]]


def test_training_on_cliques_with_negatives_and_growing_sizes(tiny: Tiny, tmp_path: Path) -> None:
    more = ("data/sampler=clique", "data.negatives=0.3", "task.semantic=1", "model.input_size=48", "callbacks=resizing")
    fit(tiny(*more, "callbacks.resizing.sizes=[32,48]", "data.pairs_per_epoch=24"), tmp_path)
    losses = [float(loss) for _, loss in read_losses(tmp_path)]
    assert len(losses) == 2 * 4 and all(0 < loss < 10 for loss in losses)
