"""What a run leaves beside its checkpoints: panels, curves, and lines in a log file."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from lightning.pytorch.loggers import CSVLogger

from coseg.data.datamodule import PairDataModule
from coseg.evaluation.curves import plot_curves
from coseg.evaluation.panels import PanelRow, draw_panel, panel_row
from coseg.evaluation.pictures import save_picture
from coseg.training.task import CosegTask
from coseg.training.tracking import log_panel

log = logging.getLogger(__name__)


LAGS = 5
"""A training of fewer steps than so many times those by which the moving average is behind is short for it."""


class MovingAverage(EMAWeightAveraging):
    """Lightning's moving average of the weights, kept on the device that trains.

    Lightning makes it before the network is moved there, and would copy all weights to the host after each step.

    Args:
        decay: the share of the average that stays at each step, so that it follows some 1 / (1 - decay) steps behind.
        **settings: of Lightning's class.
    """

    def __init__(self, decay: float = 0.999, **settings: Any) -> None:
        super().__init__(decay=decay, **settings)
        self.lag = 1 / (1 - decay) if decay < 1 else math.inf

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Warn of a training that is short for it: its scores would be those of weights of long before."""
        super().on_train_start(trainer, pl_module)
        steps = trainer.estimated_stepping_batches
        if steps < LAGS * self.lag and not getattr(trainer, "fast_dev_run", False):
            decay = max(0.0, math.floor(100 * (1 - 2 * LAGS / steps)) / 100)
            log.warning(
                f"the average of the weights follows {self.lag:.0f} steps behind, of {steps:.0f} in all: set "
                f"callbacks.ema.decay={decay:g}, say"
            )

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the average."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)


class ValidationPanels(Callback):
    """A picture of the first validation pairs after each validation, as PNG and to the logger that is on.

    Args:
        folder: where ``epoch-NNN.png`` is written.
        pairs: rows of the picture; 0 draws none.
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
        """Keep the first pairs."""
        if len(self.rows) >= self.pairs or trainer.sanity_checking or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, CosegTask)
        datamodule: PairDataModule = trainer.datamodule  # type: ignore[attr-defined]
        with torch.no_grad():
            logits = pl_module(batch["image_a"], batch["image_b"])
        catalog = datamodule.catalog("val")
        self.rows.append(panel_row(batch, logits, catalog))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw them."""
        rows, self.rows = self.rows, []
        if not rows:
            return
        picture = draw_panel(rows)
        save_picture(self.folder / f"epoch-{trainer.current_epoch:03d}.png", picture)
        log_panel(trainer, rows, picture)


class Curves(Callback):
    """A plot of loss and Jaccard against the step, drawn anew after each validation from the CSV log."""

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
                metrics = Path(logger.log_dir) / "metrics.csv"
                if metrics.exists():
                    plot_curves(metrics, metrics.parent / "curves.png")


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
        """One line now and then."""
        now = time.monotonic()
        if now - self._last < self.seconds or not trainer.is_global_zero:
            return
        self._last = now
        each = (now - self._began) / max(1, trainer.global_step - self._first)
        left = each * max(0, trainer.estimated_stepping_batches - trainer.global_step)
        end = f", about {left / 60:.0f} min left" if math.isfinite(left) else ""
        loss = float(trainer.callback_metrics.get("train/loss", float("nan")))
        log.info(
            f"epoch {trainer.current_epoch}, step {trainer.global_step}: loss {loss:.4f}, {each:.3f} s a step{end}"
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
