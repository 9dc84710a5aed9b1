"""Cut the common object out of photographs with a trained network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from coseg.errors import CosegError
from coseg.inference.commonness import calibration_of
from coseg.inference.devices import chosen_device
from coseg.inference.encoded import Encoded, digest_of, repeated, require_two
from coseg.inference.grouped import evidence_of_neighbours
from coseg.inference.held import HeldFeatures
from coseg.inference.photographs import Source, load_photograph
from coseg.inference.pretrained import load_pretrained
from coseg.inference.segment import Cosegmentation, Segment, checked_threshold
from coseg.inference.sharing import SharedModel
from coseg.models.network import CosegNetwork, checked_input_size

WORKING = 512
"""Longest side in pixels to which photographs are shrunk, at least, before a network that has an input size of its own
resizes them to it; masks are made at this size and enlarged. Images of the benchmarks are smaller, so they go in whole.
"""

LONGEST = 1024
"""Longest side for a network that takes images of any size, where no `size` is set."""


class CoSegmenter(SharedModel):
    """A trained network that takes photographs and tells what they have in common.

    Images are paths, PIL images, arrays (H, W, 3) or tensors (3, H, W), uint8 or floating point in 0..1, of any size;
    see `coseg.inference.photographs.load_photograph`. The same images give the same result each time.

    Args:
        network: put into evaluation mode and onto `device`.
        settings: of the model, see `coseg.inference.pretrained.settings_of`.
        device: ``auto``: an NVIDIA GPU, Apple's, or the CPU, whichever there is; or torch's name of one.
        size: the side to which a network with an input size resizes images, in place of that; for a network that takes
            images of any size, their longest side. None: as the settings say.
        threshold: probability from which a pixel is marked, 0..1. None: as the settings say.

    Raises:
        CosegError: a value is none of these, or there is no such device.

    >>> model = CoSegmenter.from_pretrained()  # doctest: +SKIP
    >>> result = model.pair("a.jpg", "b.jpg")  # doctest: +SKIP
    >>> result.common, result[0].mask().shape  # doctest: +SKIP
    (0.93, (1200, 1600))
    """

    def __init__(
        self,
        network: CosegNetwork,
        settings: dict[str, Any],
        device: str = "auto",
        size: int | None = None,
        threshold: float | None = None,
    ) -> None:
        self.device = chosen_device(device)
        self.settings = settings
        self.size: int | None = checked_input_size(settings.get("size") if size is None else size, "The size")
        self.threshold = checked_threshold(settings.get("threshold", 0.5) if threshold is None else threshold)
        self.network = network.to(self.device).eval()
        if network.input_size is not None:
            self.size = network.input_size if self.size is None else self.size
            network.input_size = self.size
        self.calibration = calibration_of(network, settings)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        source: str | Path | None = None,
        *,
        device: str = "auto",
        size: int | None = None,
        threshold: float | None = None,
        trust: bool = False,
    ) -> CoSegmenter:
        """The model in `source`: a folder, a file, a checkpoint, a run directory or ``owner/name`` on the hub.

        None is the model that comes with coseg. See `coseg.inference.pretrained.load_pretrained`, for `trust` too; the
        rest is as for the class.

        Raises:
            CosegError: `source` holds no model that can be used, or a value is none.
        """
        network, settings, _ = load_pretrained(source, trust)
        return cls(network, settings, device, size, threshold)

    def pair(self, a: Source, b: Source) -> Cosegmentation:
        """What two images have in common: the network's own answer to the pair.

        Raises:
            CosegError: one of them is no image.
        """
        encoded = self.encode(a, "image 1"), self.encode(b, "image 2")
        return self.cosegment(encoded)

    def group(
        self,
        images: Iterable[Source],
        progress: Callable[[int, int], None] | None = None,
        unreadable: Callable[[int, CosegError], None] | None = None,
    ) -> Cosegmentation:
        """What two or more images have in common, each against all others.

        Images are read one at a time. Networks with a way of their own for groups (cross-correlation among them) take
        time in proportion to the number n of images, others to n². Two images may come out slightly otherwise than
        from `pair`, where the network says so.

        Args:
            images: at least two.
            progress: called with the steps that are done and their number, 2 n: one to read each image, one to mark it.
            unreadable: called with the place of an image that is none, and the sentence why; it is left out, and the
                rest is the group. None: the sentence is raised.

        Raises:
            CosegError: there are fewer than two, or one is no image.
        """
        sources = list(images)
        require_two(len(sources))
        held = HeldFeatures(self.device)
        encoded = []
        for k, source in enumerate(sources):
            try:
                each = self.encode(source, f"image {k + 1}")
            except CosegError as error:
                if unreadable is None:
                    raise
                unreadable(k, error)
            else:
                held.append(each.features)
                encoded.append(replace(each, features=None))
            if progress is not None:
                progress(k + 1, 2 * len(sources))
        require_two(len(encoded))
        return self._group(encoded, held, progress)

    @torch.inference_mode()
    def encode(self, image: Source, name: str = "image 1") -> Encoded:
        """An image after the encoder; `name` is for one that has no file name.

        Raises:
            CosegError: it is no image.
        """
        if self.network.input_size is None:
            longest = LONGEST if self.size is None else self.size
        else:
            longest = max(WORKING, 2 * self.network.input_size)
        photograph = load_photograph(image, longest, name)
        pixels = torch.from_numpy(np.ascontiguousarray(photograph.pixels.transpose(2, 0, 1)))[None]
        features = self.network.encode(pixels.to(self.device))
        height, width = photograph.pixels.shape[:2]
        return Encoded(photograph.name, photograph.size, (height, width), features, digest_of(photograph.pixels))

    @torch.inference_mode()
    def cosegment(self, encoded: Sequence[Encoded]) -> Cosegmentation:
        """What images that `encode` returned have in common; two are a pair, more a group.

        Raises:
            CosegError: there are fewer than two.
        """
        require_two(len(encoded))
        if len(encoded) > 2:
            return self._group(encoded, [each.features for each in encoded])
        return self._answer(encoded, [each.features for each in encoded], self._pair(*encoded))

    @torch.inference_mode()
    def response(self, a: Encoded, b: Encoded, y: float, x: float) -> NDArray[np.float32]:
        """How the features of B respond to a point of A: float32 (h, w), of the size of B's feature map, -1..1.

        It is the cosine similarity of A's feature vector at the point with that at each place of B. The map covers B
        from its top left corner; its last row and column may reach beyond the image.

        Args:
            a: image A.
            b: image B.
            y: the point, 0 at the top edge of A, 1 at the bottom.
            x: 0 at the left edge, 1 at the right.

        Raises:
            CosegError: the point is not in the image.
        """
        if not (0 <= y <= 1 and 0 <= x <= 1):
            raise CosegError(f"The point ({y}, {x}) is outside of the image: both numbers must be from 0 to 1.")
        map_a, map_b = (self.network.feature_map(each.features)[0].float() for each in (a, b))
        height, width = map_a.shape[-2:]
        vector = map_a[:, min(int(y * height), height - 1), min(int(x * width), width - 1)]
        response: NDArray[np.float32] = F.cosine_similarity(map_b, vector[:, None, None], dim=0).cpu().numpy()
        return response

    @torch.inference_mode()
    def evidence(self, *encoded: Encoded) -> Tensor:
        """What tells whether two images or more have a common object: `grouped.evidence_of_neighbours`."""
        features = [each.features for each in encoded]
        probabilities = self._pair(*encoded) if len(encoded) == 2 else list(self._marked(encoded, features))
        return evidence_of_neighbours(self.network, features, probabilities, self.device)

    def _pair(self, a: Encoded, b: Encoded) -> list[NDArray[np.float16]]:
        logits = self.network.cosegment(a.features, b.features, a.working, b.working)
        return [_probability(each) for each in logits]

    def _marked(self, encoded: Sequence[Encoded], features: Sequence[Any]) -> Iterator[NDArray[np.float16]]:
        for logits in self.network.cosegment_group(features, [each.working for each in encoded]):
            yield _probability(logits)

    @torch.inference_mode()
    def _group(
        self,
        encoded: Sequence[Encoded],
        features: Sequence[Any],
        progress: Callable[[int, int], None] | None = None,
    ) -> Cosegmentation:
        probabilities = []
        for probability in self._marked(encoded, features):
            probabilities.append(probability)
            if progress is not None:
                progress(len(encoded) + len(probabilities), 2 * len(encoded))
        return self._answer(encoded, features, probabilities)

    def _answer(
        self, encoded: Sequence[Encoded], features: Sequence[Any], probabilities: Sequence[NDArray[np.float16]]
    ) -> Cosegmentation:
        segments = tuple(
            Segment(each.name, each.size, probability, self.threshold)
            for each, probability in zip(encoded, probabilities, strict=True)
        )
        common = math.nan
        if self.calibration is not None:
            evidence = evidence_of_neighbours(self.network, features, probabilities, self.device)
            common = self.calibration.common(evidence, len(features))
        return Cosegmentation(segments, common, repeated(encoded))


def _probability(logits: Tensor) -> NDArray[np.float16]:
    """Of the common object, from logits (1, 2, h, w)."""
    probability: NDArray[np.float16] = logits[0].float().softmax(0)[1].half().cpu().numpy()
    return probability
