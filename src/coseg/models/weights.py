"""Weights that others have trained: by torchvision's name, or from a file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from coseg.errors import CosegError

_PREFIX = "features."
_COUNTER = ".num_batches_tracked"  # old files lack it, and it is used by nothing here
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def load_features(
    features: nn.Module, weights: str, published: type[WeightsEnum]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Load the entries ``features.*`` of a state dict; what else it holds (a classifier, later layers) is ignored.

    Args:
        features: the module to fill.
        weights: a member of `published`, or a file with a state dict.
        published: torchvision's weights of this architecture.

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
        state = _read(weights, published)
        mean, std = _IMAGENET
    _fill(features, state, weights)
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


def _read(weights: str, published: type[WeightsEnum]) -> Mapping[str, Tensor]:
    path = Path(weights).expanduser()
    if not path.is_file():
        raise CosegError(
            f"model.encoder.weights is '{weights}', but there is no such file, and torchvision's names for this "
            f"encoder are: {', '.join(published.__members__)}."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CosegError(
            f"{path} can't be read as weights ({type(error).__name__}); model.encoder.weights wants a state dict as "
            f"torch.save writes it, such as {_file(next(iter(published.__members__.values())).url)}."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CosegError(
            f"{path} holds no state dict (names and tensors); model.encoder.weights wants one with the names "
            f"{_PREFIX}* of torchvision, such as {_file(next(iter(published.__members__.values())).url)}."
        )
    return state


def _file(url: str) -> str:
    return PurePosixPath(urlparse(url).path).name


def _fill(features: nn.Module, state: Mapping[str, Tensor], weights: str) -> None:
    own = features.state_dict()
    given = {key: state.get(_PREFIX + key, value if key.endswith(_COUNTER) else None) for key, value in own.items()}
    missing = [_PREFIX + key for key, value in given.items() if value is None]
    if missing:
        raise CosegError(
            f"The weights {weights} lack {len(missing)} of the encoder's {len(own)} entries, the first being "
            f"{missing[0]}; are they of another architecture, or is model.encoder.batch_norm the wrong way round?"
        )
    for key, value in own.items():
        shape = tuple(given[key].shape)  # type: ignore[union-attr]
        if shape != tuple(value.shape):
            raise CosegError(
                f"The weights {weights} have {_PREFIX}{key} of shape {shape}, but the encoder's is "
                f"{tuple(value.shape)}; torchvision's weights need model.encoder.width=1."
            )
    features.load_state_dict(given)
