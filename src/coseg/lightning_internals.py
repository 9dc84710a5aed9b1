"""What coseg uses of Lightning beyond its public interface, all in one place.

A new version of Lightning may change any of it without notice: the tests of this module fail then, and say what.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher, _SubprocessScriptLauncher

from coseg.signals import handled, stop_children


def starts_command_again(trainer: L.Trainer) -> bool:
    """Whether the trainer starts the running command once more for each further process, as plain ``ddp`` does."""
    return isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher)


def spawns_processes(trainer: L.Trainer) -> bool:
    """Whether the trainer runs in processes that this one spawns or forks, as with ``ddp_spawn``."""
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


@contextmanager
def signals_forwarded(trainer: L.Trainer) -> Iterator[None]:
    """While `trainer` runs in spawned processes, forward SIGTERM to them and keep waiting."""
    if not spawns_processes(trainer):
        yield
        return

    def forward(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM:  # Ctrl-C reaches the whole group by itself
            stop_children()

    with handled(forward):
        yield


def ddp_arguments(trainer: L.Trainer) -> dict[str, Any] | None:
    """The arguments of torch's `DistributedDataParallel`, to be changed in place; None with other strategies."""
    return trainer.strategy._ddp_kwargs if isinstance(trainer.strategy, DDPStrategy) else None


def training_progress(trainer: L.Trainer) -> tuple[int, int]:
    """Complete epochs, and batches of the running one that are done: not (0, 0) after a checkpoint was restored."""
    loop: Any = trainer.fit_loop  # Lightning types its progress as a base class without these counts
    epoch = loop.epoch_progress.current
    if epoch.started == epoch.processed:  # between two epochs: the counts of batches are those of the last one
        return epoch.processed, 0
    return epoch.processed, loop.epoch_loop.batch_progress.current.processed


def complete_epochs(checkpoint: Mapping[str, Any]) -> int:
    """Epochs of a checkpoint that are trained and validated.

    Raises:
        KeyError: it is no checkpoint of Lightning.
        TypeError: likewise.
    """
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def reopen_training_loader(trainer: L.Trainer) -> None:
    """Let the training loader be made again when training starts."""
    trainer.fit_loop._combined_loader = None


def set_csv_writer(logger: CSVLogger, writer: ExperimentWriter) -> None:
    """Let `logger` write with `writer`, in place of one of Lightning's that it would make."""
    logger._experiment = writer


class CSVWriter(ExperimentWriter):
    """Lightning's writer of ``metrics.csv``, of which a subclass says how the file is written with a new column."""

    def rewrite(self, columns: list[str]) -> None:
        """Write the whole file again, with these columns."""
        super()._rewrite_with_new_header(columns)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self.rewrite(fieldnames)


class OverwritingCheckpoint(ModelCheckpoint):
    """Lightning's callback for checkpoints, which removes no file: it writes over its one file instead."""

    @property
    def file(self) -> Path:
        """The one file that it writes, whose name depends on no score or step."""
        assert self.dirpath is not None
        return Path(self.dirpath) / f"{self.filename}{self.FILE_EXTENSION}"

    def _should_remove_checkpoint(self, trainer: L.Trainer, previous: str, current: str) -> bool:
        return False


class MovingAverageOnDevice(EMAWeightAveraging):
    """Lightning's moving average of the weights, kept on the device that trains.

    Lightning makes it before the network is moved there, and would copy all weights to the host after each step.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the average."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)


def drop_anonymous(logger: WandbLogger) -> None:
    """Leave out the argument ``anonymous`` of ``wandb.init``: W&B warns of it, whatever its value."""
    logger._wandb_init.pop("anonymous", None)
