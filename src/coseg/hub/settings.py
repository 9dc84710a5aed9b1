"""The names of a shared model's files, and ``config.json``, which describes the network.

A shared model is a folder of three files: ``model.safetensors``, the network's parameters and buffers by their names;
``config.json``, see `settings_of`; and ``README.md``, its model card, which only people read. All keys of
``config.json`` are checked here, and nowhere else; those of earlier versions are renamed.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coseg.errors import CosegError, checked_threshold
from coseg.files.plain_data import read_json
from coseg.files.writing import json_text, write_text_atomically
from coseg.hub.calibration import Calibration
from coseg.instantiate import without_weights
from coseg.models.base import CosegNetwork, checked_input_size
from coseg.models.registry import MAX_SIZE
from coseg.run_dir import coseg_version

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
CARD = "README.md"
"""The files of a shared model; nothing else is fetched from the hub."""

FORMAT = 1
"""Of ``config.json``; a newer one is refused."""

CHECKSUM = "weights_sha256"
"""In ``config.json``: of the file of weights. Models of the first versions have none."""

THRESHOLD = 0.5
"""Of a model whose settings have none, and of a checkpoint."""

BUNDLED = "bundled"
"""The name of the model that comes with coseg, where a path or a hub name is expected."""

BUNDLED_TITLE = "the bundled model"
"""Its name in messages and in result files."""

CARD_SCORES = ("jaccard", "jaccard_class_mean", "jaccard_distractor", "pixel_accuracy")
"""The scores that a model card shows."""

_ADVICE = "fetch or export it again"

_COOCCURRENCE_BEFORE = "commonness"  # the key in earlier versions
_STATISTICS_BEFORE = {"marked_low": "foreground_low", "marked_high": "foreground_high"}  # names in earlier versions


def bundled_folder() -> Path:
    """The folder of the model that comes with coseg; an installation may lack it."""
    return Path(str(importlib.resources.files("coseg") / "hub" / "bundled"))


def settings_of(
    network_config: Mapping[str, Any], network: CosegNetwork, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The contents of ``config.json``, with the values of `settings`:

    - ``format``: of this file, a number; ``coseg``: the version that wrote it;
    - ``network``: ``{"_target_": class, …}``;
    - ``size``: the side to which images are resized, or their longest side if the network takes any shape; or null;
    - ``threshold``: probability above which a pixel is foreground;
    - ``cooccurrence``: a `coseg.hub.calibration.Calibration` as a dictionary, or null;
    - ``training``: facts about the training for the model card (see `coseg.hub.card.model_card`), or null.

    `coseg.hub.share.save_pretrained` adds ``weights_sha256``, of the file of weights beside it.

    Raises:
        CosegError: a value is not valid.
    """
    given = dict(settings or {})
    _rename_keys(given)
    complete: dict[str, Any] = {
        "format": FORMAT,
        "coseg": coseg_version(),
        "network": without_weights(network_config),
        "size": given.get("size", network.input_size),
        "threshold": given.get("threshold", THRESHOLD),
        "cooccurrence": given.get("cooccurrence"),
        "training": given.get("training"),
    }
    return checked_settings(complete, "the settings")


def read_settings(path: Path) -> dict[str, Any]:
    """The contents of a ``config.json``, checked; see `settings_of`.

    Raises:
        CosegError: it is missing or damaged, or of a newer format.
    """
    try:
        settings = read_json(path, _ADVICE)
    except FileNotFoundError:
        raise CosegError(
            f"{path} is missing: it describes the network of the weights. Get it from the source of the weights."
        ) from None
    if not isinstance(settings, dict):
        raise CosegError(f"{path} is damaged (it holds no object): {_ADVICE}.")
    return checked_settings(settings, str(path))


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Replace a ``config.json`` with `settings`.

    Raises:
        CosegError: they are not valid, or the file can't be written.
    """
    checked = checked_settings(dict(settings), "the settings")
    try:
        write_text_atomically(path, json_text(checked))
    except OSError as error:
        raise CosegError(f"{path} can't be written ({error}).") from error


def checked_settings(settings: dict[str, Any], where: str) -> dict[str, Any]:
    """`settings`, if this version can use them, with default values for missing keys.

    Args:
        settings: the contents of ``config.json``; changed in place.
        where: their name in messages.

    Raises:
        CosegError: a value is not valid, or they are of a newer format.
    """
    version = settings.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise CosegError(f"{where}: 'format' is {version!r}, so this is not the configuration of a shared coseg model.")
    if version > FORMAT:
        raise CosegError(
            f"{where} is of format {version}, made by coseg {settings.get('coseg')}; this version, "
            f"{coseg_version()}, reads formats up to {FORMAT}. Install a newer coseg."
        )
    network = settings.get("network")
    if not isinstance(network, Mapping) or "_target_" not in network:
        raise CosegError(f"{where}: 'network' names no class ('_target_'), so the network can't be made.")
    settings["size"] = checked_input_size(settings.get("size"), f"{where}: size")
    if settings["size"] is not None and settings["size"] > MAX_SIZE:
        raise CosegError(f"{where}: size is {settings['size']}, but at most {MAX_SIZE} pixels are possible.")
    _rename_keys(settings)
    settings.setdefault("threshold", THRESHOLD)
    settings.setdefault("cooccurrence", None)
    settings.setdefault("training", None)
    checked_threshold(settings["threshold"], f"{where}: threshold")
    _require_training(settings["training"], f"{where}: training")
    if settings["cooccurrence"] is not None:
        Calibration.from_dict(settings["cooccurrence"])
    return settings


def _rename_keys(settings: dict[str, Any]) -> None:
    """Give the calibration in a ``config.json`` of earlier versions the key and the names of today, in place."""
    earlier = settings.pop(_COOCCURRENCE_BEFORE, None)
    calibration = settings.setdefault("cooccurrence", earlier)
    if isinstance(calibration, Mapping) and isinstance(names := calibration.get("names"), list | tuple):
        current = [_STATISTICS_BEFORE.get(name, name) if isinstance(name, str) else name for name in names]
        settings["cooccurrence"] = {**calibration, "names": current}


def _require_training(training: object, where: str) -> None:
    """Refuse a ``training`` from which no model card can be made; `where` is its name in messages."""
    if training is None:
        return
    known: Any = training if isinstance(training, dict) else {"steps": "none"}
    types = {"steps": int, "classes": list, "settings": dict, "scores": list}
    fits = all(isinstance(known.get(key), type_ | None) for key, type_ in types.items())
    scores = (known.get("scores") or []) if fits else [None]
    if not all(
        isinstance(entry, dict)
        and "what" in entry
        and all(isinstance(entry.get(name), int | float | None) for name in CARD_SCORES)
        for entry in scores
    ):
        raise CosegError(f"{where} is damaged: fetch or export the model again.")
