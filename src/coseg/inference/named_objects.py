"""Several objects at once, each by its name and exemplars: a mask for each of them, and a pixel is of one at most."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coseg.errors import CosegError
from coseg.imaging.draw import colour_code
from coseg.inference.cooccurrence.descriptors import describe
from coseg.inference.cooccurrence.statistics import compares_all
from coseg.inference.cosegmentation import Cosegmentation, Segment, exemplar_sentence, label_map
from coseg.inference.encoded_images import Encoded, repeated
from coseg.inference.exemplar import Exemplars, Region, search_images
from coseg.inference.folders import is_object_name
from coseg.inference.inputs import alike
from coseg.inference.photographs import Source

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter

_LEAST_SCALE = 0.01  # for thresholds of 0 and 1

MOST = 254
"""Objects at most: a label map of 8 bits has 0 for the background and 255 for void."""


class NamedObjects(Mapping[str, Cosegmentation]):
    """What a search for several objects has given: by the name of each object the segments of all images.

    The masks of an image at the threshold of its segments do not overlap.

    Attributes:
        names: of the objects, in their order; the n-th, from 1 on, has the label n.
    """

    def __init__(self, objects: Mapping[str, Cosegmentation]) -> None:
        self._objects = dict(objects)
        self.names = tuple(self._objects)

    def __getitem__(self, name: str) -> Cosegmentation:
        return self._objects[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    @property
    def images(self) -> int:
        """How many images were searched."""
        return len(self._objects[self.names[0]])

    def segments(self, k: int) -> list[Segment]:
        """The segments of image `k`, one for each object."""
        return [result[k] for result in self._objects.values()]

    def labels(self, k: int) -> NDArray[np.uint8]:
        """The label map of image `k` at its original size, uint8 (H, W): n on the n-th object, 0 elsewhere."""
        return label_map(self.segments(k))

    def scores(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Of each object: its name, its label and colour, its exemplars, and the numbers of the images without it.

        Args:
            numbers: of the images, in their order.
        """
        return [
            {
                "name": name,
                "label": n,
                "colour": colour_code(n),
                "exemplars": result.exemplars,
                "outside": [numbers[k] for k in result.outside],
            }
            for n, (name, result) in enumerate(self.items(), start=1)
        ]

    def sentences(self) -> list[str]:
        """In how many images each object is, and in which it is not."""
        return [exemplar_sentence(result, f"'{name}'") for name, result in self._objects.items()]


