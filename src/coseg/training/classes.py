"""The classes that the configuration of a run may name without being asked for: those that coseg's own ones use.

A run folder is the user's own, and may name a network or a data set of theirs; but it may also have been sent by
somebody. So classes outside of coseg, torch, lightning and albumentations are imported only where the user says
``trust=true``, and inside of these only what a configuration has a place for: no functions, and no class that starts
a program.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from coseg.errors import CosegError
from coseg.models.registry import known_network

_OURS = ("coseg.data.", "coseg.training.", "coseg.models.")
"""Of coseg: where such classes are."""

_LOADED = ("torch.optim.lr_scheduler", "lightning.pytorch", "albumentations")
"""Imported by us, whatever a file says; with these come all modules in which a class is looked for."""

_PACKAGES = ("coseg", "torch", "lightning", "albumentations")

_DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z_]\w*)+")

TRUST = (
    "If they are your own, or you trust who made the folder, say so: trust=true for coseg-train and coseg-test, "
    "--trust for the other commands."
)


def require_known_classes(config: object, where: str, trust: bool = False, keys: tuple[str, ...] = ()) -> None:
    """Refuse a configuration that names anything but classes which belong into one, on any level.

    Args:
        config: plain data, `coseg.plain_data`.
        where: the file, for the sentence.
        trust: leave it to the user, who knows where it is from.
        keys: that lead to it.

    Raises:
        CosegError: it names another class, or another thing.
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
        raise _refused(where, (*keys, str(special[0])), "what coseg's own configurations do not")
    if "_target_" in config:
        known_class(config["_target_"], where, keys)
    for key, value in config.items():
        require_known_classes(value, where, keys=(*keys, str(key)))


def known_class(target: object, where: str, keys: tuple[str, ...] = ()) -> type:
    """The class `target`, a dotted name in a file; nothing outside of the four packages is imported to find it.

    Raises:
        CosegError: it is none that belongs into a configuration.
    """
    found = _loaded(target) if isinstance(target, str) and _DOTTED.fullmatch(target) else None
    if (
        not isinstance(found, type)
        or not issubclass(found, _kinds())
        or found.__module__.split(".")[0] not in _PACKAGES
    ):
        raise _refused(where, keys, repr(target)[:120])
    return found


def _refused(where: str, keys: tuple[str, ...], what: str) -> CosegError:
    at = ".".join(keys)
    return CosegError(
        f"{where}{f', {at},' if at else ''} names {what}: that is none of the classes of coseg, torch, lightning and "
        f"albumentations that a configuration is made of. {TRUST}"
    )


def _loaded(target: str) -> Any:
    """What a dotted name stands for, among the modules that are loaded; of coseg's own, a module is loaded for it."""
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
            found: Any = sys.modules[name]
            for part in parts[length:]:
                found = vars(found).get(part) if hasattr(found, "__dict__") else None
            return found
    return None


@cache
def _kinds() -> tuple[type, ...]:
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

    from coseg.data.augment import Augmentation
    from coseg.data.catalog import Reader
    from coseg.models.encoder import Encoder
    from coseg.models.network import CosegNetwork

    ours = (CosegNetwork, Encoder, Reader, Augmentation, LightningDataModule)
    training = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, Trainer, Strategy, Callback, Logger)
    plugins = (Profiler, FabricPrecision, CheckpointIO, ClusterEnvironment)
    return (*ours, *training, *plugins, albumentations.BasicTransform, BaseCompose)
