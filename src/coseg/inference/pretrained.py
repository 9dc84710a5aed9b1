"""Networks that are shared: weights as safetensors, everything else as JSON, nothing that runs when it is opened.

A shared model is a folder of three files: ``model.safetensors``, the network's parameters and buffers by their names;
``config.json``, see `settings_of`; and ``README.md``, its model card, which nothing reads but people.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

import coseg
from coseg.errors import CosegError
from coseg.files import atomic_path, write_text_atomically
from coseg.inference.card import check_told, model_card, told_of_checkpoint
from coseg.inference.commonness import Calibration
from coseg.inference.hub import download, is_hub_id
from coseg.inference.segment import checked_threshold
from coseg.json_text import json_text
from coseg.models.deciding import DecidingNetwork
from coseg.models.mirrored import MirroredNetwork
from coseg.models.network import CosegNetwork
from coseg.models.registry import known_network
from coseg.sealed import file_digest
from coseg.training.build import build_network, without_weights
from coseg.training.checkpoint import load_task
from coseg.training.shared import CHECKSUM, CONFIG, FORMAT, WEIGHTS, box, checked_settings, load_weights, read_shared
from coseg.training.task import CosegTask

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


def load_pretrained(source: str | Path | None = None, trust: bool = False) -> Pretrained:
    """The network in `source`. Nothing is unpickled but the checkpoints of coseg, and those as tensors alone.

    Args:
        source: a folder with ``model.safetensors`` and ``config.json``; a ``.safetensors`` file with ``config.json``
            beside it; a ``.ckpt`` that coseg-train made, or the directory of its run, whose ``checkpoints/best.ckpt``
            is taken; or, as a string that names no file here, ``owner/name`` or ``owner/name@revision`` on the Hugging
            Face hub. None: the model in the box.
        trust: the model may name a network or an encoder outside of coseg, which is imported: it is your own, or you
            know who wrote it.

    Raises:
        CosegError: there is no such thing, or it is damaged, of a newer format, or of no network of coseg.
    """
    if source is None:
        return _in_the_box()
    path = Path(source).expanduser()
    if path.is_dir():
        return _from_folder(path, trust)
    if path.is_file():
        if path.suffix == ".safetensors":
            return _from_files(path, path.with_name(CONFIG), str(path), trust)
        if path.suffix == ".ckpt":
            return _from_checkpoint(path, trust)
        raise CosegError(
            f"{path} is no model: give a .safetensors file with config.json beside it, a .ckpt of coseg-train, or a "
            "folder of either."
        )
    if isinstance(source, str) and is_hub_id(source):
        folder = download(source)
        return _from_files(folder / WEIGHTS, folder / CONFIG, source, trust)
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
    if known_network(complete["network"]):  # a class of one's own may not be made: a model may be shared unseen
        load_weights(build_network(complete["network"]), weights, str(folder))
    folder = Path(folder)
    try:
        with atomic_path(folder / WEIGHTS) as temporary:
            temporary.write_bytes(
                save(weights, {"format": "pt"})
            )  # save_file would make it readable by its owner alone
        complete[CHECKSUM] = file_digest(folder / WEIGHTS)
        write_text_atomically(folder / CARD, model_card(complete, network))
        write_text_atomically(folder / CONFIG, json_text(complete))
    except (OSError, SafetensorError) as error:
        raise CosegError(f"The model can't be written to {folder} ({error}): choose another folder.") from error


def shareable(source: str | Path | None, trust: bool = False) -> tuple[dict[str, Any], CosegNetwork, dict[str, Any]]:
    """What `save_pretrained` takes after its folder, for what `load_pretrained` reads from `source`.

    Raises:
        CosegError: see `load_pretrained`.
    """
    network, settings, _ = load_pretrained(source, trust)
    return settings["network"], network, settings


def mirrored(model: Pretrained) -> Pretrained:
    """The model as one that sees each image and its mirror image; see `coseg.models.mirrored.MirroredNetwork`.

    Raises:
        CosegError: its network decides, which the mean of two does not, or is mirrored already.
    """
    if isinstance(model.network, DecidingNetwork | MirroredNetwork):
        raise CosegError(f"{model.network.name} can't be mirrored: leave that out.")
    config = {"_target_": f"{MirroredNetwork.__module__}.MirroredNetwork", "network": model.settings["network"]}
    return model._replace(
        network=MirroredNetwork(model.network), settings={**model.settings, "network": config, "commonness": None}
    )


def settings_of(
    network_config: Mapping[str, Any], network: CosegNetwork, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The contents of ``config.json``, with what `settings` says:

    - ``format``: of this file, a number; ``coseg``: the version that wrote it;
    - ``network``: ``{"_target_": class, …}``;
    - ``size``: the side to which images are resized, or their longest side where the network takes any shape; or null;
    - ``threshold``: probability from which a pixel is marked;
    - ``commonness``: a `coseg.inference.commonness.Calibration` as a dictionary, its ``group`` that of groups; or null;
    - ``training``: what is known of it, for the model card (see `coseg.inference.card.model_card`), or null.

    `save_pretrained` adds ``weights_sha256``, of the file of weights beside it.

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
    folder = box()
    if not (folder / WEIGHTS).is_file():
        raise CosegError(
            "This installation has no model in the box: give one, a run directory, a checkpoint, a folder that "
            "coseg-export made, or owner/name on the Hugging Face hub."
        )
    return _from_files(folder / WEIGHTS, folder / CONFIG, "the model in the box")


def _from_folder(folder: Path, trust: bool) -> Pretrained:
    best = folder / "checkpoints" / "best.ckpt"
    if (folder / WEIGHTS).exists() or (folder / CONFIG).exists():
        return _from_files(folder / WEIGHTS, folder / CONFIG, str(folder), trust)
    if best.exists():
        return _from_checkpoint(best, trust)
    raise CosegError(
        f"{folder} holds no model: neither {WEIGHTS} with {CONFIG} nor, as the directory of a run does, "
        "checkpoints/best.ckpt."
    )


def _from_checkpoint(path: Path, trust: bool) -> Pretrained:
    task: CosegTask = load_task(path, trust)
    network = task.network.eval()
    settings = {"training": told_of_checkpoint(path, task)}
    return Pretrained(network, settings_of(task.hparams["network"], network, settings), str(path))


def _from_files(weights: Path, config: Path, source: str, trust: bool = False) -> Pretrained:
    network, settings = read_shared(weights, config, trust)
    return Pretrained(network, _checked(settings, str(config)), source)


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Replace a ``config.json`` with `settings`.

    Raises:
        CosegError: they are none, or the file can't be written.
    """
    checked = _checked(dict(settings), "the settings")
    try:
        write_text_atomically(path, json_text(checked))
    except OSError as error:
        raise CosegError(f"{path} can't be written ({error}).") from error


def _checked(settings: dict[str, Any], where: str) -> dict[str, Any]:
    settings = checked_settings(settings, where)
    settings.setdefault("threshold", 0.5)
    settings.setdefault("commonness", None)
    settings.setdefault("training", None)
    checked_threshold(settings["threshold"], f"{where}: threshold")
    check_told(settings["training"], f"{where}: training")
    if settings["commonness"] is not None:
        Calibration.from_dict(settings["commonness"])
    return settings


def _stored(value: Tensor, half: bool) -> Tensor:
    """A copy on the CPU, in half precision where it can be and `half` says so."""
    value = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    fits = value.is_floating_point() and (value.numel() == 0 or bool(value.abs().max() <= _HALF_MAX))
    return value.half() if half and fits else value
