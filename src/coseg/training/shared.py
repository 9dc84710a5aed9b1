"""The files of a shared model: weights as safetensors, everything else as JSON, nothing that runs when it is opened.

``model.safetensors`` holds the network's parameters and buffers by their names, ``config.json`` says which network they
are of and how it is used; see `coseg.inference.pretrained.settings_of` for all of its keys.
"""

from __future__ import annotations

import importlib.resources
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

import coseg
from coseg.errors import CosegError
from coseg.models.network import CosegNetwork, checked_input_size
from coseg.models.registry import MAX_SIZE
from coseg.plain_data import read_json, require_regular_file
from coseg.sealed import file_digest
from coseg.torch_file import MAX_BYTES
from coseg.training.build import build_network, without_weights

FORMAT = 1
"""Of ``config.json``; a newer one is refused."""

WEIGHTS = "model.safetensors"
CONFIG = "config.json"

CHECKSUM = "weights_sha256"
"""In ``config.json``: of the weights' file. Models of before it have none."""

_MAX_HEADER = 16 * 2**20


def box() -> Path:
    """The folder of the model that comes with coseg; an installation may lack it."""
    return Path(str(importlib.resources.files("coseg") / "inference" / "box"))


def read_shared(weights: Path, config: Path, trust: bool = False) -> tuple[CosegNetwork, dict[str, Any]]:
    """The network of two such files, in float32 and evaluation mode, and the settings.

    The weights' header is compared with the network as it would be, before either takes memory.

    Args:
        weights: ``model.safetensors``.
        config: ``config.json``.
        trust: it may name classes outside of coseg, which are imported.

    Raises:
        CosegError: a file is missing or damaged, of a newer format, or the two do not fit.
    """
    settings = read_settings(config)
    shapes = _shapes(weights)
    _check_unchanged(weights, settings.get(CHECKSUM), config)
    description = without_weights(settings["network"])  # which would be fetched, or read from a file of the user's
    try:
        if not trust:
            require_fit(lambda: build_network(description), shapes, str(weights))
        network = build_network(description, trust)
    except CosegError as error:
        raise CosegError(str(error) if str(weights) in str(error) else f"{config}: {error}") from None
    try:
        tensors = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise CosegError(f"{weights} is damaged or no safetensors file ({error}): fetch or export it again.") from error
    load_weights(network, tensors, str(weights))
    return network.eval(), settings


def _check_unchanged(weights: Path, checksum: object, config: Path) -> None:
    """Compare the weights' file with the checksum in ``config.json``, where that has one."""
    if checksum is not None and checksum != file_digest(weights):
        raise CosegError(
            f"{weights} is damaged, or of another model than {config} (its SHA-256 is not that in {CHECKSUM}): fetch "
            f"or export it again. If you changed the weights on purpose, take {CHECKSUM} out of {CONFIG}."
        )


def _shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    """Of the tensors in a safetensors file, from its header, which is compared with the size of the file."""
    try:
        size = require_regular_file(weights, "fetch or export it again")
    except FileNotFoundError:
        raise CosegError(f"{weights} is missing: a shared model is that file with {CONFIG} beside it.") from None
    if size > MAX_BYTES:
        raise CosegError(f"{weights} has {size:,} bytes; coseg reads weights of at most {MAX_BYTES:,}.")
    try:
        with weights.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > min(size, _MAX_HEADER):
            raise ValueError(f"its header would have {header:,} bytes")
        with safe_open(weights, "pt") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except Exception as error:  # a header may hold anything
        reason = " ".join(str(error).split())[:200]
        raise CosegError(f"{weights} is damaged or no safetensors file ({reason}): fetch or export it again.") from None


def require_fit(make: Callable[[], nn.Module], shapes: Mapping[str, tuple[int, ...]], where: str = "") -> None:
    """Compare the module that `make` makes with tensors of these shapes; neither takes memory.

    Raises:
        CosegError: it needs more than `MAX_BYTES`; `where` is given, names the file in the sentence, and they differ.
        RuntimeError: `where` is empty, and they differ.
    """
    with torch.device("meta"):
        module = make()
        tensors = {name: torch.empty(shape) for name, shape in shapes.items()}
    needed = sum(value.numel() * value.element_size() for value in module.state_dict().values())
    if needed > MAX_BYTES:
        raise CosegError(f"{where or 'the network'} would take {needed:,} bytes; coseg makes at most {MAX_BYTES:,}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch tells that nothing is copied, which is the point
        if isinstance(module, CosegNetwork):
            load_weights(module, tensors, where)
        else:
            module.load_state_dict(tensors)


def read_settings(path: Path) -> dict[str, Any]:
    """What a ``config.json`` holds.

    Raises:
        CosegError: it is missing or damaged, or of a newer format.
    """
    advice = "fetch or export it again"
    try:
        settings = read_json(path, advice)
    except FileNotFoundError:
        raise CosegError(
            f"{path} is missing: it says which network the weights are of. Take it from where the weights came."
        ) from None
    if not isinstance(settings, dict):
        raise CosegError(f"{path} is damaged (it holds no object): {advice}.")
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
    if settings["size"] is not None and settings["size"] > MAX_SIZE:
        raise CosegError(f"{where}: size is {settings['size']}, but at most {MAX_SIZE} pixels are possible.")
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
