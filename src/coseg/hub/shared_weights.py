"""The weights of a shared model, safetensors: compared with the network before either takes memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from coseg.errors import CosegError
from coseg.files.plain_data import require_regular_file
from coseg.files.seals import MAX_BYTES, file_digest
from coseg.files.writing import atomic_path
from coseg.hub.settings import CHECKSUM, CONFIG, read_settings
from coseg.instantiate import build_network, without_weights
from coseg.models.base import CosegNetwork

_MAX_HEADER = 16 * 2**20
_HALF_MAX = torch.finfo(torch.float16).max


def read_shared(weights: Path, config: Path, trust: bool = False) -> tuple[CosegNetwork, dict[str, Any]]:
    """The network of a shared model, in float32 and evaluation mode, and its settings.

    The header of the weights is compared with the network before either takes memory.

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
    description = without_weights(settings["network"])  # which may be a user's file, or be fetched
    try:
        if not trust:
            require_fit(lambda: build_network(description), shapes, str(weights))
        network = build_network(description, trust)
    except CosegError as error:
        raise CosegError(str(error) if str(weights) in str(error) else f"{config}: {error}") from None
    try:
        tensors = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise CosegError(f"{weights} is damaged or not safetensors ({error}): fetch or export it again.") from error
    load_weights(network, tensors, str(weights))
    return network.eval(), settings


def _check_unchanged(weights: Path, checksum: object, config: Path) -> None:
    """Compare the weights' file with the checksum in ``config.json``, where that has one."""
    if checksum is not None and checksum != file_digest(weights):
        raise CosegError(
            f"{weights} is damaged, or of another model than {config} (its SHA-256 is not that in {CHECKSUM}): fetch "
            f"or export it again. If you changed the weights on purpose, remove {CHECKSUM} from {CONFIG}."
        )


def _shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a safetensors file, from its header, whose size is bounded by that of the file."""
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
        raise CosegError(f"{weights} is damaged or not safetensors ({reason}): fetch or export it again.") from None


def require_fit(make: Callable[[], nn.Module], shapes: Mapping[str, tuple[int, ...]], where: str = "") -> None:
    """Compare the module that `make` returns with tensors of these shapes; neither takes memory.

    Raises:
        CosegError: it needs more than `MAX_BYTES`; or they differ, and `where` names the file.
        RuntimeError: they differ, and `where` is empty.
    """
    with torch.device("meta"):
        module = make()
        tensors = {name: torch.empty(shape) for name, shape in shapes.items()}
    needed = sum(value.numel() * value.element_size() for value in module.state_dict().values())
    if needed > MAX_BYTES:
        raise CosegError(f"{where or 'the network'} would take {needed:,} bytes; coseg makes at most {MAX_BYTES:,}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that nothing is copied, which is the point
        if where:
            load_weights(module, tensors, where)
        else:
            module.load_state_dict(tensors)


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load these weights into `network`.

    Raises:
        CosegError: they are of another network; `where` names them in the sentence.
    """
    try:
        network.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).strip().splitlines()]
        reason = _short(lines[1] if len(lines) > 1 else lines[0])
        name = getattr(network, "name", type(network).__name__)
        raise CosegError(f"{where} does not fit {name} as {CONFIG} describes it: {reason}") from None


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write ``model.safetensors``, as a whole or not at all.

    Raises:
        OSError, SafetensorError: it can't be written.
    """
    with atomic_path(path) as temporary:
        # Not `save_file`, which would make the file readable by its owner alone.
        temporary.write_bytes(save(dict(weights), {"format": "pt"}))


def stored_weights(network: nn.Module, half: bool) -> dict[str, Tensor]:
    """Copies of the parameters and buffers on the CPU; in half precision where their values fit and `half` is set."""
    stored = {}
    for name, tensor in network.state_dict().items():
        value = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        fits = value.is_floating_point() and (value.numel() == 0 or bool(value.abs().max() <= _HALF_MAX))
        stored[name] = value.half() if half and fits else value
    return stored


def _short(text: str, longest: int = 200) -> str:
    return text if len(text) <= longest else f"{text[: longest - 2].rstrip()} …"
