"""The networks and encoders that a file may name: coseg's own, by a table, so that no name in a file is imported.

Shared models and checkpoints hold ``{"_target_": "coseg.models.siamese.SiameseNetwork", "encoder": {…}, …}``. A class
that moves gets a line in `RENAMED`, so that files with its old name can still be read; one that goes gets a line in
`REMOVED`, which says what to do.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from coseg.errors import CosegError

if TYPE_CHECKING:
    from torch import nn

NETWORKS = (
    "coseg.models.cross_correlation.CrossCorrelationNetwork",
    "coseg.models.siamese.SiameseNetwork",
    "coseg.models.mutual_correlation.MutualCorrelationNetwork",
    "coseg.models.semantic_attention.SemanticAttentionNetwork",
    "coseg.models.channel_spatial_attention.ChannelSpatialAttentionNetwork",
    "coseg.models.conditional_siamese.ConditionalSiameseNetwork",
    "coseg.models.embedding_matching.EmbeddingMatchingNetwork",
)

MIRRORED = "coseg.models.mirrored.MirroredNetwork"

ENCODERS = (
    "coseg.models.encoders.vgg.VGG16Encoder",
    "coseg.models.encoders.timm.TimmEncoder",
)

RENAMED = {
    "coseg.models.encoder.VGG16Encoder": "coseg.models.encoders.vgg.VGG16Encoder",
    "coseg.models.encoders.vgg16.VGG16Encoder": "coseg.models.encoders.vgg.VGG16Encoder",
}
"""From the names in older files to those of today."""

_RENAMED_SETTINGS = {
    "coseg.models.embedding_matching.EmbeddingMatchingNetwork": {"decoder_channels": "decoder_width"},
}
"""For a class the settings of older files that have another name today."""

REMOVED = {
    "coseg.models.encoders.resnet.ResNetEncoder": "resnet50",
    "coseg.models.encoders.convnext.ConvNeXtEncoder": "convnext_tiny",
    "coseg.models.encoders.vit.ViTEncoder": "dinov2_vits14",
}
"""Encoders of coseg 0.1, and the configuration that replaces each; their weights do not fit it."""

_TABLES = {"network": (*NETWORKS, MIRRORED), "encoder": ENCODERS}

MAX_SIZE = 8192
"""Of an input in pixels: a square of it is 800 MB as float."""

_MOST = {
    "input_size": MAX_SIZE,
    "width": 16,
    "stride": 64,
    "out_indices": 256,
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
        what: its name in error messages.

    Raises:
        CosegError: it names no network or encoder of coseg, a setting that the class does not have, or an absurd value.
    """
    return _described(description, _TABLES["network"], what)


def with_current_names(description: Any) -> Any:
    """A copy of plain data in which each `_target_` that is in `RENAMED` has its name of today."""
    if isinstance(description, Mapping):
        return {
            key: current_name(value) if key == "_target_" else with_current_names(value)
            for key, value in description.items()
        }
    if isinstance(description, list | tuple):
        return [with_current_names(value) for value in description]
    return description


def current_name(target: Any) -> Any:
    """The name of today for the name of a class in a file; any other value as it is."""
    return RENAMED.get(target, target) if isinstance(target, str) else target


def known_network(description: object) -> bool:
    """Whether every class that `description` names is one of coseg's networks and encoders."""
    if isinstance(description, Mapping):
        target = description.get("_target_")
        target = current_name(target)
        # A removed class counts as coseg's: making it raises the error that names its replacement.
        known = isinstance(target, str) and any(target in names for names in (*_TABLES.values(), REMOVED))
        special = any(str(key).startswith("_") for key in description if key != "_target_")  # Hydra's _partial_, say
        return (
            (known or "_target_" not in description)
            and not special
            and all(known_network(value) for value in description.values())
        )
    return all(known_network(value) for value in description) if isinstance(description, list | tuple) else True


def _described(description: Mapping[str, Any], names: Collection[str], what: str) -> nn.Module:
    target = current_name(description.get("_target_"))
    if not isinstance(target, str) or target not in names:
        raise CosegError(_unknown(target, what))
    module, _, name = target.rpartition(".")
    made: type[nn.Module] = getattr(importlib.import_module(module), name)
    takes = inspect.signature(made).parameters
    arguments: dict[str, Any] = {}
    for key, value in description.items():
        if key == "_target_":
            continue
        key = _RENAMED_SETTINGS.get(target, {}).get(key, key)
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
    if isinstance(target, str) and target in REMOVED:
        return (
            f"{what} is a {target.rpartition('.')[2]} of coseg 0.1, which timm's networks have replaced, so its "
            f"weights can't be used: open it with coseg 0.1, or train again with "
            f"encoder@model.encoder={REMOVED[target]}."
        )
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
