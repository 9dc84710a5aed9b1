"""A few steps of everything, before somebody spends a week: what `coseg-train check=true` does."""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from coseg.data.cliques import pairs_of
from coseg.files import temporary_folder
from coseg.training.build import plain
from coseg.training.callbacks import ValidationPanels
from coseg.training.devices import require_devices
from coseg.training.finite import FiniteTraining
from coseg.training.fit import describe, make_callbacks, make_datamodule, make_task, make_trainer

STEPS = 4
"""Optimiser steps that are run at least; the first is not timed."""

PAIRS = 16
"""Validation pairs that are run at most; the first is not timed."""

SECONDS = 15.0
"""Short steps go on for so long, if there are as many: the first few are no measure of the others."""


class _Clock(Callback):
    """When steps and validation pairs ended."""

    def __init__(self, least: int) -> None:
        self.least = least
        self.steps: list[float] = []
        self.pairs: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.steps.append(time.perf_counter())
        if len(self.steps) >= self.least and self.steps[-1] - self.steps[0] >= SECONDS:
            trainer.should_stop = True

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
        self.pairs.append(time.perf_counter())


def check(config: DictConfig) -> None:
    """Train a few steps, validate a few pairs, write a checkpoint and a panel to a temporary folder, and report.

    Raises:
        CosegError: as training would.
    """
    require_devices(plain(config.trainer))
    L.seed_everything(config.seed, workers=True, verbose=False)
    datamodule = make_datamodule(config)
    datamodule.setup("fit")
    task = make_task(config, datamodule.catalog("train").class_names)
    print(describe(datamodule, task))
    least = STEPS * config.trainer.accumulate_grad_batches
    clock = _Clock(least)
    batches = len(datamodule.order("train")) // datamodule.train_draws
    pairs = len(datamodule.order("val"))
    with temporary_folder("coseg-check") as temporary:
        panels = ValidationPanels(Path(temporary) / "panels", min(2, config.panels or 0))
        timed = make_trainer(
            config,
            [*make_callbacks(config), FiniteTraining(), panels, clock],
            False,
            devices=1,
            num_nodes=1,
            strategy="auto",  # processes of their own could not tell their times
            max_epochs=1,
            max_steps=-1,
            limit_train_batches=batches,
            limit_val_batches=min(pairs, PAIRS),
            enable_checkpointing=False,
        )
        with _no_log():
            timed.fit(task, datamodule=datamodule)
        checkpoint = Path(temporary) / "last.ckpt"
        timed.save_checkpoint(checkpoint)
        megabytes = checkpoint.stat().st_size / 1e6
    real = make_trainer(config, [], False)
    batches //= real.world_size
    epochs = _epochs(real, batches)
    batch_seconds, pair_seconds = _each(clock.steps), _each(clock.pairs)
    validations = epochs // (real.check_val_every_n_epoch or 1)
    seconds = epochs * batches * batch_seconds + validations * pairs / real.world_size * pair_seconds
    print(f"a step: {batch_seconds * real.accumulate_grad_batches:.3f} s", end="; ")
    pairs_each = 1 if datamodule.clique is None else pairs_of(datamodule.clique)
    rate = datamodule.train_draws * pairs_each * real.world_size / batch_seconds
    print(f"{rate:.2f} pairs/s; a validation pair: {pair_seconds:.3f} s")
    print(f"peak memory: {_memory()}; a checkpoint: {megabytes:.0f} MB, two are kept")
    print(f"{epochs:g} epochs of {batches} batches: about {_duration(seconds)}{_until(seconds)}")


@contextmanager
def _no_log() -> Iterator[None]:
    """Without lines of progress: they would make a log file, where there is no run."""
    lines = logging.getLogger("coseg.training.callbacks")
    level = lines.level
    lines.setLevel(logging.WARNING)
    try:
        yield
    finally:
        lines.setLevel(level)


def _epochs(trainer: L.Trainer, batches: int) -> float:
    """Epochs that the whole training takes."""
    limits = []
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        limits.append(float(trainer.max_epochs))
    if trainer.max_steps >= 0:
        limits.append(trainer.max_steps * trainer.accumulate_grad_batches / batches)
    return min(limits, default=float("inf"))


def _each(ends: list[float]) -> float:
    """The median time between ends; nan from a single one."""
    gaps = [after - before for before, after in pairwise(ends)]
    return median(gaps) if gaps else float("nan")


def _memory() -> str:
    """Peak memory of this process and of its largest worker, and of the accelerator."""
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes there, kilobytes elsewhere
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit
    parts = [f"{own:.2f} GB"]
    if workers:
        parts.append(f"{workers:.2f} GB in a worker")
    if torch.cuda.is_available():
        parts.append(f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB on the GPU")
    return ", ".join(parts)


def _until(seconds: float) -> str:
    """When that will be; nothing where it is not known, or beyond the calendar."""
    try:
        return f", to {datetime.now() + timedelta(seconds=seconds):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):
        return ""


def _duration(seconds: float) -> str:
    """Seconds, for people."""
    if seconds != seconds:
        return "an unknown time: there were too few steps to time one"
    if seconds == float("inf"):
        return "for ever: neither trainer.max_epochs nor trainer.max_steps sets an end"
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
