"""Read checkpoints: primitives and tensors, nothing that runs."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from coseg.errors import CosegError
from coseg.models.network import CosegNetwork
from coseg.sealed import Changed, check_seal
from coseg.training.shared import CONFIG, WEIGHTS, box, read_shared
from coseg.training.task import CosegTask


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint.

    Raises:
        CosegError: there is no such file, or it is not a checkpoint of `coseg`.
    """
    if not path.is_file():
        raise CosegError(f"There is no checkpoint {path}.")
    try:
        check_seal(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Changed as error:
        raise CosegError(f"{path} can't be read as a checkpoint: it is damaged, or another file ({error}).") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise CosegError(
            f"{path} can't be read as a checkpoint: it is damaged, or it is another kind of file."
        ) from None
    wanted = ("state_dict", "hyper_parameters", "global_step")
    if not isinstance(checkpoint, dict) or not all(key in checkpoint for key in wanted):
        raise CosegError(f"{path} is not a checkpoint that coseg-train made.")
    return checkpoint


def network_file(path: str | Path) -> Path:
    """The file that a user means who gives a network: itself, or the weights in the folder of a shared model.

    ``box`` is the model that comes with coseg.

    Raises:
        CosegError: a folder holds no shared model.
    """
    folder = box() if str(path) == "box" else Path(path)
    if not folder.is_dir():
        return folder
    if not (folder / WEIGHTS).is_file():
        raise CosegError(f"{folder} holds no {WEIGHTS}: give a checkpoint, or the folder of a shared model.")
    return folder / WEIGHTS


def load_network(path: Path) -> CosegNetwork:
    """The network in a checkpoint, or in the weights of a shared model, at the size at which that is used.

    Raises:
        CosegError: it is neither, or it can't be used.
    """
    if path.suffix != ".safetensors":
        return load_task(path).network
    network, settings = read_shared(path, path.with_name(CONFIG))
    if network.input_size is not None and settings["size"] is not None:
        network.input_size = settings["size"]
    return network


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
