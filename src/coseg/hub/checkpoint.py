"""Checkpoints as files: written as a whole, with a checksum; read as primitives and tensors, and without Lightning.

Nothing in a checkpoint is run when it is read, and reading takes no more memory than the file has bytes. For the task
in one, see `coseg.training.task_checkpoint`; `read_network` needs the network's description and weights alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from coseg.errors import CosegError
from coseg.files.plain_data import require_plain
from coseg.files.seals import Changed, check_seal, read_torch_file, seal
from coseg.files.writing import atomic_path
from coseg.hub.shared_weights import require_fit
from coseg.instantiate import build_network, without_weights
from coseg.models.base import CosegNetwork

_NETWORK = "network."
"""What the names of the network's tensors begin with in a checkpoint."""


class TrainedNetwork(NamedTuple):
    """The network in a checkpoint, in float32 on the CPU, and what is recorded beside it.

    Attributes:
        network: with the checkpoint's weights.
        config: its description, ``{"_target_": class, …}``.
        class_names: the classes of the training data.
        step: how many steps the training had taken.
    """

    network: CosegNetwork
    config: dict[str, Any]
    class_names: tuple[str, ...]
    step: int


def read_network(path: Path, trust: bool = False) -> TrainedNetwork:
    """The network in a checkpoint, rebuilt from the checkpoint alone.

    The checkpoint names one of coseg's networks; nothing in it is imported, resolved or run.

    Args:
        path: of the checkpoint.
        trust: it may name classes outside of coseg, which are imported.

    Raises:
        CosegError: it is not a checkpoint of coseg, or of a network that this version lacks.
    """
    checkpoint = read_checkpoint(path)
    settings = checkpoint["hyper_parameters"]
    if "network" not in settings:
        raise CosegError(f"{path} is a checkpoint, but not of a co-segmentation network of coseg.")
    config, class_names = settings["network"], settings.get("class_names", ())
    if config is None:
        raise CosegError(
            f"{path}: its task was given the network as a module, which a checkpoint does not hold: load it with "
            "CosegTask.load_from_checkpoint(path, network=…), given the same network."
        )
    if not isinstance(config, Mapping):
        raise CosegError(f"{path} is damaged: hyper_parameters.network is {str(config)[:80]!r}.")
    if not is_class_names(class_names):
        raise CosegError(f"{path} is damaged: hyper_parameters.class_names is {str(class_names)[:80]!r}.")
    config = without_weights(config)
    weights = {
        key.removeprefix(_NETWORK): value for key, value in checkpoint["state_dict"].items() if key.startswith(_NETWORK)
    }
    try:
        if not trust:  # the constructor of a user's own class may need the values of its tensors
            require_fit(lambda: build_network(config), {key: tuple(value.shape) for key, value in weights.items()})
        network = build_network(config, trust)
        if settings.get("channels_last") is True:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.load_state_dict(weights)
    except CosegError as error:
        raise CosegError(f"{path}: {error}") from None
    except (RuntimeError, TypeError, ValueError) as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise CosegError(f"{path} does not fit the network that it names: {first}") from None
    return TrainedNetwork(network, config, tuple(class_names), checkpoint["global_step"])


def is_class_names(value: object) -> bool:
    """Whether `value` is a list of names, of a length that a data set may have."""
    return isinstance(value, list | tuple) and len(value) <= 10_000 and all(isinstance(name, str) for name in value)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint; its hyper-parameters are plain data without ``${``.

    Raises:
        CosegError: there is no such file, or it is not a checkpoint of `coseg`.
    """
    try:
        size = path.stat().st_size
        checkpoint = read_sealed(path)
    except FileNotFoundError:
        raise CosegError(f"There is no checkpoint {path}.") from None
    except OSError as error:
        raise CosegError(f"{path} can't be read ({error}): give a checkpoint.") from None
    needed = ("state_dict", "hyper_parameters", "global_step")
    if not isinstance(checkpoint, dict) or not all(key in checkpoint for key in needed):
        raise CosegError(f"{path} is not a checkpoint that coseg-train made.")
    state, step = checkpoint["state_dict"], checkpoint["global_step"]
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise CosegError(f"{path} is damaged: its global_step is {str(step)[:80]!r}. Take another checkpoint.")
    if not isinstance(state, Mapping) or not isinstance(checkpoint["hyper_parameters"], Mapping):
        raise CosegError(f"{path} is not a checkpoint that coseg-train made.")
    try:
        require_plain(dict(checkpoint["hyper_parameters"]), "hyper_parameters")
    except ValueError as error:
        raise CosegError(f"{path} is damaged, or made to do harm ({error}): take another checkpoint.") from None
    _require_whole(state, size, path)
    return checkpoint


def read_sealed(path: Path) -> Any:
    """What a file of `write_checkpoint`, or of ``torch.save``, holds, compared with its checksum.

    Raises:
        CosegError: it is damaged.
        FileNotFoundError: there is none.
    """
    refusal = f"{path} can't be read as a checkpoint: it is damaged, or it is not a checkpoint"
    content = read_torch_file(path, f"{refusal}.")
    try:
        check_seal(path)
    except Changed as error:
        raise CosegError(f"{refusal} ({error}).") from None
    return content


def _require_whole(state: Mapping[Any, Any], size: int, path: Path) -> None:
    """Refuse tensors that stand for more numbers than the file holds, as one number that is repeated does."""
    total = 0
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CosegError(f"{path} is damaged: its state_dict holds {str(key)[:80]!r}, which is not a tensor.")
        total += value.numel() * value.element_size()
    if total > size:
        raise CosegError(f"{path} is damaged: its tensors are larger than the file. Take another checkpoint.")


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write `checkpoint` as a whole or not at all; an earlier file at `path` stays until then.

    Raises:
        CosegError: it can't be written.
    """
    try:
        with atomic_path(path) as temporary:
            # An open file rather than its name: what the system says of a full disk is lost otherwise.
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
            seal(temporary)
            _to_disk(temporary)
        with suppress(OSError):  # not every system has folders that can be opened
            _to_disk(path.parent)
    except OSError as error:
        raise _unwritten(path, error.strerror or str(error)) from error
    except RuntimeError as error:  # of torch's writer, which has met an error of the system's
        if "PytorchStreamWriter" not in str(error) and "unexpected pos" not in str(error):
            raise
        cause = error.__context__
        reason = cause.strerror if isinstance(cause, OSError) else None
        raise _unwritten(path, reason or " ".join(str(cause or error).split())) from error


def _to_disk(path: Path) -> None:
    """Write the file, or the folder, through to the disk, so that it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritten(path: Path, reason: str) -> CosegError:
    rest = "The earlier one is untouched" if path.exists() else "There is no earlier one"
    return CosegError(
        f"The checkpoint {path} can't be written ({reason}). {rest}: make room, or check the folder's permissions, "
        "and resume it with resume= and the directory of the run."
    )
