"""Check all parts of an earlier run before it is resumed: a damaged part is an error, and nothing is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from coseg.errors import CosegError
from coseg.files.plain_data import read_json
from coseg.hub.checkpoint import read_checkpoint
from coseg.hub.shared_weights import require_fit
from coseg.lightning_internals import complete_epochs
from coseg.run_dir import (
    BEST,
    CHECKPOINTS,
    CONFIG,
    CURVES,
    ENVIRONMENT,
    FINISHED,
    LAST,
    METRICS,
    PANELS,
    SKIPPED,
    TESTS,
)
from coseg.training.metrics_log import PENDING, Rows, read_metrics, with_pending_row
from coseg.training.run_checkpoints import run_checkpoints
from coseg.training.task import CosegTask

REQUIRED_KEYS = ("data", "logger", "model", "optimizer", "panels", "protocol", "seed", "task", "threads", "trainer")
"""Keys that a run's configuration has."""

FILES = (CONFIG, ENVIRONMENT, METRICS, "hparams.yaml", CURVES, FINISHED, "wandb.json", SKIPPED)
FOLDERS = (CHECKPOINTS, PANELS, "tensorboard", "wandb", TESTS)

Shapes = Mapping[str, tuple[int, ...]]


class EarlierRun(NamedTuple):
    """An earlier run, before it is resumed.

    Attributes:
        step: optimiser steps of its last checkpoint.
        rows: of its ``metrics.csv``, those before that step.
        shapes: of the tensors of each checkpoint, by its file and their names.
        network: the configuration of each checkpoint's network, by its file.
        finished: the message for a run that is complete; None otherwise.
        jaccard: the best of a finished run, nan without one.
    """

    step: int
    rows: Rows
    shapes: Mapping[Path, Shapes]
    network: Mapping[Path, Mapping[str, Any]]
    finished: str | None
    jaccard: float


def read_run(folder: Path, config: DictConfig, extended: bool = False) -> EarlierRun:
    """Read and check each part of the run in `folder`, whose configuration is `config`.

    Args:
        folder: of the run.
        config: its configuration.
        extended: its end is another one than that of the run: it is finished if it has reached that, whatever its
            files say.

    Raises:
        CosegError: a part is damaged, or something else than it should be.
    """
    _check_places(folder)
    _check_config(folder / CONFIG, config)
    _check_environments(folder / ENVIRONMENT)
    finished = _read_finished(folder / FINISHED)
    last, best = (folder / CHECKPOINTS / name for name in (LAST, BEST))
    checkpoint = read_checkpoint(last)
    _check_state(last, checkpoint)
    contents = {last: checkpoint}
    if best.exists():
        try:
            contents[best] = read_checkpoint(best)
            _best_score(contents[best], folder)
        except (CosegError, KeyError, TypeError, AttributeError) as error:
            reason = f" ({error})" if isinstance(error, CosegError) else ""
            raise CosegError(
                f"{best} is damaged or another file{reason}. Put a copy in its place, or remove it: the best "
                "checkpoint will then be the best from here on."
            ) from None
    step = checkpoint["global_step"]
    jaccard = float("nan") if finished is None or finished["jaccard"] is None else float(finished["jaccard"])
    return EarlierRun(
        step,
        with_pending_row(read_metrics(folder, step), checkpoint.get(PENDING)),
        {path: _shapes(values["state_dict"]) for path, values in contents.items()},
        {path: values["hyper_parameters"].get("network", {}) for path, values in contents.items()},
        _finished_message(folder, config, checkpoint, jaccard) if finished is not None or extended else None,
        jaccard,
    )


def check_fits(earlier: EarlierRun, task: CosegTask) -> None:
    """Check that the checkpoints are of `task`, which is made from the run's configuration.

    Raises:
        CosegError: one is of another network, or of other classes.
    """
    wanted = _shapes(task.state_dict())
    network = task.hparams["network"]
    for path, shapes in earlier.shapes.items():
        different = [name for name in {**wanted, **shapes} if wanted.get(name) != shapes.get(name)]
        if different or earlier.network[path] != network:
            difference = f"the sizes of {different[0]} differ" if different else "its settings differ"
            raise _other_network(path, difference)


def require_sizes(earlier: EarlierRun, make: Callable[[], CosegTask]) -> None:
    """Compare the checkpoints with the task that `make` makes, before that takes memory.

    Raises:
        CosegError: one is of a network of other sizes.
    """
    for path, shapes in earlier.shapes.items():
        try:
            require_fit(make, shapes)
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).strip().splitlines()]
            raise _other_network(path, lines[min(1, len(lines) - 1)][:200]) from None


def _other_network(path: Path, difference: str) -> CosegError:
    return CosegError(
        f"{path} holds the weights of another network than the config.yaml of its run describes ({difference}): put "
        "the checkpoint of this run in its place."
    )


