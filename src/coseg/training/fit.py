"""Train from a configuration: what `coseg-train` does."""

from __future__ import annotations

import errno
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from torch import Tensor

from coseg.data.datamodule import PairDataModule
from coseg.errors import CosegError
from coseg.files.writing import in_use, remove_leftovers, write_text_atomically
from coseg.hub.checkpoint import read_checkpoint
from coseg.hub.load import load_fitting
from coseg.instantiate import make, parameters_of_target, plain, without_weights
from coseg.lightning_internals import (
    SpawnedProcess,
    ddp_arguments,
    leave_requeue,
    quiet_lightning,
    signals_forwarded,
    starts_command_again,
)
from coseg.models.base import PairClassifier
from coseg.models.registry import known_network
from coseg.run_dir import CHECKPOINTS, LAST, PANELS, SKIPPED
from coseg.signals import handlers_kept
from coseg.training.callbacks import Curves, FinalValidation, PlainProgress, ValidationPanels
from coseg.training.devices import chosen_precision, meeting, require_devices, require_launcher
from coseg.training.exemplars import require_configured
from coseg.training.finite import FiniteTraining
from coseg.training.losses import standard_losses
from coseg.training.metrics_log import MetricsWithCheckpoints, continue_metrics
from coseg.training.optimizer import ExtendedSchedule
from coseg.training.resume import EarlierRun, check_fits, read_run, require_sizes
from coseg.training.run import describe_run, extend_run, finish_run
from coseg.training.run_checkpoints import RunCheckpoint, SealedCheckpointIO, StopOnSignal, run_checkpoints
from coseg.training.task import CosegTask
from coseg.training.tracking import in_sweep, make_loggers, tracked

log = logging.getLogger(__name__)


def make_task(config: DictConfig, class_names: tuple[str, ...]) -> CosegTask:
    """The task that `config` describes, for data with these classes; its network has the weights of ``weights=``.

    Raises:
        CosegError: the configuration can't be used, or no weights fit.
    """
    settings = plain(config.task)
    standard = {key: settings.pop(key) for key in ("void", "jaccard", "semantic") if key in settings}
    # A run of an earlier version, which is resumed, has no group of losses.
    losses = plain(config.loss) if config.get("loss") is not None else standard_losses(**standard)
    for name in ("jaccard", "semantic"):
        if standard.get(name) and name not in losses:
            log.warning(f"task.{name}={standard[name]} has no effect: '{name}' is not among the terms of loss=")
    task = CosegTask(
        network=plain(config.model),
        optimizer=plain(config.optimizer),
        schedule=plain(config.get("schedule")) or None,
        losses=losses,
        metrics=plain(config.get("metrics")),
        class_names=list(class_names),
        score_void=config.protocol.void,
        seed=config.seed,
        trust=True,  # the user composed it, or was asked; see coseg.training.run.resumed_config
        **settings,
    )
    if config.get("weights") is not None:
        fitted = load_fitting(task.network, config.weights, bool(config.get("trust", False)))
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            log.info(str(fitted))
    return task


def make_datamodule(config: DictConfig, **changes: Any) -> PairDataModule:
    """The data module that `config.data` describes.

    An augmentation may also be a pipeline of albumentations, or a user's own function or class: of what experiments set
    of coseg's it then gets what it takes.
    """
    settings = plain(config.data.get("augmentation"))
    if isinstance(settings, dict) and not str(settings.get("_target_", "coseg.")).startswith("coseg."):
        taken = parameters_of_target(settings["_target_"])
        unused = [key for key in ("size", "tries") if taken is not None and key not in taken]
        changes.setdefault("augmentation", make({key: settings[key] for key in settings if key not in unused}))
    datamodule: PairDataModule = make(config.data, **changes)
    return datamodule


