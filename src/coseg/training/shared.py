"""The files of a shared model: weights as safetensors, everything else as JSON, nothing that runs when it is opened.

``model.safetensors`` holds the network's parameters and buffers by their names, ``config.json`` says which network they
are of and how it is used; see `coseg.inference.pretrained.settings_of` for all of its keys.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

import coseg
from coseg.errors import CosegError
from coseg.models.network import CosegNetwork, checked_input_size
from coseg.training.build import build_network

FORMAT = 1
"""Of ``config.json``; a newer one is refused."""

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def box() -> Path:
    """The folder of the model that comes with coseg; an installation may lack it."""
    return Path(str(importlib.resources.files("coseg") / "inference" / "box"))


def read_shared(weights: Path, config: Path) -> tuple[CosegNetwork, dict[str, Any]]:
    """The network of two such files, in float32 and evaluation mode, and the settings.

    Raises:
        CosegError: a file is missing or damaged, of a newer format, or the two do not fit.
    """
    settings = read_settings(config)
    if not weights.is_file():
        raise CosegError(f"{weights} is missing: a shared model is that file with {CONFIG} beside it.")
    try:
        tensors = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise CosegError(f"{weights} is damaged or no safetensors file ({error}): fetch or export it again.") from error
    network = build_network(settings["network"])
    load_weights(network, tensors, str(weights))
    return network.eval(), settings


def read_settings(path: Path) -> dict[str, Any]:
    """What a ``config.json`` holds.

    Raises:
        CosegError: it is missing or damaged, or of a newer format.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CosegError(
            f"{path} is missing: it says which network the weights are of. Take it from where the weights came."
        ) from None
    except (OSError, ValueError) as error:
        raise CosegError(f"{path} is damaged ({error}): fetch or export it again.") from error
    if not isinstance(settings, dict):
        raise CosegError(f"{path} is damaged (it holds no object): fetch or export it again.")
    return checked_settings(settings, str(path))


def checked_settings(settings: dict[str, Any], where: str) -> dict[str, Any]:
    """`settings`, if they can be used by this version.

    Raises:
        CosegError: they can't; `where` names them in the sentence.
    """
    version = settings.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise CosegError(f"{where}: 'format' is {version!r}, so this is no configuration of a shared coseg model.")
    if version > FORMAT:
        raise CosegError(
            f"{where} is of format {version}, made by coseg {settings.get('coseg')}; this version, "
            f"{coseg.__version__}, knows formats up to {FORMAT}. Install a newer coseg."
        )
    network = settings.get("network")
    if not isinstance(network, Mapping) or "_target_" not in network:
        raise CosegError(f"{where}: 'network' names no class ('_target_'), so the network can't be made.")
    settings["size"] = checked_input_size(settings.get("size"), f"{where}: size")
    return settings


def load_weights(network: CosegNetwork, tensors: Mapping[str, Tensor], where: str) -> None:
    """Give `network` these weights.

    Raises:
        CosegError: they are of another network; `where` names them in the sentence.
    """
    try:
        network.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).strip().splitlines()]
        reason = lines[1] if len(lines) > 1 else lines[0]
        raise CosegError(f"{where} does not fit {network.name} as {CONFIG} describes it: {_short(reason)}") from None


def _short(text: str, longest: int = 200) -> str:
    return text if len(text) <= longest else f"{text[: longest - 2].rstrip()} …"
