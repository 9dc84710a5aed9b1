"""The classes that the configuration of a run may name without ``trust``: those that coseg's configurations use.

A run folder may be the user's and name a network or a data set of theirs; but it may also come from somebody else. So
classes outside of coseg, torch, lightning and albumentations are imported only with ``trust=true``, and of these
packages only the classes that a configuration needs: no functions, and no class that starts a program."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from coseg.errors import CosegError
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
