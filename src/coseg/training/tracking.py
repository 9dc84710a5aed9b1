"""Loggers; a run in Weights & Biases: its configuration, curves, panels with masks to switch, and best checkpoint.

`docs/tracking.md` says how it is used.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor

from coseg.errors import CosegError
from coseg.files.plain_data import read_json
from coseg.files.writing import write_text_atomically
from coseg.imaging.draw import fitted, letterboxed
from coseg.instantiate import make, plain
from coseg.labels import BACKGROUND, COMMON, OTHER, VOID
from coseg.lightning_internals import drop_anonymous
from coseg.reports.panels import PanelRow, PanelSide
from coseg.run_dir import STUDY
from coseg.signals import Stopped

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

FILE = "wandb.json"
"""In a run directory: what a resumed run needs to stay the same run in W&B."""

KEYS = ("id", "name", "group")
"""The keys of the file, which are also arguments of the logger."""

FAILED, KILLED = 1, 255
"""Exit codes: with the second, W&B calls a run killed rather than failed."""

LABELS = {BACKGROUND: "background", COMMON: "common", OTHER: "other object", VOID: "void"}
"""Names of the values in the masks of truth and prediction."""

TILE = 256
"""Side of an image with its masks in pixels: W&B shows the images of a step side by side only if all have one size."""


class WandbRun(WandbLogger):
    """Lightning's logger, for a run that `tracked` starts and finishes.

    The run's configuration is the command's. Lightning would add the arguments of the task to it, which are the same
    under other names; and its ``offline`` would make all later runs of the process offline.

    Args:
        offline: keep the run on this machine; otherwise the environment's ``WANDB_MODE`` says.
        **settings: of Lightning's logger, and of ``wandb.init``.
    """

    def __init__(self, offline: bool = False, **settings: Any) -> None:
        if offline:
            settings["mode"] = "offline"
        super().__init__(**settings)
        drop_anonymous(self)

    def log_hyperparams(self, params: Any) -> None:
        """Log nothing: see above."""


def in_sweep() -> bool:
    """Whether this process runs a job of ``coseg-train -m``."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def make_loggers(config: DictConfig, folder: Path) -> list[Logger]:
    """The loggers that `config.logger` describes, writing to `folder`.

    A run in W&B is named after the run directory, and those of a sweep or a study are one group, named after its
    folder; a resumed run keeps its id, name and group.

    Raises:
        CosegError: one can't be made.
    """
    loggers: list[Logger] = []
    for value in config.logger.values():
        if value is None:
            continue
        settings = plain(value)
        if str(settings.get("_target_", "")).endswith((".WandbLogger", f".{WandbRun.__name__}")):
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # W&B would send its errors to its makers
            earlier = _read(folder / FILE)
            chosen = {key: settings.get(key) or earlier.get(key) for key in KEYS}
            chosen["name"] = chosen["name"] or f"{folder.parent.name}/{folder.name}"
            chosen["group"] = chosen["group"] or _sweep_folder()
            settings |= chosen
        loggers.append(make(settings, save_dir=str(folder)))
    return loggers


def _read(path: Path) -> dict[str, Any]:
    advice = "remove it, and the resumed run will be a new one in W&B"
    try:
        values = read_json(path, advice)
    except FileNotFoundError:
        return {}
    if not isinstance(values, dict) or not all(isinstance(values.get(key), str | None) for key in KEYS):
        raise CosegError(f"{path} is damaged (it does not hold {', '.join(KEYS)}): {advice}.")
    return values


def _sweep_folder() -> str | None:
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().sweep.dir).name if in_sweep() else os.environ.get(STUDY)


