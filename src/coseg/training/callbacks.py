"""Callbacks of a training: moving average, growing input sizes, panels, curves, and lines of progress in a log."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from coseg.data.datamodule import PairDataModule
from coseg.errors import CosegError
from coseg.imaging.draw import save_picture
from coseg.lightning_internals import MovingAverageOnDevice, has_divided_weights
from coseg.models.base import checked_input_size
from coseg.reports.curves import plot_curves
from coseg.reports.panels import PanelRow, draw_panel, panel_row
from coseg.run_dir import CURVES, METRICS, panel_file
from coseg.training.task import CosegTask
from coseg.training.tracking import log_panel

log = logging.getLogger(__name__)


LAGS = 5
"""A training should be at least this many times longer than the moving average is behind."""


class MovingAverage(MovingAverageOnDevice):
    """The exponential moving average of the weights, which is validated and stored in checkpoints in their place.

    Args:
        decay: the share of the average that stays at each step: the average follows about 1 / (1 - decay) steps behind.
        **settings: of Lightning's class.
    """

    def __init__(self, decay: float = 0.999, **settings: Any) -> None:
        super().__init__(decay=decay, **settings)
        self.lag = 1 / (1 - decay) if decay < 1 else math.inf

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Warn where the training is short for the average: its scores would be those of much earlier weights."""
        super().on_train_start(trainer, pl_module)
        steps = trainer.estimated_stepping_batches
        if steps < LAGS * self.lag and not getattr(trainer, "fast_dev_run", False):
            decay = max(0.0, math.floor(100 * (1 - 2 * LAGS / steps)) / 100)
            log.warning(
                f"the average of the weights follows {self.lag:.0f} steps behind, of {steps:.0f} in all: set "
                f"callbacks.ema.decay={decay:g}, say"
            )


class ValidationPanels(Callback):
    """A picture of the first validation pairs after each validation, as PNG and to the loggers.

    Args:
        folder: where ``epoch-NNN.png`` is written.
        pairs: rows of the picture; 0: no picture.
    """

    def __init__(self, folder: str | Path, pairs: int = 6) -> None:
        self.folder = Path(folder)
        self.pairs = pairs
        self.rows: list[PanelRow] = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first pairs.

        Each batch is one pair. Where the weights are divided among processes, all of these compute the logits.
        """
        if batch_idx >= self.pairs or trainer.sanity_checking:
            return
        first = trainer.is_global_zero
        if not first and not has_divided_weights(trainer):
            return
        assert isinstance(pl_module, CosegTask)
        datamodule: PairDataModule = trainer.datamodule  # type: ignore[attr-defined]
        with torch.no_grad():
            logits = pl_module(batch["image_a"], batch["image_b"])
        if first:
            self.rows.append(panel_row(batch, logits, datamodule.catalog("val")))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw them."""
        rows, self.rows = self.rows, []
        if not rows:
            return
        picture = draw_panel(rows)
        save_picture(self.folder / panel_file(trainer.current_epoch), picture)
        log_panel(trainer, rows, picture)


