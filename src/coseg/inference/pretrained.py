"""Networks that are shared: weights as safetensors, everything else as JSON, nothing that runs when it is opened.

A shared model is a folder of three files: ``model.safetensors``, the network's parameters and buffers by their names;
``config.json``, see `settings_of`; and ``README.md``, its model card, which nothing reads but people.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

import coseg
from coseg.errors import CosegError
from coseg.files import atomic_path, write_text_atomically
from coseg.inference.card import model_card, told_of_checkpoint
from coseg.inference.commonness import Calibration
from coseg.inference.hub import download, is_hub_id
from coseg.inference.segment import checked_threshold
from coseg.models.network import CosegNetwork, checked_input_size
from coseg.training.build import build_network, without_weights
from coseg.training.checkpoint import load_task

FORMAT = 1
"""Of ``config.json``; a newer one is refused."""

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
CARD = "README.md"

_HALF_MAX = torch.finfo(torch.float16).max


class Pretrained(NamedTuple):
    """A network ready for use, in evaluation mode, on the CPU.

    Attributes:
        network: in float32.
        settings: what ``config.json`` holds, see `settings_of`.
        source: where it came from: a path, a hub id, or ``the model in the box``.
    """

    network: CosegNetwork
    settings: dict[str, Any]
    source: str


def load_pretrained(source: str | Path | None = None) -> Pretrained:
    """The network in `source`. Nothing is unpickled but the checkpoints of coseg, and those as tensors alone.

    Args:
        source: a folder with ``model.safetensors`` and ``config.json``; a ``.safetensors`` file with ``config.json``
            beside it; a ``.ckpt`` that coseg-train made, or the directory of its run, whose ``checkpoints/best.ckpt``
            is taken; or, as a string that names no file here, ``owner/name`` or ``owner/name@revision`` on the Hugging
            Face hub. None: the model in the box.

    Raises:
        CosegError: there is no such thing, or it is damaged, of a newer format, or of no network of coseg.
    """
    if source is None:
        return _in_the_box()
    path = Path(source).expanduser()
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        if path.suffix == ".safetensors":
            return _from_files(path, path.with_name(CONFIG), str(path))
        if path.suffix == ".ckpt":
            return _from_checkpoint(path)
        raise CosegError(
            f"{path} is no model: give a .safetensors file with config.json beside it, a .ckpt of coseg-train, or a "
            "folder of either."
        )
    if isinstance(source, str) and is_hub_id(source):
        folder = download(source)
        return _from_files(folder / WEIGHTS, folder / CONFIG, source)
    raise CosegError(
        f"There is no model {source}: it is no file or folder here, and no name on the Hugging Face hub (owner/name)."
    )


def save_pretrained(
    folder: str | Path,
    network_config: Mapping[str, Any],
    network: CosegNetwork,
    settings: Mapping[str, Any] | None = None,
    half: bool = True,
) -> None:
    """Write `network` into `folder` as a model to share: weights, ``config.json`` and a model card.

    Each file is whole or not written; ``config.json`` comes last. Files of these names are replaced.

    Args:
        folder: made if needed.
        network_config: ``{"_target_": class, …}``, from which `coseg.training.build.build_network` makes it.
        network: with its weights.
        settings: see `settings_of`; what it lacks is filled in.
        half: floating-point weights in half precision, half of the bytes. Tensors with values beyond its range stay
            as they are, and so do whole numbers.

    Raises:
        CosegError: a setting is none, `network_config` does not describe `network`, or the folder can't be written.

    Example, from a checkpoint: ``save_pretrained(folder, *shareable("runs/shapes/…"))``.
    """
    complete = settings_of(network_config, network, settings)
    weights = {name: _stored(value, half) for name, value in network.state_dict().items()}
    _load_into(build_network(complete["network"]), weights, str(folder))
    folder = Path(folder)
    try:
        with atomic_path(folder / WEIGHTS) as temporary:
            temporary.write_bytes(
                save(weights, {"format": "pt"})
            )  # save_file would make it readable by its owner alone
        write_text_atomically(folder / CARD, model_card(complete, network))
        write_text_atomically(folder / CONFIG, json.dumps(complete, indent=2, ensure_ascii=False) + "\n")
    except (OSError, SafetensorError) as error:
        raise CosegError(f"The model can't be written to {folder} ({error}): choose another folder.") from error


def shareable(source: str | Path | None) -> tuple[dict[str, Any], CosegNetwork, dict[str, Any]]:
    """What `save_pretrained` takes after its folder, for what `load_pretrained` reads from `source`.

    Raises:
        CosegError: see `load_pretrained`.
    """
    network, settings, _ = load_pretrained(source)
    return settings["network"], network, settings


def settings_of(
    network_config: Mapping[str, Any], network: CosegNetwork, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The contents of ``config.json``, with what `settings` says:

    - ``format``: of this file, a number; ``coseg``: the version that wrote it;
    - ``network``: ``{"_target_": class, …}``;
    - ``size``: the side to which images are resized, or their longest side where the network takes any shape; or null;
    - ``threshold``: probability from which a pixel is marked;
    - ``commonness``: a `coseg.inference.commonness.Calibration` as a dictionary, or null;
    - ``training``: what is known of it, for the model card (see `coseg.inference.card.model_card`), or null.

    Raises:
        CosegError: a value is none of these.
    """
    given = dict(settings or {})
    complete: dict[str, Any] = {
        "format": FORMAT,
        "coseg": coseg.__version__,
        "network": without_weights(network_config),
        "size": given.get("size", network.input_size),
        "threshold": given.get("threshold", 0.5),
        "commonness": given.get("commonness"),
        "training": given.get("training"),
    }
    return _checked(complete, "the settings")


