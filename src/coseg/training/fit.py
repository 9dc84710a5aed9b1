"""Train from a configuration: what `coseg-train` does."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from omegaconf import DictConfig
from torch import Tensor

from coseg.data.datamodule import PairDataModule
from coseg.errors import CosegError
from coseg.models.deciding import DecidingNetwork
from coseg.models.registry import known_network
from coseg.training.build import make, plain, without_weights
from coseg.training.callbacks import Curves, PlainProgress, ValidationPanels
from coseg.training.checkpoint import read_checkpoint, require_weights_of
from coseg.training.metrics_log import continue_metrics, read_metrics
from coseg.training.precision import chosen_precision
from coseg.training.run import describe_run, finish_run
from coseg.training.stop import StopOnSignal, pass_signals_on
from coseg.training.task import CosegTask
from coseg.training.tracking import in_sweep, make_loggers, tracked

log = logging.getLogger(__name__)


def make_task(config: DictConfig, class_names: tuple[str, ...]) -> CosegTask:
    """The task that `config` describes, for data with these classes."""
    return CosegTask(
        network=plain(config.model),
        optimizer=plain(config.optimizer),
        schedule=plain(config.get("schedule")) or None,
        class_names=list(class_names),
        score_void=config.protocol.void,
        trust=True,  # the user composed it, or was asked; see coseg.training.run.resumed_config
        **plain(config.task),
    )


def make_datamodule(config: DictConfig, **changes: Any) -> PairDataModule:
    """The data module that `config.data` describes."""
    datamodule: PairDataModule = make(config.data, **changes)
    return datamodule


def make_trainer(
    config: DictConfig, callbacks: list[Callback], loggers: list[Logger] | bool, **changes: Any
) -> L.Trainer:
    """The `Trainer` that `config.trainer` describes.

    Raises:
        CosegError: Lightning refuses a value; plain ``ddp`` is asked for in a sweep.
    """
    settings = plain(config.trainer) | changes
    if settings.get("accelerator") == "auto" and torch.backends.mps.is_available():
        settings["accelerator"] = "cpu"  # scores are summed in float64, which Apple's GPUs lack
    settings["precision"] = chosen_precision(settings.get("precision"), settings.get("accelerator"))
    bar = settings.setdefault("enable_progress_bar", sys.stderr.isatty())  # a bar spoils a log file
    progress: Callback = TQDMProgressBar() if bar else PlainProgress()
    trainer: L.Trainer = make(settings, callbacks=[*callbacks, progress], logger=loggers)
    if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher) and in_sweep():
        raise CosegError(
            "trainer.strategy=ddp starts this command again for each process, and with it the whole sweep: take "
            "trainer.strategy=ddp_spawn, or a launcher that gives each job processes of its own."
        )
    return trainer


def make_callbacks(config: DictConfig) -> list[Callback]:
    """The callbacks of `config.callbacks`, such as the moving average of the weights.

    An experiment's settings of one that is not chosen (``experiment=voc_mini callbacks=ema``) have no class: they go
    unused.
    """
    chosen = [value for value in (config.get("callbacks") or {}).values() if value is not None and "_target_" in value]
    return [make(plain(value)) for value in chosen]


def fit(config: DictConfig, folder: Path, resume: bool = False) -> float:
    """Train in `folder`, from the start or from its ``last.ckpt``.

    Returns:
        The best Jaccard of a validation, nan when there was none.

    Raises:
        CosegError: the configuration or the data can't be used.
        Stopped: a signal came; ``last.ckpt`` was written.
    """
    began = time.monotonic()
    L.seed_everything(config.seed, workers=True, verbose=False)
    datamodule = make_datamodule(config)
    datamodule.setup("fit")  # before anything is written: bad data leaves no run directory behind
    datamodule.train_dataloader()  # likewise too few pairs for a batch
    catalog = datamodule.catalog("train")
    checkpoints = folder / "checkpoints"
    last = checkpoints / "last.ckpt"
    step = 0
    if resume:
        checkpoint = read_checkpoint(last)
        config, step = _without_weights(config), checkpoint["global_step"]
        if known_network(plain(config.model)):  # a class of one's own may look at its numbers when it is made
            require_weights_of(checkpoint, lambda: make_task(config, catalog.class_names), last)
    task = make_task(config, catalog.class_names)

    best = ModelCheckpoint(
        dirpath=checkpoints,
        filename="best",
        monitor="val/jaccard",
        mode="max",
        enable_version_counter=False,
    )
    # Not `save_last` of the above: that writes only where the score improves. After it, so that it holds its state.
    newest = ModelCheckpoint(
        dirpath=checkpoints, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
    )
    callbacks = make_callbacks(config)
    callbacks += [best, newest, StopOnSignal(checkpoints, config.get("checkpoint_minutes") or 0), Curves()]
    if config.panels:
        callbacks.append(ValidationPanels(folder / "panels", config.panels))

    rows = read_metrics(folder, step)
    loggers = make_loggers(config, folder)
    trainer = make_trainer(config, callbacks, loggers)
    with tracked(trainer, config, folder, best):
        if trainer.is_global_zero:
            describe_run(folder, config)
            for logger in loggers:
                if isinstance(logger, CSVLogger):
                    continue_metrics(logger, rows)
        log.info(describe(datamodule, task))
        if isinstance(task.network, DecidingNetwork) and not datamodule.negatives:
            log.warning(
                "the network decides whether a pair has a common object, but all training pairs have one: "
                "set data.negatives=0.3, say"
            )
        log.info(f"run directory: {folder}; precision {trainer.precision}")
        with pass_signals_on(trainer):
            # Our own checkpoint: primitives and tensors alone, so nothing but data is unpickled.
            trainer.fit(task, datamodule=datamodule, ckpt_path=last if resume else None, weights_only=True)
    score = _best_score(best)
    if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
        finish_run(folder, score, trainer.global_step, time.monotonic() - began)
    return score


def _without_weights(config: DictConfig) -> DictConfig:
    """Of a resumed run: its checkpoint holds all weights, and those that it began with need not be there any more."""
    config = config.copy()
    config.model = without_weights(plain(config.model))
    return config


def _best_score(best: ModelCheckpoint) -> float:
    """From the checkpoint itself: spawned processes hand back where it lies, but not its score."""
    if not best.best_model_path:
        return float("nan")
    score: Tensor = read_checkpoint(Path(best.best_model_path))["callbacks"][best.state_key]["best_model_score"]
    return score.item()


def describe(datamodule: PairDataModule, task: CosegTask) -> str:
    """What is trained on what, in a line."""
    parts = [datamodule.describe(role) for role in ("train", "val")]
    parameters = sum(parameter.numel() for parameter in task.network.parameters())
    return f"{type(task.network).__name__}, {parameters / 1e6:.2f} M parameters; {'; '.join(parts)}"


def prepare_process(threads: int | None) -> None:
    """Let torch use `threads` threads (None: its own choice), and keep Lightning's small talk out of the log."""
    if threads is not None:
        torch.set_num_threads(threads)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training")  # a frozen encoder is
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", message=".*Experiment logs directory .* exists and is not empty")
    # Training may go on in the middle of an epoch: the sampler starts where it stopped.
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable")
