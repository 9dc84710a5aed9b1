"""Read checkpoints: primitives and tensors, nothing that runs, and no more memory than the file has bytes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from coseg.errors import CosegError
from coseg.evaluation.scores import VOID_RULES
from coseg.models.network import CosegNetwork
from coseg.plain_data import require_plain
from coseg.sealed import Changed, check_seal
from coseg.torch_file import read_torch_file
from coseg.training.build import without_weights
from coseg.training.shared import CONFIG, WEIGHTS, box, read_shared, require_fit
from coseg.training.task import CosegTask

Task = TypeVar("Task", bound=CosegTask)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint; its hyper-parameters are plain data without ``${``.

    Raises:
        CosegError: there is no such file, or it is not a checkpoint of `coseg`.
    """
    try:
        size = path.stat().st_size
        checkpoint = read_torch_file(
            path, f"{path} can't be read as a checkpoint: it is damaged, or it is another kind of file."
        )
        check_seal(path)
    except Changed as error:
        raise CosegError(
            f"{path} can't be read as a checkpoint: it is damaged, or it is another kind of file ({error})."
        ) from None
    except FileNotFoundError:
        raise CosegError(f"There is no checkpoint {path}.") from None
    except OSError as error:
        raise CosegError(f"{path} can't be read ({error}): give a checkpoint.") from None
    wanted = ("state_dict", "hyper_parameters", "global_step")
    if not isinstance(checkpoint, dict) or not all(key in checkpoint for key in wanted):
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


def _require_whole(state: Mapping[Any, Any], size: int, path: Path) -> None:
    """Refuse tensors that stand for more numbers than the file holds, as one number that is repeated does."""
    total = 0
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CosegError(f"{path} is damaged: its state_dict holds {str(key)[:80]!r}, which is no tensor.")
        total += value.numel() * value.element_size()
    if total > size:
        raise CosegError(f"{path} is damaged: its tensors are larger than the file. Take another checkpoint.")


def network_file(path: str | Path) -> Path:
    """The file that a user means who gives a network: itself, or the weights in the folder of a shared model.

    ``box`` is the model that comes with coseg.

    Raises:
        CosegError: a folder holds no shared model.
    """
    folder = box() if str(path) == "box" else Path(path)
    if not folder.is_dir():
        return folder
    if not (folder / WEIGHTS).exists():
        raise CosegError(f"{folder} holds no {WEIGHTS}: give a checkpoint, or the folder of a shared model.")
    return folder / WEIGHTS


def load_network(path: Path, trust: bool = False) -> CosegNetwork:
    """The network in a checkpoint, or in the weights of a shared model, at the size at which that is used.

    Args:
        path: of the checkpoint, or of the weights.
        trust: it may name classes outside of coseg, which are imported.

    Raises:
        CosegError: it is neither, or it can't be used.
    """
    if path.suffix != ".safetensors":
        return load_task(path, trust).network
    network, settings = read_shared(path, path.with_name(CONFIG), trust)
    if network.input_size is not None and settings["size"] is not None:
        network.input_size = settings["size"]
    return network


def load_task(path: str | Path, trust: bool = False, kind: type[Task] = CosegTask, **changes: Any) -> Task:  # type: ignore[assignment]
    """The task in a checkpoint, its network rebuilt from the checkpoint alone.

    The checkpoint says which of coseg's networks it is; nothing in it is imported, resolved or run.

    Args:
        path: of the checkpoint.
        trust: it may name classes outside of coseg, which are imported.
        kind: the class of the task.
        **changes: arguments of the task in place of those in the checkpoint.

    Raises:
        CosegError: it is not a checkpoint, or not one of `CosegTask`, or of a network that this version lacks.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    arguments = _arguments(checkpoint["hyper_parameters"], path) | {"compile": False} | changes | {"trust": trust}
    state = checkpoint["state_dict"]
    try:
        if not trust:  # a class of somebody's own may look at its numbers when it is made
            require_fit(lambda: kind(**arguments), {key: tuple(value.shape) for key, value in state.items()})
        task = kind(**arguments)
        task.load_state_dict(state)
    except CosegError as error:
        raise CosegError(f"{path}: {error}") from None
    except (RuntimeError, TypeError, ValueError) as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise CosegError(f"{path} does not fit the network that it names: {first}") from None
    return task


def _arguments(found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Of the task, from the hyper-parameters of a checkpoint, if each is of its type."""
    if "network" not in found:
        raise CosegError(f"{path} is a checkpoint, but not of a co-segmentation network of coseg.")
    takes = inspect.signature(CosegTask).parameters.keys() - {"trust"}
    checks = {
        "network": lambda value: isinstance(value, Mapping),
        "optimizer": lambda value: value is None or isinstance(value, Mapping),
        "schedule": lambda value: value is None or isinstance(value, Mapping),
        "class_names": lambda value: (
            isinstance(value, list | tuple) and len(value) <= 10_000 and all(isinstance(name, str) for name in value)
        ),
        "void": lambda value: value in VOID_RULES,
        "score_void": lambda value: value in VOID_RULES,
        "semantic": _is_number,
        "jaccard": _is_number,
        "channels_last": lambda value: isinstance(value, bool),
        "compile": lambda value: isinstance(value, bool),
    }
    for key, value in found.items():
        if key not in takes:
            raise CosegError(f"{path}: its tasks have a setting {str(key)[:80]!r} that this version does not know.")
        if not checks[key](value):
            raise CosegError(f"{path} is damaged: hyper_parameters.{key} is {str(value)[:80]!r}.")
    return {**found, "network": without_weights(found["network"])}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