def _in_the_box() -> Pretrained:
    folder = Path(str(importlib.resources.files("coseg.inference") / "box"))
    if not (folder / WEIGHTS).is_file():
        raise CosegError(
            "This installation has no model in the box: give one, a run directory, a checkpoint, a folder that "
            "coseg-export made, or owner/name on the Hugging Face hub."
        )
    return _from_files(folder / WEIGHTS, folder / CONFIG, "the model in the box")


def _from_folder(folder: Path) -> Pretrained:
    best = folder / "checkpoints" / "best.ckpt"
    if (folder / WEIGHTS).is_file() or (folder / CONFIG).is_file():
        return _from_files(folder / WEIGHTS, folder / CONFIG, str(folder))
    if best.is_file():
        return _from_checkpoint(best)
    raise CosegError(
        f"{folder} holds no model: neither {WEIGHTS} with {CONFIG} nor, as the directory of a run does, "
        "checkpoints/best.ckpt."
    )


def _from_checkpoint(path: Path) -> Pretrained:
    task = load_task(path)
    network = task.network.eval()
    settings = {"training": told_of_checkpoint(path, task)}
    return Pretrained(network, settings_of(task.hparams["network"], network, settings), str(path))


def _from_files(weights: Path, config: Path, source: str) -> Pretrained:
    settings = read_settings(config)
    if not weights.is_file():
        raise CosegError(f"{weights} is missing: a shared model is that file with {CONFIG} beside it.")
    try:
        tensors = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise CosegError(f"{weights} is damaged or no safetensors file ({error}): fetch or export it again.") from error
    network = build_network(settings["network"])
    _load_into(network, tensors, str(weights))
    return Pretrained(network.eval(), settings, source)


def read_settings(path: Path) -> dict[str, Any]:
    """What a ``config.json`` holds, see `settings_of`.

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
    return _checked(settings, str(path))


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Replace a ``config.json`` with `settings`.

    Raises:
        CosegError: they are none, or the file can't be written.
    """
    checked = _checked(dict(settings), "the settings")
    try:
        write_text_atomically(path, json.dumps(checked, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise CosegError(f"{path} can't be written ({error}).") from error


def _checked(settings: dict[str, Any], where: str) -> dict[str, Any]:
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
    settings.setdefault("size", None)
    settings.setdefault("threshold", 0.5)
    settings.setdefault("commonness", None)
    settings.setdefault("training", None)
    checked_input_size(settings["size"], f"{where}: size")
    checked_threshold(settings["threshold"], f"{where}: threshold")
    if settings["commonness"] is not None:
        Calibration.from_dict(settings["commonness"])
    return settings


def _stored(value: Tensor, half: bool) -> Tensor:
    """A copy on the CPU, in half precision where it can be and `half` says so."""
    value = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    fits = value.is_floating_point() and (value.numel() == 0 or bool(value.abs().max() <= _HALF_MAX))
    return value.half() if half and fits else value


def _load_into(network: CosegNetwork, tensors: Mapping[str, Tensor], where: str) -> None:
    try:
        network.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).strip().splitlines()]
        reason = lines[1] if len(lines) > 1 else lines[0]
        raise CosegError(
            f"{where} does not fit {type(network).__name__} as {CONFIG} describes it: {_short(reason)}"
        ) from None


def _short(text: str, longest: int = 200) -> str:
    return text if len(text) <= longest else f"{text[: longest - 2].rstrip()} …"
