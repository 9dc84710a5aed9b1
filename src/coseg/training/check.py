"""A few steps of everything, and an estimate of the whole training: what `coseg-train check=true` does."""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from coseg.data.samplers import pairs_of
from coseg.files.writing import json_text, temporary_folder, write_text_atomically
from coseg.instantiate import plain
from coseg.run_dir import LAST, PANELS
from coseg.training.callbacks import PlainProgress, ValidationPanels
from coseg.training.devices import require_devices
from coseg.training.exemplars import require_configured
from coseg.training.finite import FiniteTraining
from coseg.training.fit import describe, make_callbacks, make_datamodule, make_task, make_trainer

STEPS = 4
"""Optimiser steps that are run at least; the first is not timed."""

PAIRS = 16
"""Validation pairs that are run at most; the first is not timed."""

SECONDS = 15.0
"""More steps are run until so much time has passed, as far as an epoch has them: the first few are no measure."""


FILE = "estimate.json"
"""Where a check writes its `Estimate`, in the folder of its job."""


@dataclass(frozen=True)
class Estimate:
    """What a training costs, as a check measured it; nan where a check had too few steps or pairs to time one.

    Attributes:
        parameters: numbers that are learned.
        batch: pairs of an optimiser step, of all processes together.
        step_seconds: an optimiser step.
        pair_seconds: a pair of validation at original size, both images encoded.
        peak_gb: peak memory of the process, without its workers.
        checkpoint_mb: size of a checkpoint.
        seconds: the whole training, with its validations; infinite without an end.
    """

    parameters: int
    batch: int
    step_seconds: float
    pair_seconds: float
    peak_gb: float
    checkpoint_mb: float
    seconds: float


class _Clock(Callback):
    """The times when steps and validation pairs ended."""

    def __init__(self, steps: int) -> None:
        self.min_steps = steps
        self.steps: list[float] = []
        self.pairs: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.steps.append(time.perf_counter())
        if len(self.steps) >= self.min_steps and self.steps[-1] - self.steps[0] >= SECONDS:
            trainer.should_stop = True

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
        self.pairs.append(time.perf_counter())


def check(config: DictConfig, folder: Path) -> Estimate:
    """Train a few steps, validate a few pairs, write a checkpoint and a panel to a temporary folder, and report.

    Args:
        config: of the training.
        folder: where `FILE` is written.

    Raises:
        CosegError: as training would.
    """
    require_devices(plain(config.trainer))
    require_configured(plain(config.task), plain(config.model))
    L.seed_everything(config.seed, workers=True, verbose=False)
    datamodule = make_datamodule(config)
    datamodule.setup("fit")
    task = make_task(config, datamodule.catalog("train").class_names)
    print(describe(datamodule, task))
    steps = STEPS * config.trainer.accumulate_grad_batches
    clock = _Clock(steps)
    batches = len(datamodule.order("train")) // datamodule.samples_per_batch
    pairs = len(datamodule.order("val"))
    with temporary_folder("coseg-check") as temporary:
        panels = ValidationPanels(Path(temporary) / PANELS, min(2, config.panels or 0))
        timed = make_trainer(
            config,
            [*make_callbacks(config), FiniteTraining(), panels, clock],
            False,
            devices=1,
            num_nodes=1,
            strategy="auto",  # other processes could not report their times
            max_epochs=1,
            max_steps=-1,
            limit_train_batches=batches,
            limit_val_batches=min(pairs, PAIRS),
            enable_checkpointing=False,
        )
        with _no_progress_lines():
            timed.fit(task, datamodule=datamodule)
        checkpoint = Path(temporary) / LAST
        timed.save_checkpoint(checkpoint)
        megabytes = checkpoint.stat().st_size / 1e6
    real = make_trainer(config, [], False)
    batches //= real.world_size
    epochs = _epochs(real, batches)
    batch_seconds, pair_seconds = _median_gap(clock.steps), _median_gap(clock.pairs)
    validations = epochs // (real.check_val_every_n_epoch or 1)
    seconds = epochs * batches * batch_seconds + validations * pairs / real.world_size * pair_seconds
    step_seconds = batch_seconds * real.accumulate_grad_batches
    print(f"a step: {step_seconds:.3f} s", end="; ")
    pairs_per_item = 1 if datamodule.clique is None else pairs_of(datamodule.clique)
    batch_pairs = datamodule.samples_per_batch * pairs_per_item * real.world_size
    print(f"{batch_pairs / batch_seconds:.2f} pairs/s; a validation pair: {pair_seconds:.3f} s")
    print(f"peak memory: {_memory()}; a checkpoint: {megabytes:.0f} MB, two are kept")
    print(f"{epochs:g} epochs of {batches} batches: about {_duration(seconds)}{_until(seconds)}")
    estimate = Estimate(
        parameters=sum(parameter.numel() for parameter in task.network.parameters()),
        batch=batch_pairs * real.accumulate_grad_batches,
        step_seconds=step_seconds,
        pair_seconds=pair_seconds,
        peak_gb=_process_gb(),
        checkpoint_mb=megabytes,
        seconds=seconds,
    )
    write_text_atomically(folder / FILE, json_text(asdict(estimate), indent=1))
    return estimate


@contextmanager
def _no_progress_lines() -> Iterator[None]:
    """Without lines of progress: they would make a log file where no run is."""
    progress = logging.getLogger(PlainProgress.__module__)
    level = progress.level
    progress.setLevel(logging.WARNING)
    try:
        yield
    finally:
        progress.setLevel(level)


def _epochs(trainer: L.Trainer, batches: int) -> float:
    """Epochs of the whole training."""
    limits = []
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        limits.append(float(trainer.max_epochs))
    if trainer.max_steps >= 0:
        limits.append(trainer.max_steps * trainer.accumulate_grad_batches / batches)
    return min(limits, default=float("inf"))


def _median_gap(ends: list[float]) -> float:
    """The median time between ends; nan from a single one."""
    gaps = [after - before for before, after in pairwise(ends)]
    return median(gaps) if gaps else float("nan")


_GB = 1e9 if sys.platform == "darwin" else 1e6
"""A gigabyte in the unit of `getrusage`: bytes on macOS, kilobytes elsewhere."""


def _process_gb() -> float:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _GB


def _memory() -> str:
    """Peak memory of this process and of its largest worker, and of the accelerator."""
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / _GB
    parts = [f"{_process_gb():.2f} GB"]
    if workers:
        parts.append(f"{workers:.2f} GB in a worker")
    if torch.cuda.is_available():
        parts.append(f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB on the GPU")
    return ", ".join(parts)


def _until(seconds: float) -> str:
    """When a training that starts now ends; empty where that is not known, or beyond the calendar."""
    try:
        return f", to {datetime.now() + timedelta(seconds=seconds):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):
        return ""


def _duration(seconds: float) -> str:
    """Seconds as text, in the unit that suits them."""
    if seconds != seconds:
        return "an unknown time: too few steps to time one"
    if seconds == float("inf"):
        return "for ever: neither trainer.max_epochs nor trainer.max_steps sets an end"
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
