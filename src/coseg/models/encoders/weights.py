"""Weights that others have trained: by torchvision's name, or from a file."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from coseg.errors import CosegError
from coseg.files.seals import read_torch_file
from coseg.models.encoders.base import IMAGENET_MEAN, IMAGENET_STD

_COUNTER = ".num_batches_tracked"  # old files lack it, and it is used by nothing here

Names = Callable[[str], str]
"""From the name of an entry of a module to that in a file."""


def load_published(
    features: nn.Module, weights: str, published: type[WeightsEnum], names: Names = str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Load torchvision's weights; what else their state dict holds (a classifier, later layers) is ignored.

    Args:
        features: the module to fill.
        weights: a member of `published`, or a file with a state dict.
        published: torchvision's weights of this architecture.
        names: where in the state dict an entry of `features` is found.

    Returns:
        The mean and the standard deviation (of images in 0..1) that the weights were trained with; ImageNet's for
        a file.

    Raises:
        CosegError: the weights can't be fetched, the file is missing or no state dict, or its entries don't fit.
    """
    if weights in published.__members__:
        entry = published[weights]
        state = _fetch(weights, entry.url)
        transform = entry.transforms()
        mean, std = tuple(transform.mean), tuple(transform.std)
    else:
        example = f"one with the names of torchvision, such as {_file(next(iter(published.__members__.values())).url)}"
        names_there = f"torchvision's names for this encoder are: {', '.join(published.__members__)}"
        state = read_state(weights, example, names_there)
        mean, std = IMAGENET_MEAN, IMAGENET_STD
    fill(features, state, weights, names)
    return mean, std


def _fetch(name: str, url: str) -> Mapping[str, Tensor]:
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        file = _file(url)
        raise CosegError(
            f"The weights {name} can't be fetched from {url} ({error}). Fetch {file} where there is a network and give "
            f"its path as model.encoder.weights=.../{file}, or train from scratch with model.encoder.weights=null."
        ) from error


def read_state(weights: str, example: str, otherwise: str) -> Mapping[str, Tensor]:
    """The state dict in the file `weights`.

    Args:
        weights: its path.
        example: what the file should hold, for the error message.
        otherwise: what may be given instead of a file, for the error message.

    Raises:
        CosegError: the file is missing, or is no state dict.
    """
    path = Path(weights).expanduser()
    refusal = f"{path} can't be read as weights; model.encoder.weights wants a state dict as torch.save writes it"
    try:
        state = read_torch_file(path, f"{refusal}, {example}.")
    except FileNotFoundError:
        raise CosegError(f"model.encoder.weights is '{weights}', but there is no such file, and {otherwise}.") from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CosegError(f"{path} holds no state dict (names and tensors); model.encoder.weights wants {example}.")
    return state


def _file(url: str) -> str:
    return PurePosixPath(urlparse(url).path).name


def fill(module: nn.Module, state: Mapping[str, Tensor], weights: str, names: Names = str) -> None:
    """Load every entry of `module` from `state`.

    Args:
        module: the module to fill.
        state: a state dict.
        weights: its name in error messages.
        names: where in `state` an entry of `module` is found.

    Raises:
        CosegError: an entry is missing or of another shape.
    """
    entries = module.state_dict()
    given = {key: state.get(names(key), value if key.endswith(_COUNTER) else None) for key, value in entries.items()}
    missing = [names(key) for key, value in given.items() if value is None]
    if missing:
        raise CosegError(
            f"The weights {weights} lack {len(missing)} of the encoder's {len(entries)} entries, the first being "
            f"{missing[0]}: they are of another architecture, or a setting of model.encoder is other than theirs."
        )
    for key, value in entries.items():
        shape = tuple(given[key].shape)  # type: ignore[union-attr]
        if shape != tuple(value.shape):
            raise CosegError(
                f"The weights {weights} have {names(key)} of shape {shape}, but the encoder's is "
                f"{tuple(value.shape)}; published weights need model.encoder.width=1 and its own sizes."
            )
    module.load_state_dict(given)