@contextmanager
def tracked(trainer: L.Trainer, config: DictConfig, folder: Path, best: ModelCheckpoint) -> Iterator[None]:
    """Start the trainer's run in W&B where it has one, and finish it, however the training inside ends.

    At its end the checkpoint of `best` is logged as a reference: its path and checksum. A run whose training fails is
    finished as failed, one that a signal stops as killed.

    Raises:
        CosegError: W&B can't start, since nobody is logged in, say.
    """
    runs = []
    code = FAILED
    try:
        for logger in wandb_loggers(trainer):
            runs.append(_start(logger))
            _describe(runs[-1], config, folder)
        yield
        code = 0
    except BaseException as error:
        # Lightning makes a `SystemExit` of Ctrl-C.
        if isinstance(error, KeyboardInterrupt | SystemExit) or Stopped.find(error) is not None:
            code = KILLED
        raise
    finally:
        for run in runs:
            if code == 0 and best.best_model_path:
                _log_checkpoint(run, Path(best.best_model_path), best.monitor or "", best.best_model_score)
            run.finish(exit_code=code)


def wandb_loggers(trainer: L.Trainer) -> list[WandbLogger]:
    """The trainer's loggers to W&B, in the process that logs; none in the others."""
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger) and trainer.is_global_zero]


def _start(logger: WandbLogger) -> wandb.Run:
    import wandb

    try:
        run: wandb.Run = logger.experiment
    except (wandb.errors.Error, ValueError, TypeError) as error:  # the latter two: unknown settings
        reason = " ".join(str(error).split()).rstrip(".")
        raise CosegError(
            f"W&B can't start ({reason}). Log in first (wandb login), keep the run on this machine with "
            "logger.wandb.offline=true (or WANDB_MODE=offline), or do without W&B (logger=csv)."
        ) from error
    return run


def _describe(run: wandb.Run, config: DictConfig, folder: Path) -> None:
    """Log the configuration to the run, and write `FILE`, with which it can be resumed."""
    run.config.update(plain(config), allow_val_change=True)  # a resumed run has one already
    if run.disabled:
        return
    write_text_atomically(folder / FILE, json.dumps({key: getattr(run, key) or None for key in KEYS}, indent=2) + "\n")
    if run.offline:
        log.info(f"W&B run {run.id}, offline; to upload it: wandb sync {Path(run.dir).parent}")
    else:
        log.info(f"W&B run {run.id}: {run.url}")


def _log_checkpoint(run: wandb.Run, path: Path, monitor: str, score: Tensor | None) -> None:
    """Log the path, size and checksum of a checkpoint; the file stays where it is.

    Lightning's ``log_model`` would copy and upload it.
    """
    import wandb

    metadata = {} if score is None else {monitor: float(score)}
    artifact = wandb.Artifact(f"model-{run.id}", "model", metadata=metadata)
    artifact.add_reference(path.resolve().as_uri())
    run.log_artifact(artifact, aliases=[path.stem])


def log_panel(trainer: L.Trainer, rows: Sequence[PanelRow], picture: NDArray[np.uint8]) -> None:
    """Log a panel of validation pairs to the loggers that take pictures.

    Args:
        trainer: its loggers get it.
        rows: the pairs. W&B also gets each image with its truth and prediction as masks that can be switched.
        picture: what `draw_panel` makes of them, uint8 (H, W, 3).
    """
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image("val/panel", picture, trainer.global_step, dataformats="HWC")
    for logger in wandb_loggers(trainer):
        import wandb

        images = [_with_masks(side) for row in rows for side in row]
        panel = {"val/panel": [wandb.Image(picture)], "val/pairs": images}
        logger.log_metrics(panel, trainer.global_step)  # type: ignore[arg-type]


def _with_masks(side: PanelSide) -> wandb.Image:
    import wandb

    maps = {"truth": side.target}
    if side.prediction is not None:
        maps["prediction"] = side.prediction.astype(np.uint8) * COMMON
    masks = {
        name: {"mask_data": letterboxed(fitted(values, TILE), TILE, BACKGROUND), "class_labels": LABELS}
        for name, values in maps.items()
    }
    return wandb.Image(letterboxed(fitted(side.image, TILE), TILE), masks=masks, caption=side.caption)