class FinalValidation(Callback):
    """Validates after the last step, wherever in an epoch it is and whichever epochs are validated.

    So each run that comes to its end has a best checkpoint. Lightning would leave it out where ``trainer.max_steps``
    ends an epoch early, or ``trainer.check_val_every_n_epoch`` does not divide the number of epochs.
    """

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for the validation after this batch, if it is the last."""
        last_step = 0 <= trainer.max_steps <= trainer.global_step
        epochs = trainer.max_epochs
        last_epoch = trainer.is_last_batch and epochs is not None and 0 <= epochs <= trainer.current_epoch + 1
        if last_step:
            trainer.should_stop = True  # Lightning validates before it stops
        if (last_step or last_epoch) and trainer.check_val_every_n_epoch is not None:
            trainer.check_val_every_n_epoch = 1


class Curves(Callback):
    """A plot of loss and Jaccard against the step, drawn from the CSV log after each validation."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw what was logged so far."""
        self._plot(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the whole run."""
        self._plot(trainer)

    def _plot(self, trainer: L.Trainer) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger) and trainer.is_global_zero:
                logger.save()
                metrics = Path(logger.log_dir) / METRICS
                if metrics.exists():
                    plot_curves(metrics, metrics.parent / CURVES)


class PlainProgress(Callback):
    """A line in the log at most every `seconds`, and one for each validation: progress for a file, not a terminal."""

    def __init__(self, seconds: float = 30.0) -> None:
        self.seconds = seconds
        self._last = 0.0
        self._began = 0.0
        self._first = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._began = self._last = time.monotonic()
        self._first = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One line, where the last one is long enough ago."""
        now = time.monotonic()
        if now - self._last < self.seconds or not trainer.is_global_zero:
            return
        self._last = now
        step_seconds = (now - self._began) / max(1, trainer.global_step - self._first)
        left = step_seconds * max(0, trainer.estimated_stepping_batches - trainer.global_step)
        end = f", about {left / 60:.0f} min left" if math.isfinite(left) else ""
        loss = float(trainer.callback_metrics.get("train/loss", float("nan")))
        log.info(
            f"epoch {trainer.current_epoch}, step {trainer.global_step}: loss {loss:.4f}, "
            f"{step_seconds:.3f} s a step{end}"
        )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """One line for the scores."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        scores = ", ".join(
            f"{name.removeprefix('val/')} {float(metrics[name]):.4f}" for name in sorted(metrics) if name[:4] == "val/"
        )
        log.info(f"epoch {trainer.current_epoch}, step {trainer.global_step}: validation: {scores}")


class ProgressiveResizing(Callback):
    """Trains at one input size after the other; validation and everything else use the network's.

    The loader always delivers square images of one size, and each batch is resized here, with its labels. Known as
    progressive resizing (Howard 2018, fast.ai's entry to DAWNBench; Tan and Le 2021, EfficientNetV2).

    Args:
        sizes: input sizes in pixels, each for an equal share of `trainer.max_epochs`; a repeated one lasts longer. The
            last epoch has the last size; where the epochs do not divide evenly, the first sizes have fewer. A check
            (``check=true``) has one epoch, so it times the last size.

    Raises:
        CosegError: `sizes` is empty, or one is no number of pixels; at the start of training: ``trainer.max_epochs``
            is not set, or the network has no input size.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        if not sizes:
            raise CosegError("callbacks.resizing.sizes is empty: give input sizes, [64, 96, 128] say.")
        for size in sizes:
            if checked_input_size(size, "callbacks.resizing.sizes") is None:
                raise CosegError("callbacks.resizing.sizes holds null, but each must be a number of pixels.")
        self.sizes = tuple(sizes)
        self._input_size: int | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the network's input size."""
        assert isinstance(pl_module, CosegTask)
        self._input_size = pl_module.network.input_size
        if self._input_size is None:
            raise CosegError(
                "callbacks.resizing needs a network with an input size: set model.input_size, or callbacks=none."
            )
        if trainer.max_epochs is None or trainer.max_epochs < 1:
            raise CosegError("callbacks.resizing needs a last epoch: set trainer.max_epochs, or callbacks=none.")

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Train at the epoch's size; not at the start of the epoch, which a resumed one does not have."""
        assert isinstance(pl_module, CosegTask)
        assert trainer.max_epochs is not None
        left = trainer.max_epochs - 1 - trainer.current_epoch
        size = self.sizes[-1 - left * len(self.sizes) // trainer.max_epochs]
        pl_module.network.input_size = size
        for name, value in batch.items():
            if value.dim() == 4:  # images; label maps and targets have three dimensions, all else fewer
                batch[name] = pl_module.network.resize(value)
            elif value.dim() == 3:
                batch[name] = nearest(value, size)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate at the network's input size."""
        self._restore(pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the network as it was."""
        self._restore(pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Likewise when training fails."""
        self._restore(pl_module)

    def _restore(self, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, CosegTask)
        if self._input_size is not None:
            pl_module.network.input_size = self._input_size


def nearest(labels: Tensor, size: int) -> Tensor:
    """Label maps (B, H, W) at `size` x `size`: each pixel takes the label at its centre."""
    rows, columns = (
        ((torch.arange(size, device=labels.device) + 0.5) * old / size).long() for old in labels.shape[-2:]
    )
    return labels[:, rows][:, :, columns]
