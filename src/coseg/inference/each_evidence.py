"""The evidence of many pairs or groups of a catalog's images, each of which is encoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.inference.held import HeldFeatures
from coseg.inference.segmenter import CoSegmenter, Encoded
from coseg.models.finite import all_finite, refusal

Progress = Callable[[int, int], None]
"""Called with the steps that are done and their number."""


def each_evidence(
    model: CoSegmenter, catalog: Catalog, groups: Sequence[Sequence[int]], progress: Progress | None = None
) -> Iterator[Tensor]:
    """Of each group of two images or more, given by their numbers, what `CoSegmenter.evidence` tells.

    `progress` counts the images that are encoded first, and then the groups.

    Raises:
        CosegError: the network gives something that is not finite; its images are named.
    """
    images = sorted({i for group in groups for i in group})
    steps = len(images) + len(groups)
    held = HeldFeatures(model.device)
    encoded: list[Encoded] = []
    for k, i in enumerate(images):
        each = model.encode(catalog.image(i), catalog.ids[i])
        held.append(each.features)
        encoded.append(replace(each, features=None))
        if progress is not None:
            progress(k + 1, steps)
    places = {i: k for k, i in enumerate(images)}
    for done, group in enumerate(groups):
        found = model.evidence(*(replace(encoded[places[i]], features=held[places[i]]) for i in group))
        if not all_finite(found):
            raise refusal(f"The network {model.network.name}", [catalog.ids[i] for i in group])
        yield found
        if progress is not None:
            progress(len(images) + done + 1, steps)