def _check_places(folder: Path) -> None:
    for names, is_right, word in ((FILES, Path.is_file, "a file"), (FOLDERS, Path.is_dir, "a folder")):
        for path in (folder / name for name in names):
            if (path.exists() or path.is_symlink()) and not is_right(path):
                raise CosegError(f"{path} should be {word}, but is something else: move it away, and resume again.")


def _check_config(path: Path, config: DictConfig) -> None:
    missing = [key for key in REQUIRED_KEYS if not isinstance(config, DictConfig) or key not in config]
    if missing:
        raise CosegError(f"{path} is damaged (it lacks {', '.join(missing)}): put a copy in its place.")
    values = OmegaConf.to_container(config)
    assert isinstance(values, dict)
    groups = ("data", "logger", "model", "optimizer", "protocol", "task", "trainer")
    wrong = [key for key in groups if not isinstance(values[key], dict)]
    if wrong:
        raise CosegError(f"{path} is damaged ({', '.join(wrong)} holds no settings): put a copy in its place.")
    for key, part in (("protocol", "void"), ("data", "_target_"), ("model", "_target_"), ("trainer", "_target_")):
        if not isinstance(values[key].get(part), str):
            raise CosegError(f"{path} is damaged (it lacks {key}.{part}): put a copy in its place.")


def _check_environments(path: Path) -> None:
    values = _json(path, "the earlier commands and versions will be lost")
    if values is not None and not (isinstance(values, list) and all(isinstance(value, dict) for value in values)):
        raise CosegError(
            f"{path} is damaged (it holds no list of environments): remove it, and a new list begins; the earlier "
            "commands and versions will be lost."
        )


def _read_finished(path: Path) -> dict[str, Any] | None:
    values = _json(path, "the run is resumed from its last checkpoint")
    if values is None:
        return None
    valid = (
        isinstance(values, dict)
        and {"jaccard", "step"} <= values.keys()
        and isinstance(values["jaccard"], int | float | None)
        and isinstance(values["step"], int)
    )
    if not valid:
        raise CosegError(
            f"{path} is damaged (it holds no score and number of steps): remove it, and the run is resumed from its "
            "last checkpoint."
        )
    return dict(values)


def _json(path: Path, consequence: str) -> Any:
    """The values in a file; None where it does not exist."""
    try:
        return read_json(path, f"put a copy in its place, or remove it; {consequence}", nan=True, verbatim=True)
    except FileNotFoundError:
        return None


def _check_state(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Check that a checkpoint has all that Lightning restores."""
    types: dict[str, type | tuple[type, ...]] = {
        "state_dict": dict, "hyper_parameters": dict, "global_step": int, "epoch": int, "loops": dict,
        "callbacks": dict, "optimizer_states": list, "lr_schedulers": list, "pytorch-lightning_version": str,
    }  # fmt: skip
    wrong = [key for key, expected in types.items() if not isinstance(checkpoint.get(key), expected)]
    try:
        if not wrong:
            complete_epochs(checkpoint)
    except (KeyError, TypeError):
        wrong = ["loops"]
    if not wrong and not all(isinstance(state, dict) and state.keys() >= {"state", "param_groups"}
                             for state in checkpoint["optimizer_states"]):  # fmt: skip
        wrong = ["optimizer_states"]
    if wrong:
        raise CosegError(
            f"{path} can't be resumed: it lacks {', '.join(wrong)}. It is no checkpoint of coseg-train; "
            "put that of this run in its place."
        )


def _best_score(checkpoint: Mapping[str, Any], folder: Path) -> float:
    best, _ = run_checkpoints(folder / CHECKPOINTS)
    return float(checkpoint["callbacks"][best.state_key]["best_model_score"])


def _shapes(state: Mapping[str, Any]) -> Shapes:
    return {name: tuple(value.shape) for name, value in state.items() if isinstance(value, Tensor)}


def _finished_message(folder: Path, config: DictConfig, checkpoint: Mapping[str, Any], jaccard: float) -> str | None:
    """The message for a run that has reached the end that its configuration sets."""
    epochs, step = complete_epochs(checkpoint), checkpoint["global_step"]
    limits = {"max_epochs": epochs, "max_steps": step}
    reached = [
        key for key, done in limits.items() if isinstance(end := config.trainer.get(key), int) and 0 <= end <= done
    ]
    if not reached:
        return None
    score = "" if math.isnan(jaccard) else f", best val/jaccard {jaccard:.4f}"
    further = " ".join(f"trainer.{key}=N (N above {limits[key]})" for key in reached)
    return (
        f"The run {folder} is finished: {epochs} epochs, {step} steps{score}. There is nothing left to train; beside "
        f"resume=, {further} extends it."
    )
