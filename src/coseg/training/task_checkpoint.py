"""The task in a checkpoint: its arguments are checked one by one, then it is rebuilt from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from coseg.errors import CosegError
from coseg.hub.checkpoint import read_checkpoint
from coseg.hub.shared_weights import require_fit
from coseg.instantiate import without_weights
from coseg.metrics.mask_counts import VOID_RULES
from coseg.training.losses import standard_losses

Module = TypeVar("Module", bound=nn.Module)
Task = TypeVar("Task", bound=nn.Module)


def rebuild_task(
    task_class: Callable[..., Task], path: Path, trust: bool = False, changes: Mapping[str, Any] | None = None
) -> Task:
    """The task in a checkpoint, its network and losses rebuilt from the checkpoint alone.

    The checkpoint names one of coseg's networks; nothing in it is imported, resolved or run.

    Args:
        task_class: `coseg.training.task.CosegTask`, or a subclass.
        path: of the checkpoint.
        trust: it may name classes outside of coseg, which are imported.
        changes: arguments of the task in place of those in the checkpoint.

    Raises:
        CosegError: it is not a checkpoint, or not one of `CosegTask`, or of a network that this version lacks; or the
            task was given modules, and they are not among `changes`.
    """
    changes = dict(changes or {})
    checkpoint = read_checkpoint(path)
    saved = task_arguments(checkpoint["hyper_parameters"], path)
    arguments = saved | {"compile": False} | changes | {"trust": trust}
    if arguments["network"] is None:
        raise _without_network(path)
    for group in ("losses", "metrics"):
        for name, settings in (arguments.get(group) or {}).items():
            if settings is None:
                raise CosegError(
                    f"{path}: the task was given {name} of its {group} as a module, which a checkpoint does not hold: "
                    f"give {group}= to load_from_checkpoint."
                )
    state = checkpoint["state_dict"]
    if "losses" in changes:  # weights of losses that `changes` leave out
        left_out = tuple(f"{name}_loss." for name in saved.get("losses") or {} if name not in (changes["losses"] or {}))
        state = {key: value for key, value in state.items() if not key.startswith(left_out)}
    return _filled(lambda: task_class(**arguments), state, path, trust or isinstance(arguments["network"], nn.Module))


def _filled(make: Callable[[], Module], state: Mapping[str, Tensor], path: Path, trust: bool) -> Module:
    """The module that `make` makes, with `state`; sizes are compared without memory first, but for unknown classes."""
    try:
        if not trust:  # an unknown class may look at its numbers when it is made
            require_fit(make, {key: tuple(value.shape) for key, value in state.items()})
        module = make()
        module.load_state_dict(state)
    except CosegError as error:
        raise CosegError(f"{path}: {error}") from None
    except (RuntimeError, TypeError, ValueError) as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise CosegError(f"{path} does not fit the network that it names: {first}") from None
    return module


def _without_network(path: Path) -> CosegError:
    return CosegError(
        f"{path}: its task was given the network as a module, which a checkpoint does not hold: give "
        "CosegTask.load_from_checkpoint the same network, untrained, as network=."
    )


def task_arguments(saved: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The arguments of `CosegTask`, from the hyper-parameters of a checkpoint, if each is of its type.

    Checkpoints of earlier versions have ``void``, ``jaccard`` and ``semantic`` in place of ``losses``: these are
    converted.

    Raises:
        CosegError: they are not the arguments of a task.
    """
    if "network" not in saved:
        raise CosegError(f"{path} is a checkpoint, but not of a co-segmentation network of coseg.")
    for key, value in saved.items():
        if key not in _CHECKS:
            raise CosegError(f"{path}: the task has a setting {str(key)[:80]!r} that this version does not know.")
        if not _CHECKS[key](value):
            raise CosegError(f"{path} is damaged: hyper_parameters.{key} is {str(value)[:80]!r}.")
    network = saved["network"]
    arguments = {key: value for key, value in saved.items() if key not in _EARLIER_KEYS}
    if "losses" not in saved:
        arguments["losses"] = standard_losses(**{key: saved[key] for key in _EARLIER_KEYS if key in saved})
    return {**arguments, "network": None if network is None else without_weights(network)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_settings(value: object) -> bool:
    """Whether it is None, or a mapping."""
    return value is None or isinstance(value, Mapping)


def _is_terms(value: object) -> bool:
    """Whether it is None, or names with the settings of each, None for what was a module."""
    return value is None or (
        isinstance(value, Mapping)
        and len(value) <= 100
        and all(isinstance(name, str) and name.isidentifier() and _is_settings(term) for name, term in value.items())
    )


def _is_void(value: object) -> bool:
    return isinstance(value, str) and value in VOID_RULES


_EARLIER_KEYS = ("void", "jaccard", "semantic")
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "network": _is_settings,
    "losses": _is_terms,
    "metrics": _is_terms,
    "optimizer": _is_settings,
    "schedule": _is_settings,
    "class_names": lambda value: (
        isinstance(value, list | tuple) and len(value) <= 10_000 and all(isinstance(name, str) for name in value)
    ),
    "score_void": _is_void,
    "channels_last": lambda value: isinstance(value, bool),
    "compile": lambda value: isinstance(value, bool),
    "exemplars": lambda value: _is_number(value) and 0 <= value <= 1,
    "seed": lambda value: isinstance(value, int),
    "void": _is_void,
    "jaccard": _is_number,
    "semantic": _is_number,
}