class NamedExemplars:
    """Several objects that a person has shown, each under a name; `segment` finds them in other photographs.

    Each photograph is encoded once, whatever the number of objects.

    Args:
        segmenter: the network.
        objects: of each its exemplars, as for `Exemplars`.
        everywhere: all objects are known to be in every image.

    Raises:
        CosegError: there are none; a name is no name for a folder, or twice the same; see also `Exemplars`.
    """

    def __init__(
        self,
        segmenter: CoSegmenter,
        objects: Mapping[str, Iterable[tuple[Source | Encoded, Region]]],
        everywhere: bool = False,
    ) -> None:
        if not isinstance(objects, Mapping):
            raise CosegError(
                f"The objects are a {type(objects).__name__}, but must be a dictionary of their exemplars by name: "
                '{"horse": [(image, mask)]}.'
            )
        check_names(list(objects))
        self.segmenter = segmenter
        encoded: dict[object, tuple[Any, Encoded]] = {}
        self.searches: dict[str, Exemplars] = {}
        for name, shown in objects.items():
            exemplars = iter(shown)  # may read a large mask for each
            first = list(islice(exemplars, 1))
            if not first:
                raise CosegError(f"There is no exemplar of '{name}': give a photograph and where the object is in it.")
            pairs = (self._encoded_once(exemplar, encoded) for exemplar in chain(first, exemplars))
            self.searches[name] = Exemplars(segmenter, pairs, everywhere)
        for search, rival in permutations(self.searches.values(), 2):
            search.distinguish(rival)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the objects, in their order."""
        return tuple(self.searches)

    def segment(
        self,
        images: Iterable[Source],
        progress: Callable[[int, int], None] | None = None,
        unreadable: Callable[[int, CosegError], None] | None = None,
    ) -> NamedObjects:
        """Segment the objects in each image, see `Exemplars.segment`.

        For each object, what the exemplars of the others show is part of the rest. A pixel that several objects would
        have goes to the likeliest of them, see `contested`; one that an image does not show has none.
        """
        encoded, results = search_images(self.segmenter, images, self.segment_encoded, progress, unreadable)
        return self.gathered(encoded, results)

    def gathered(self, encoded: Sequence[Encoded], results: Sequence[Sequence[Segment]]) -> NamedObjects:
        """What `segment` returns, from the images and what `segment_encoded` gave for each."""
        return NamedObjects(
            {
                name: Cosegmentation(
                    tuple(segments[n] for segments in results),
                    repeated=repeated(encoded),
                    input_size=self.segmenter.size,
                    exemplars=len(search),
                )
                for n, (name, search) in enumerate(self.searches.items())
            }
        )

    @torch.inference_mode()
    def segment_encoded(self, image: Encoded, threshold: float | None = None) -> list[Segment]:
        """The segment of each object in one encoded image; `threshold` replaces that of the model."""
        segmenter = self.segmenter
        limit = segmenter.exemplar_threshold if threshold is None else threshold
        described = None
        if segmenter.calibration is not None and compares_all(segmenter.calibration):
            described = describe(segmenter.network, image.features, image.working)
        belongs = [search.likelihood(image, described) for search in self.searches.values()]
        empty = np.zeros(image.working, np.float16)
        probabilities = [empty] * len(belongs)
        margins: dict[int, Tensor] = {}
        for n, search in enumerate(self.searches.values()):
            if not search.is_absent(belongs[n]):
                logits = search.logits(image)
                probabilities[n] = segmenter.probability(logits)
                margins[n] = (logits[0, 1] - logits[0, 0]).float()
        if len(margins) > 1:
            decided = contested(torch.stack(tuple(margins.values())), limit)
            for n, probability in zip(margins, decided, strict=True):
                probabilities[n] = _half(probability.cpu().numpy())
        return [
            replace(search.segmented(image, probability, likely), threshold=limit)
            for search, probability, likely in zip(self.searches.values(), probabilities, belongs, strict=True)
        ]

    def _encoded_once(self, exemplar: Any, encoded: dict[object, tuple[Any, Encoded]]) -> Any:
        """An exemplar with its photograph encoded; one that was given before is not encoded again.

        The photographs are held, so that their identities stay their own.
        """
        if not isinstance(exemplar, tuple | list) or len(exemplar) != 2:
            return exemplar
        image, region = exemplar
        if isinstance(image, Encoded):
            return encoded.setdefault((image.digest, image.size), (image, image))[1], region
        key = os.path.realpath(image) if isinstance(image, str | Path) else id(image)
        if key not in encoded:
            encoded[key] = image, self.segmenter.encode(image, f"exemplar {len(encoded) + 1}")
        return encoded[key][1], region


def check_names(names: Sequence[str]) -> None:
    """Refuse names of objects that can't be those of folders.

    Raises:
        CosegError: there are none or too many, one is no such name, or two differ in case alone.
    """
    if not 1 <= len(names) <= MOST:
        raise CosegError(f"There are {len(names) or 'no'} named objects, but there must be 1 to {MOST}.")
    known: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not is_object_name(name):
            raise CosegError(
                f"{name!r} is no name of an object: it must have 1 to 60 letters, digits, '-', '_' and spaces between "
                "them, in 240 bytes at most."
            )
        if (other := known.setdefault(alike(name), name)) != name:
            raise CosegError(f"The objects '{other}' and '{name}' must have names that differ in more than case.")


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """The largest numbers of half precision that are no larger: rounded up, several could pass a threshold."""
    half = values.astype(np.float16)
    return np.where(half > values, np.nextafter(half, np.float16(-1)), half)


def contested(margins: Tensor, limit: float) -> Tensor:
    """Probabilities (K, h, w) of K objects, of which at most one is above `limit` at each position.

    With o the odds of an object against background and rest, its own probability is o / (1 + o), and among all objects
    p = o / (1 + sum of all o). The result is its own probability, but no more than `limit` + s (p - the largest p of
    the others), s the distance of `limit` from 0 or 1: the likeliest object keeps its own where it is clearly the
    likeliest, the others get less than `limit`. The bound has no steps, so masks that are enlarged from it meet without
    a gap and do not overlap.

    Args:
        margins: the logarithms of the odds, (K, h, w), K > 1.
        limit: the threshold of the masks, 0..1.
    """
    shares = torch.cat((torch.zeros_like(margins[:1]), margins)).softmax(0)[1:]
    best = shares.topk(2, dim=0).values
    rival = torch.where(shares == best[:1], best[1:], best[:1])
    scale = max(_LEAST_SCALE, min(limit, 1 - limit))
    return torch.minimum(margins.sigmoid(), limit + scale * (shares - rival)).clamp(0, 1)


def at_threshold(segments: Sequence[Segment], threshold: float) -> list[Segment]:
    """The segments of several objects in one image at a threshold; their masks do not overlap there either.

    Below the threshold that they were made for, several objects may have a pixel: it goes to the one of the largest
    probability p. As in `contested`, p is bounded by `threshold` + s (p - the largest p of the others).

    Args:
        segments: of each object, as `NamedExemplars.segment_encoded` returns them.
        threshold: of the masks, 0..1.
    """
    if len(segments) < 2 or all(segment.threshold == threshold for segment in segments):
        return [replace(segment, threshold=threshold) for segment in segments]
    values = np.stack([segment.probability for segment in segments]).astype(np.float32)
    second, best = np.partition(values, -2, axis=0)[-2:]
    rival = np.where(values == best, second, best)
    scale = max(_LEAST_SCALE, min(threshold, 1 - threshold))
    bounded = np.minimum(values, threshold + scale * (values - rival)).clip(0, 1)
    return [
        replace(segment, threshold=threshold, probability=_half(probability))
        for segment, probability in zip(segments, bounded, strict=True)
    ]
