"""Read checkpoints: primitives and tensors, nothing that runs."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from coseg.errors import CosegError
from coseg.training.task import CosegTask


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint.

    Raises:
        CosegError: there is no such file, or it is not a checkpoint of `coseg`.
    """
    if not path.is_file():
        raise CosegError(f"There is no checkpoint {path}.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise CosegError(
            f"{path} can't be read as a checkpoint: it is damaged, or it is another kind of file."
        ) from None
    wanted = ("state_dict", "hyper_parameters", "global_step")
    if not isinstance(checkpoint, dict) or not all(key in checkpoint for key in wanted):
        raise CosegError(f"{path} is not a checkpoint that coseg-train made.")
    return checkpoint


def load_task(path: str | Path) -> CosegTask:
    """The task in a checkpoint, its network rebuilt from the checkpoint alone.

    Raises:
        CosegError: it is not a checkpoint, or not one of `CosegTask`, or of a network that this version lacks.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    hyper_parameters = checkpoint["hyper_parameters"]
    if "network" not in hyper_parameters:
        raise CosegError(f"{path} is a checkpoint, but not of a co-segmentation network of coseg.")
    try:
        task = CosegTask(**{**hyper_parameters, "compile": False})
        task.load_state_dict(checkpoint["state_dict"])
    except (RuntimeError, TypeError) as error:
        first = str(error).strip().splitlines()[0]
        raise CosegError(f"{path} does not fit the network that it names: {first}") from None
    return task
