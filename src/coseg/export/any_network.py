"""The graphs of a network that `coseg.export.graphs` does not know: a user's own, for images of one size.

Such a network is traced as it is, by its `encode` and its `cosegment`, so whatever it decides in Python (by the sizes
of images, say) is decided once, for the size of the graphs. The features of an image serve it and its partner: they
leave the first graph twice, as features and as what the partner takes, and may be tensors of any shape with the batch
first.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from coseg.errors import CosegError, error_words, user_error
from coseg.export.formats import traced
from coseg.export.graphs import Graphs, Tensors
from coseg.models.base import CosegNetwork
from coseg.models.features import map_levels, tensors


class _Encode(nn.Module):
    """Images, uint8 (B, 3, size, size), to the tensors of their features, twice: each output of a graph has a name."""

    def __init__(self, network: CosegNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensors:
        levels = list(tensors(self.network.encode(images)))
        return *(level.clone() for level in levels), *(level.clone() for level in levels)


class _Cosegment(nn.Module):
    """The tensors of B images' features and of their partners' to the logits of the images.

    Args:
        network: to trace.
        places: in the form of its features, the place of each tensor.
    """

    def __init__(self, network: CosegNetwork, places: Any) -> None:
        super().__init__()
        self.network = network
        self.places = places

    def forward(self, *inputs: Tensor) -> Tensor:
        half, side = len(inputs) // 2, self.network.input_size
        assert side is not None
        features, partner = (_in_form(self.places, part) for part in (inputs[:half], inputs[half:]))
        logits, _ = self.network.cosegment(features, partner, (side, side), (side, side))
        return logits


def graphs_of_any(network: CosegNetwork) -> Graphs:
    """The two modules of a network of any class, for images of its `input_size`; the network itself is not changed.

    Raises:
        CosegError: it has no input size, or `encode` gives no tensors, or `cosegment` no logits.
    """
    name, side = type(network).__name__, network.input_size
    if side is None:
        raise CosegError(
            f"A {name} takes images of any size, but is traced for one: give the side by --size, 128 say. A server "
            "then resizes each image to a square of it."
        )
    copied = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
    copied = copied.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with torch.no_grad():
        features = copied.encode(torch.zeros(2, 3, side, side, dtype=torch.uint8))
        count = len(list(tensors(features)))
        logits = copied.cosegment(features, features, (side, side), (side, side))[0]
    if tuple(logits.shape) != (2, 2, side, side):
        raise CosegError(
            f"cosegment of {name} gives logits {tuple(logits.shape)}, but must give (2, 2, {side}, {side}) for two "
            f"pairs of images of {side} x {side} pixels."
        )
    numbers = iter(range(count))
    places = map_levels(lambda _: next(numbers), features)
    suffixes = [""] if count == 1 else [f"_{k}" for k in range(count)]
    return Graphs(
        encode=_Encode(copied),
        cosegment=_Cosegment(copied, places),
        features={f"features{suffix}": 1 for suffix in suffixes},
        kernels={f"partner{suffix}": {} for suffix in suffixes},
        stride=1,
        size=side,
        group=None,
    )


def traced_any(network: CosegNetwork, graphs: Graphs) -> tuple[Graphs, dict[str, ExportedProgram]]:
    """The programs of `graphs_of_any`, for batches of any number of images or, where these can't be traced, of one.

    Raises:
        CosegError: neither can be traced.
    """
    with suppress(Exception):
        return graphs, traced(graphs)
    graphs = replace(graphs, single=True)
    with tracing(network, "graphs"):
        return graphs, traced(graphs)


@contextmanager
def tracing(network: CosegNetwork, what: str) -> Iterator[None]:
    """Raise a sentence in place of what torch raises within: a user's network may be one that can't be traced.

    Args:
        network: that is exported.
        what: is made of it.

    Raises:
        CosegError: in place of any other error.
    """
    try:
        yield
    except CosegError:
        raise
    except Exception as error:
        place = user_error(error)
        words = str(place) if place is not None else error_words(error)
        raise CosegError(
            f"{type(network).__name__} can't be exported as {what}, since torch can't trace its encode and cosegment "
            f"for images of one size. {words} What depends on the values of tensors must be written with torch's "
            "operations. The weights can be shared: --format safetensors."
        ) from error


def own_group(network: CosegNetwork) -> bool:
    """Whether a network has a way of its own with groups, which graphs of a pair do not have."""
    return type(network).cosegment_group is not CosegNetwork.cosegment_group


def _in_form(places: Any, values: Tensors) -> Any:
    return values[places] if isinstance(places, int) else tuple(_in_form(place, values) for place in places)