def make_trainer(
    config: DictConfig, callbacks: list[Callback], loggers: list[Logger] | bool, **changes: Any
) -> L.Trainer:
    """The `Trainer` that `config.trainer` describes.

    Raises:
        CosegError: Lightning refuses a value; the settings ask for plain ``ddp`` in a sweep, for machines that nothing
            starts, or for devices that the machine lacks.
    """
    settings = plain(config.trainer) | changes
    require_launcher(settings)
    require_devices(settings)
    if settings.get("accelerator") == "auto" and torch.backends.mps.is_available():
        settings["accelerator"] = "cpu"  # scores are summed in float64, which Apple's GPUs lack
    settings["precision"] = chosen_precision(settings.get("precision"), settings.get("accelerator"))
    bar = settings.setdefault("enable_progress_bar", sys.stderr.isatty())  # a bar spoils a log file
    progress: Callback = TQDMProgressBar() if bar else PlainProgress()
    trainer: L.Trainer = make(settings, callbacks=[*callbacks, progress, SpawnedProcess()], logger=loggers)
    leave_requeue(trainer)
    with suppress(NotImplementedError):  # from strategies that write checkpoints in another way
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # the default
            trainer.strategy.checkpoint_io = SealedCheckpointIO()
    ddp = ddp_arguments(trainer)
    if ddp is not None and trainer.world_size > 2 and not ddp.get("static_graph"):
        # Otherwise torch sorts the gradients again after the first step, and sums them in another order than in the
        # first step of a resumed run. The sum over two processes does not depend on their order.
        ddp.setdefault("find_unused_parameters", True)
    if starts_command_again(trainer) and in_sweep():
        raise CosegError(
            "trainer.strategy=ddp starts this command again for each process, and with it the whole sweep: take "
            "trainer.strategy=ddp_spawn, or a launcher that starts processes for each job."
        )
    return trainer


def make_callbacks(config: DictConfig) -> list[Callback]:
    """The callbacks of `config.callbacks`, such as the moving average of the weights.

    An experiment may have settings of a callback that is not chosen (``experiment=voc_mini callbacks=ema``): they have
    no class, and are ignored.
    """
    chosen = [value for value in (config.get("callbacks") or {}).values() if value is not None and "_target_" in value]
    return [make(plain(value)) for value in chosen]


def fit(
    config: DictConfig, folder: Path, resume: bool = False, limits: Mapping[str, int | None] | None = None
) -> float:
    """Train in `folder`, from the start or from its ``last.ckpt``.

    Args:
        config: of the training.
        folder: of the run.
        resume: the run in `folder`, whose configuration `config` is.
        limits: of a resumed run: ``max_epochs`` and ``max_steps`` that replace those of `config`, and of the run.

    Returns:
        The best Jaccard of a validation, nan without one.

    Raises:
        CosegError: the configuration or the data can't be used.
        Stopped: a signal came; ``last.ckpt`` was written.
    """
    began = time.monotonic()
    if limits:
        config = config.copy()
        config.trainer.update(limits)
    require_launcher(config.trainer)
    require_devices(plain(config.trainer))
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    with meeting() as meet, in_use(folder, "a training") if first else nullcontext():
        # The lock comes first, so that nothing is read that another process is about to change; data come last, since
        # they may take long.
        if first and not resume and (folder / CHECKPOINTS / LAST).exists():
            raise CosegError(
                f"{folder} holds the checkpoints of an earlier run, which a new one would overwrite: resume "
                "it with resume= and this directory, or choose another."
            )
        earlier = read_run(folder, config, bool(limits)) if resume else None
        if earlier is not None and earlier.finished is not None:
            if first:
                print(earlier.finished)
            return earlier.jaccard
        if first:
            for part in (folder, folder / CHECKPOINTS, folder / PANELS):
                remove_leftovers(part)
        return _train(config, folder, earlier, began, meet, limits)


