"""The classes that a configuration names: what that of a run may name without ``trust``, and whether all exist.

A run folder may be the user's and name a network or a data set of theirs; but it may also come from somebody else. So
classes outside of coseg, torch, lightning and albumentations are imported only with ``trust=true``, and of these
packages only the classes that a configuration needs: no functions, and no class that starts a program."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from coseg.configs import import_from
from coseg.errors import CosegError, hidden_module
from coseg.models.registry import REMOVED, current_name, known_network

_OURS = ("coseg.data.", "coseg.training.", "coseg.models.")
"""The rooms of coseg with such classes."""

_LOADED = ("torch.optim.lr_scheduler", "lightning.pytorch", "albumentations")
"""Always imported, whatever a file names; they load all modules in which classes are searched."""

_PACKAGES = ("coseg", "torch", "lightning", "albumentations")

_RENAMED = {
    "coseg.data.augment.Augmentation": "coseg.data.augmentation.Augmentation",
    "coseg.training.resizing.ProgressiveResizing": "coseg.training.callbacks.ProgressiveResizing",
    "coseg.training.param_groups.LearningRates": "coseg.training.optimizer.LearningRates",
}
"""Classes by the names that they had in earlier versions, which runs still have in their ``config.yaml``."""

_DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z_]\w*)+")

TRUST = (
    "If they are your own, or you trust who made the folder, say so: trust=true for coseg-train and coseg-test, "
    "--trust for the other commands."
)


def require_known_classes(config: object, where: str, trust: bool = False, keys: tuple[str, ...] = ()) -> None:
    """Refuse a configuration that names anything but the classes that it may contain, on any level.

    Args:
        config: plain data, `coseg.files.plain_data`.
        where: the file, for the message.
        trust: check nothing, since the user trusts the file.
        keys: the path to it in the file.

    Raises:
        CosegError: it names another class, or something else.
    """
    if trust:
        return
    if isinstance(config, list | tuple):
        for k, value in enumerate(config):
            require_known_classes(value, where, keys=(*keys, str(k)))
    if not isinstance(config, Mapping):
        return
    if keys == ("model",) and not known_network(config):
        raise _refused(where, keys, "a class outside of coseg")
    special = [key for key in config if str(key) in ("_partial_", "_args_", "_recursive_", "_convert_", "_mode_")]
    if special:
        raise _refused(where, (*keys, str(special[0])), "a key that coseg's configurations don't have")
    target = config.get("_target_")
    if "_target_" in config and not (isinstance(target, str) and target in REMOVED):
        known_class(current_name(target), where, keys)
    for key, value in config.items():
        require_known_classes(value, where, keys=(*keys, str(key)))


def with_current_names(config: Any) -> Any:
    """A copy of plain data in which each ``_target_`` of an earlier version is the current name of the class."""
    if isinstance(config, list):
        return [with_current_names(value) for value in config]
    if not isinstance(config, dict):
        return config
    values = {key: with_current_names(value) for key, value in config.items()}
    if isinstance(target := values.get("_target_"), str):
        values["_target_"] = _RENAMED.get(target, target)
    return values


def known_class(target: object, where: str, keys: tuple[str, ...] = ()) -> type:
    """The class `target`, a dotted name in a file; nothing outside of the four packages is imported to find it.

    Raises:
        CosegError: it is not a class that a configuration may name.
    """
    named = _loaded(target) if isinstance(target, str) and _DOTTED.fullmatch(target) else None
    if (
        not isinstance(named, type)
        or not issubclass(named, _permitted())
        or named.__module__.split(".")[0] not in _PACKAGES
    ):
        raise _refused(where, keys, repr(target)[:120])
    return named


def require_classes(config: object, keys: tuple[str, ...] = ()) -> None:
    """Import what each ``_target_`` of a configuration names, which the user composed or trusts, before data are read.

    Modules in the directory where the command was started are found, after all that are installed: that directory joins
    the import path when a configuration names one of them, and not for what a checkpoint or a shared model names.

    Args:
        config: plain data.
        keys: the path to it.

    Raises:
        CosegError: there is no such class, or its module raises an exception.
    """
    if isinstance(config, list | tuple):
        for k, value in enumerate(config):
            require_classes(value, (*keys, str(k)))
    if not isinstance(config, Mapping):
        return
    target = config.get("_target_")
    if isinstance(target, str) and target not in REMOVED and not known_network(config):
        _import_class(_RENAMED.get(target, current_name(target)), ".".join((*keys, "_target_")))
    for key, value in config.items():
        require_classes(value, (*keys, str(key)))


def _import_class(target: str, key: str) -> None:
    """Import the module of a dotted name, and look up the rest of it."""
    parts = target.split(".")
    wrong = f"{key} is {target}, but"
    if not all(part.isidentifier() for part in parts):
        raise CosegError(f"{wrong} must be the name of a class with its module: package.module.Class.")
    if parts[0] not in sys.modules and find_spec(parts[0]) is None and _is_module(Path.cwd() / parts[0]):
        import_from(Path.cwd())
    value: Any = None
    for k, part in enumerate(parts):
        if value is not None and hasattr(value, part):
            value = getattr(value, part)
            continue
        name = ".".join(parts[: k + 1])
        try:
            if value is not None and not hasattr(value, "__path__"):
                raise ModuleNotFoundError(name=name)
            value = importlib.import_module(name)
        except Exception as error:
            if (hidden := hidden_module(target)) is not None:
                raise CosegError(f"{key}: {hidden}") from error
            if isinstance(error, ModuleNotFoundError) and error.name == name:
                raise CosegError(f"{wrong} {_missing(value, part, parts[:k])}") from None
            raise CosegError(f"{wrong} {name} can't be imported: {_with_line(error)}") from error
    if not callable(value):
        raise CosegError(f"{wrong} that is a {type(value).__name__}: give the name of a class.")


def _is_module(path: Path) -> bool:
    return path.is_dir() or path.with_suffix(".py").is_file()


def _missing(value: Any, part: str, before: list[str]) -> str:
    """What is missing, with the names that are like it."""
    if value is None:
        return (
            f"there is no module {part}: if it is your own, start the command in the directory where it lies, or give "
            "that directory as --config-dir; see to its spelling otherwise."
        )
    place = ".".join(before)
    if similar := get_close_matches(part, [name for name in dir(value) if not name.startswith("_")], n=1):
        return f"{place} has no {part}. Did you mean {place}.{similar[0]}?"
    return f"{place} has no {part}: see to its spelling."


def _with_line(error: BaseException) -> str:
    """An error with its type, and the file and line where it was raised."""
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{reason} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else reason


def _refused(where: str, keys: tuple[str, ...], what: str) -> CosegError:
    at = ".".join(keys)
    return CosegError(
        f"{where}{f', {at},' if at else ''} names {what}: it is not one of the classes of coseg, torch, lightning and "
        f"albumentations that a configuration may name. {TRUST}"
    )


def _loaded(target: str) -> Any:
    """The value of a dotted name in loaded modules; modules of coseg are loaded for it."""
    parts = target.split(".")
    if parts[0] not in _PACKAGES:
        return None
    for module in _LOADED:
        importlib.import_module(module)
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        if name not in sys.modules and target.startswith(_OURS):
            try:
                importlib.import_module(name)
            except ImportError:
                continue
        if name in sys.modules:
            value: Any = sys.modules[name]
            for part in parts[length:]:
                value = vars(value).get(part) if hasattr(value, "__dict__") else None
            return value
    return None


@cache
def _permitted() -> tuple[type, ...]:
    import albumentations
    import torch
    from albumentations.core.composition import BaseCompose
    from lightning import LightningDataModule, Trainer
    from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment
    from lightning.fabric.plugins import Precision as FabricPrecision
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers import Logger
    from lightning.pytorch.profilers import Profiler
    from lightning.pytorch.strategies import Strategy

    from coseg.data.augmentation import Augmentation
    from coseg.data.catalog import Reader
    from coseg.models.base import CosegNetwork
    from coseg.models.encoders.base import Encoder
    from coseg.training.losses import Loss

    ours = (CosegNetwork, Encoder, Reader, Augmentation, LightningDataModule, Loss)
    training = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, Trainer, Strategy, Callback, Logger)
    plugins = (Profiler, FabricPrecision, CheckpointIO, ClusterEnvironment)
    return (*ours, *training, *plugins, albumentations.BasicTransform, BaseCompose)
