"""The networks and encoders that a file may name: coseg's own, by a table, so that no name in a file is imported.

Shared models and checkpoints hold ``{"_target_": "coseg.models.siamese.SiameseNetwork", "encoder": {…}, …}``. The names
are what files hold, and stay; where a class lies is beside each, and may change.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from coseg.errors import CosegError

if TYPE_CHECKING:
    from torch import nn

_NETWORK_FILES = {
    "CrossCorrelationNetwork": "cross_correlation",
    "SiameseNetwork": "siamese",
    "MutualCorrelationNetwork": "mutual_correlation",
    "SemanticAttentionNetwork": "semantic_attention",
    "ChannelSpatialAttentionNetwork": "channel_spatial_attention",
    "ConditionalSiameseNetwork": "conditional_siamese",
    "EmbeddingMatchingNetwork": "embedding_matching",
}
_ENCODER_FILES = {
    "VGG16Encoder": "vgg16",
    "ResNetEncoder": "resnet",
    "ConvNeXtEncoder": "convnext",
    "ViTEncoder": "vit",
    "TimmEncoder": "timm",
}

MIRRORED = "coseg.models.mirrored.MirroredNetwork"

NETWORKS: dict[str, tuple[str, str]] = {
    f"coseg.models.{file}.{name}": (f"coseg.models.{file}", name) for name, file in _NETWORK_FILES.items()
}
"""From the name in a file to the module and the class."""

ENCODERS: dict[str, tuple[str, str]] = {
    f"coseg.models.encoders.{file}.{name}": (f"coseg.models.encoders.{file}", name)
    for name, file in _ENCODER_FILES.items()
} | {"coseg.models.encoder.VGG16Encoder": ("coseg.models.encoders.vgg16", "VGG16Encoder")}  # of version 0.1

_TABLES = {"network": NETWORKS | {MIRRORED: ("coseg.models.mirrored", "MirroredNetwork")}, "encoder": ENCODERS}

MAX_SIZE = 8192
"""Of an input in pixels: a square of it is 800 MB as float."""

_MOST = {
    "input_size": MAX_SIZE,
    "width": 16,
    "stride": 64,
    "blocks": 128,
    "depth": 128,
    "dim": 8192,
    "heads": 256,
    "registers": 1024,
    "grid": 512,
    "kernel_sizes": 255,
    "decoder_channels": 8192,
    "hidden": 65536,
    "reduction": 8192,
    "channels": 4096,
    "skip_channels": 4096,
    "decoder_width": 4096,
    "metric_channels": 8192,
    "decision_channels": 8192,
}
"""The largest value of a setting, in itself or in its list; far above any that is of use."""

_MOST_OTHERWISE = 1e6
_MOST_ENTRIES = 64


def described_network(description: Mapping[str, Any], what: str = "model") -> nn.Module:
    """The network of coseg that ``{"_target_": name, …}`` describes, its constructor called with plain arguments.

    Args:
        description: plain data.
        what: it is called in sentences.

    Raises:
        CosegError: it names no network or encoder of coseg, a setting that the class does not have, or an absurd value.
    """
    return _described(description, _TABLES["network"], what)


def known_network(description: object) -> bool:
    """Whether every class that `description` names is one of coseg's networks and encoders."""
    if isinstance(description, Mapping):
        target = description.get("_target_")
        known = isinstance(target, str) and any(target in table for table in _TABLES.values())
        special = any(str(key).startswith("_") for key in description if key != "_target_")  # Hydra's _partial_, say
        return (
            (known or "_target_" not in description)
            and not special
            and all(known_network(value) for value in description.values())
        )
    return all(known_network(value) for value in description) if isinstance(description, list | tuple) else True


def _described(description: Mapping[str, Any], table: Mapping[str, tuple[str, str]], what: str) -> nn.Module:
    target = description.get("_target_")
    if not isinstance(target, str) or target not in table:
        raise CosegError(_unknown(target, what))
    module, name = table[target]
    made: type[nn.Module] = getattr(importlib.import_module(module), name)
    takes = inspect.signature(made).parameters
    arguments: dict[str, Any] = {}
    for key, value in description.items():
        if key == "_target_":
            continue
        if key not in takes:
            raise CosegError(
                f"{name} has no setting '{key}': leave out what sets it (a value, an experiment, an ablation), or "
                f"choose another class for {what}."
            )
        arguments[key] = _argument(key, value, name, f"{what}.{key}")
    missing = [key for key, parameter in takes.items() if parameter.default is parameter.empty and key not in arguments]
    if missing:
        raise CosegError(f"{what} lacks '{missing[0]}', which {name} needs: it is damaged, or of another version.")
    try:
        return made(**arguments)
    except CosegError:
        raise
    except Exception as error:
        raise CosegError(f"{what}: {name} can't be made with these settings ({_words(error)}).") from error


def _argument(key: str, value: object, name: str, what: str) -> Any:
    if key in _TABLES:
        if not isinstance(value, Mapping):
            raise CosegError(f"{what} must describe a class by '_target_', but is {_shown(value)}.")
        # A mirrored network in a mirrored one, and so on, doubles the work with each level.
        return _described(value, NETWORKS if key == "network" else _TABLES[key], what)
    values = value if isinstance(value, list | tuple) else [value]
    if len(values) > _MOST_ENTRIES:
        raise CosegError(f"{what} has {len(values)} entries; {name} takes at most {_MOST_ENTRIES}.")
    most = _MOST.get(key, _MOST_OTHERWISE)
    for entry in values:
        if entry is not None and not isinstance(entry, str | int | float):
            raise CosegError(f"{what} holds {_shown(entry)}, where {name} takes numbers and words.")
        if isinstance(entry, int | float) and not (math.isfinite(entry) and abs(entry) <= most):
            raise CosegError(f"{what} is {_shown(entry)}, but must be a number of at most {most:,.0f}.")
    return value


def _unknown(target: object, what: str) -> str:
    if target is None:
        return f"{what} names no class ('_target_'), so it can't be made."
    if isinstance(target, str) and target.startswith("coseg."):
        return (
            f"{what} names {_shown(target)}, but in this version of coseg there is no class of that name: install the "
            "version that wrote it."
        )
    return (
        f"{what} names {_shown(target)}, which is no network or encoder of coseg, and what a file names is not "
        "imported. If it is a class of your own, or you trust who wrote the file, say so: trust=true for "
        "coseg-train and coseg-test, --trust for the other commands, trust=True in Python."
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _words(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"
