"""The moving average, and training at growing input sizes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from coseg.errors import CosegError
from coseg.training.callbacks import ProgressiveResizing, nearest
from coseg.training.fit import fit, make_callbacks, make_datamodule, make_task, make_trainer

Tiny = Callable[..., DictConfig]


def test_an_average_that_lags_behind_a_short_training_is_told(
    tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tiny("callbacks=ema"), tmp_path / "a")  # 8 steps
    (told,) = [record.message for record in caplog.records if "callbacks.ema.decay" in record.message]
    assert re.search(r"\b1000 steps\b.*\b8\b.*callbacks\.ema\.decay=0\b", told)
    caplog.clear()
    fit(tiny("callbacks=ema", "callbacks.ema.decay=0.3"), tmp_path / "b")  # 1.4 steps behind
    assert "callbacks.ema.decay" not in caplog.text


SIZES = ("callbacks=resizing", "callbacks.resizing.sizes=[16,32]", "model.input_size=48")


class Recorder(Callback):
    """The sizes at which the network and its images are, in training and in validation."""

    def __init__(self) -> None:
        self.train: list[tuple[int, ...]] = []
        self.val: list[int | None] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        names = ("image_a", "image_b", "target_a", "target_b", "labels_a", "labels_b")
        sides = {size for name in names for size in batch[name].shape[-2:]}
        self.train.append((pl_module.network.input_size, *sides))

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, *_: Any, **__: Any) -> None:
        self.val.append(pl_module.network.input_size)


def train(config: DictConfig, tmp_path: Path) -> tuple[Recorder, Any]:
    datamodule = make_datamodule(config)
    datamodule.setup("fit")
    task = make_task(config, datamodule.catalog("train").class_names)
    recorder = Recorder()
    callbacks = [*make_callbacks(config), recorder]
    make_trainer(config, callbacks, False, default_root_dir=tmp_path, enable_checkpointing=False).fit(task, datamodule)
    return recorder, task


def test_sizes_grow_and_validation_keeps_the_networks_own(tiny: Tiny, tmp_path: Path) -> None:
    recorder, task = train(tiny(*SIZES, "trainer.max_epochs=3"), tmp_path)
    assert recorder.train == [(16, 16)] * 4 + [(32, 32)] * 8  # two sizes in three epochs: the last lasts longer
    assert set(recorder.val) == {48}
    assert task.network.input_size == 48


def test_a_size_that_is_repeated_lasts_longer_and_the_last_epoch_has_the_last(tiny: Tiny, tmp_path: Path) -> None:
    sizes = "callbacks.resizing.sizes=[16,16,16,32]"
    for epochs, expected in ((4, [16, 16, 16, 32]), (1, [32]), (2, [16, 32])):
        recorder, _ = train(tiny(*SIZES, sizes, f"trainer.max_epochs={epochs}"), tmp_path)
        assert [size for size, *_ in recorder.train[::4]] == expected


def test_labels_are_taken_at_the_centres_of_the_new_pixels() -> None:
    labels = torch.arange(36, dtype=torch.uint8).view(1, 6, 6)
    assert nearest(labels, 6).equal(labels)
    assert nearest(labels, 2)[0].tolist() == [[7, 10], [25, 28]]  # the middle of each 3 x 3
    assert nearest(labels, 12).equal(labels.repeat_interleave(2, 1).repeat_interleave(2, 2))


@pytest.mark.parametrize(
    ("sizes", "words"), [([], "empty"), ([64, 0], "sizes.*'0'"), ([None], "null"), (["a"], "sizes.*'a'")]
)
def test_sizes_that_are_none(sizes: list[Any], words: str) -> None:
    with pytest.raises(CosegError, match=words):
        ProgressiveResizing(sizes)


@pytest.mark.parametrize(
    ("override", "words"),
    [("model.input_size=null", "model.input_size"), ("trainer.max_epochs=-1", "trainer.max_epochs")],
)
def test_what_it_needs(override: str, words: str, tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(CosegError, match=words):
        train(tiny(*SIZES, override, "trainer.max_steps=2"), tmp_path)


@pytest.mark.parametrize("override", ["trainer.max_steps=2", "trainer.check_val_every_n_epoch=5"])
def test_a_run_is_validated_after_its_last_step(override: str, tiny: Tiny, tmp_path: Path) -> None:
    """The first ends within an epoch, the second between two validations."""
    fit(tiny(override), tmp_path)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