def _train(
    config: DictConfig,
    folder: Path,
    earlier: EarlierRun | None,
    began: float,
    meet: Callable[[], None],
    limits: Mapping[str, int | None] | None,
) -> float:
    resume = earlier is not None
    require_configured(plain(config.task), plain(config.model))
    L.seed_everything(config.seed, workers=True, verbose=False)
    datamodule = make_datamodule(config)
    datamodule.setup("fit")  # before anything is written: bad data leaves no run directory behind
    datamodule.train_dataloader()  # neither do too few pairs for a batch
    catalog = datamodule.catalog("train")
    checkpoints = folder / CHECKPOINTS
    last = checkpoints / LAST
    if earlier is not None:
        config = _without_weights(config)
        if known_network(plain(config.model)):  # a class of the user's may look at its numbers when it is made
            require_sizes(earlier, lambda: make_task(config, catalog.class_names))
    task = make_task(config, catalog.class_names)
    if earlier is not None:
        check_fits(earlier, task)
    best, newest = run_checkpoints(checkpoints)
    callbacks = make_callbacks(config)
    stop = StopOnSignal(checkpoints, config.get("checkpoint_minutes") or 0)
    finite = FiniteTraining(last)
    callbacks += [finite, FinalValidation(), best, newest, stop, MetricsWithCheckpoints(), Curves()]
    if limits and "auto" in (plain(config.get("schedule")) or {}).values():
        callbacks.append(ExtendedSchedule())
    if config.panels:
        callbacks.append(ValidationPanels(folder / PANELS, config.panels))

    loggers = make_loggers(config, folder)
    trainer = make_trainer(config, callbacks, loggers)
    meet()
    with tracked(trainer, config, folder, best):
        if trainer.is_global_zero:
            if limits:
                extend_run(folder, limits)
            describe_run(folder, config)
            _list_skipped(folder, datamodule.skipped)
            for logger in loggers:
                if isinstance(logger, CSVLogger):
                    continue_metrics(logger, earlier.rows if earlier is not None else [])
            log.info(describe(datamodule, task))
            log.info(f"run directory: {folder}; precision {trainer.precision}")
        if isinstance(task.network, PairClassifier) and not datamodule.negatives and trainer.is_global_zero:
            log.warning(
                "the network decides whether a pair has a common object, but all training pairs have one: "
                "set data.negatives=0.3, say"
            )
        with (
            handlers_kept(),
            signals_forwarded(trainer),
            _disk_errors(folder),
            _resume_errors(last if resume else None, finite),
        ):
            # The checkpoint holds primitives and tensors alone, so nothing but data is unpickled.
            trainer.fit(task, datamodule=datamodule, ckpt_path=last if resume else None, weights_only=True)
    score = _best_score(best)
    if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
        finish_run(folder, score, trainer.global_step, time.monotonic() - began)
        if best.best_model_path:
            log.info(f"best checkpoint: {best.best_model_path}, jaccard {score:.4f}")
    return score


def _list_skipped(folder: Path, skipped: list[str]) -> None:
    """Log the images that are left out, and write them to ``skipped.txt``."""
    path, text = folder / SKIPPED, "".join(f"{sentence}\n" for sentence in skipped)
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    if skipped:
        log.warning(f"{len(skipped)} images can't be decoded and are left out, all in {path}. The first: {skipped[0]}")
    if before and before != text:
        log.warning(f"{path} had other images before this run was resumed: its epochs have other pairs from here on")
    if text != before:
        write_text_atomically(path, text)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Raise `CosegError` where a full disk fails the logs and pictures of a run, as its checkpoints do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            raise
        raise CosegError(
            f"{error.filename or folder} can't be written ({error.strerror}): training stops. The checkpoints of "
            f"{folder} are whole: make room, and resume it with resume= and this directory."
        ) from error


@contextmanager
def _resume_errors(last: Path | None, training: FiniteTraining) -> Iterator[None]:
    """Raise `CosegError` in place of an error of Lightning's while it restores the state in `last`."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        if last is None or training.begun:
            raise
        reason = " ".join(str(error).split())
        raise CosegError(
            f"{last} can't be resumed ({type(error).__name__}: {reason[:200]}): it is no checkpoint of this run. "
            "Replace it by the run's checkpoint."
        ) from error


def _without_weights(config: DictConfig) -> DictConfig:
    """Of a resumed run: its checkpoint holds all weights; those that it began with may not exist any more."""
    config = config.copy()
    config.model = without_weights(plain(config.model))
    if config.get("weights") is not None:
        config.weights = None
    return config


def _best_score(best: RunCheckpoint) -> float:
    """From the checkpoint itself: spawned processes return its path, but not its score."""
    if not best.best_model_path:
        return float("nan")
    score: Tensor = read_checkpoint(Path(best.best_model_path))["callbacks"][best.state_key]["best_model_score"]
    return score.item()


def describe(datamodule: PairDataModule, task: CosegTask) -> str:
    """The network and the data in one line."""
    parts = [datamodule.describe(role) for role in ("train", "val")]
    parameters = sum(parameter.numel() for parameter in task.network.parameters())
    return f"{type(task.network).__name__}, {parameters / 1e6:.2f} M parameters; {'; '.join(parts)}"


def prepare_process(threads: int | None) -> None:
    """Let torch use `threads` threads (None: its default), and keep Lightning's hints out of the log."""
    if threads is not None:
        torch.set_num_threads(threads)
    quiet_lightning()
