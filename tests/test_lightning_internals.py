"""Lightning's internals are as coseg uses them: where a new version changes one, a test here fails and names it."""

from __future__ import annotations

import ast
import csv
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from coseg import lightning_internals as internals

SOURCES = Path(internals.__file__).parent


class Line(L.LightningModule):
    """A regression in one number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder: Path, **settings: Any) -> L.Trainer:
    defaults = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    defaults |= {"enable_checkpointing": False, "default_root_dir": folder, "max_epochs": 2}
    return L.Trainer(**{**defaults, **settings})


def loader(batches: int = 3) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.ones(batches, 1)))


@pytest.mark.parametrize(
    ("strategy", "again", "spawned", "arguments"),
    [("auto", False, False, None), ("ddp", True, False, {}), ("ddp_spawn", False, True, {})],
)
def test_strategies(
    strategy: str, again: bool, spawned: bool, arguments: dict[str, Any] | None, tmp_path: Path
) -> None:
    made = trainer(tmp_path, strategy=strategy, devices=1 if strategy == "auto" else 2)
    assert internals.starts_command_again(made) is again
    assert internals.spawns_processes(made) is spawned
    assert internals.ddp_arguments(made) == arguments
    if arguments is not None:
        internals.ddp_arguments(made)["static_graph"] = True  # type: ignore[index]
        assert internals.ddp_arguments(made) == {"static_graph": True}


class Progress(L.Callback):
    """What `training_progress` gives at the start of each step, and between epochs."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.seen.append(internals.training_progress(trainer))

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.seen.append(internals.training_progress(trainer))


def test_progress(tmp_path: Path) -> None:
    progress = Progress()
    made = trainer(tmp_path, callbacks=[progress])
    assert internals.training_progress(made) == (0, 0)
    made.fit(Line(), loader())
    assert progress.seen == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
    made.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert internals.complete_epochs(checkpoint) == 2
    with pytest.raises((KeyError, TypeError)):
        internals.complete_epochs({"loops": None})


def test_the_training_loader_is_opened_again(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    task = Line()
    opened: list[int] = []

    def train_dataloader() -> DataLoader[Any]:
        opened.append(1)
        return loader()

    task.train_dataloader = train_dataloader  # type: ignore[method-assign]
    original = task.configure_optimizers

    def configure_optimizers() -> Any:
        assert made.estimated_stepping_batches == 6 and len(opened) == 1
        internals.reopen_training_loader(made)
        return original()

    task.configure_optimizers = configure_optimizers  # type: ignore[method-assign]
    made.fit(task)
    assert len(opened) == 2


def test_a_csv_writer_of_ones_own(tmp_path: Path) -> None:
    rewritten: list[list[str]] = []

    class Writer(internals.CSVWriter):
        def rewrite(self, columns: list[str]) -> None:
            rewritten.append(columns)
            super().rewrite(columns)

    logger = CSVLogger(tmp_path, name="", version="")
    internals.set_csv_writer(logger, Writer(logger.log_dir))
    logger.log_metrics({"a": 1.0}, 0)
    logger.save()
    logger.log_metrics({"b": 2.0}, 1)
    logger.save()
    assert rewritten == [["a", "b", "step"]]
    with (tmp_path / "metrics.csv").open(newline="") as file:
        assert [row["a"] for row in csv.DictReader(file)] == ["1.0", ""]


def test_a_checkpoint_is_overwritten_in_place(tmp_path: Path) -> None:
    callback = internals.OverwritingCheckpoint(dirpath=tmp_path, filename="last", enable_version_counter=False)
    foreign = tmp_path / "foreign.ckpt"
    foreign.write_text("not ours")
    callback.best_model_path = callback.kth_best_model_path = str(foreign)  # as a restored state may say
    trainer(tmp_path, callbacks=[callback], enable_checkpointing=True).fit(Line(), loader())
    assert callback.file == tmp_path / "last.ckpt" and callback.file.is_file()
    assert foreign.read_text() == "not ours"


def test_the_average_lies_on_the_device_that_trains(tmp_path: Path) -> None:
    callback = internals.MovingAverageOnDevice(decay=0.5)
    made = trainer(tmp_path, callbacks=[callback])
    made.fit(Line(), loader())
    assert callback._device == made.strategy.root_device
    assert callback._average_model is not None
    assert next(callback._average_model.parameters()).device == made.strategy.root_device


def test_wandb_is_not_given_anonymous(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import WandbLogger

    logger = WandbLogger(save_dir=tmp_path, mode="disabled")
    assert "anonymous" in logger._wandb_init
    internals.drop_anonymous(logger)
    assert "anonymous" not in logger._wandb_init


def test_other_modules_leave_these_internals_alone() -> None:
    """None of them imports a private name of Lightning, or reaches into its loops."""
    places = []
    for path in SOURCES.rglob("*.py"):
        if path.name == "lightning_internals.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            private = (
                isinstance(node, ast.ImportFrom)
                and (node.module or "").startswith("lightning")
                and any(name.name.startswith("_") for name in node.names)
            )
            inside = isinstance(node, ast.Attribute) and node.attr in {"fit_loop", "epoch_loop", "_ddp_kwargs"}
            if private or inside:
                places.append(f"{path.relative_to(SOURCES)}:{node.lineno}")  # type: ignore[attr-defined]
    assert not places
