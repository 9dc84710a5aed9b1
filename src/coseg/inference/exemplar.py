"""Show the object in one photograph, find it in others: exemplars, and the search for what they show."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from coseg.errors import CosegError
from coseg.hub.measures import LOWEST, level
from coseg.imaging.masks import read_mask
from coseg.inference.cooccurrence.descriptors import Descriptors, describe, describe_positions, exemplar_statistics
from coseg.inference.cooccurrence.statistics import compares_all
from coseg.inference.cosegmentation import Cosegmentation, Segment
from coseg.inference.encoded_images import Encoded, repeated, several
from coseg.inference.folders import home_expanded, trouble
from coseg.inference.photographs import Source
from coseg.labels import COMMON, VOID
from coseg.models.base import CosegNetwork, EncoderDecoderNetwork, Size, image_size, no_exemplars
from coseg.models.exemplar import Exemplar

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter

Found = TypeVar("Found")

Region = str | Path | NDArray[Any] | Sequence[float] | Any
"""Where the object is in a photograph: a mask file, a mask (H, W) as array or tensor, a rectangle (x, y, width, height)
or a point (x, y), in pixels of the upright photograph from its top left corner."""

ALIKE = 0.7
"""Cosine similarity with a point's position of the feature map, from which positions connected to it are the object.
On photographs 0.4, 0.5 and 0.6 gave worse masks of other images."""


def can_search(network: CosegNetwork) -> TypeGuard[EncoderDecoderNetwork]:
    """Whether a network has a method for exemplars."""
    if not isinstance(network, EncoderDecoderNetwork):
        return False
    return type(network).cosegment_exemplars is not CosegNetwork.cosegment_exemplars


class Exemplars:
    """The object that a person has shown in one or several photographs; `segment` finds it in others.

    Args:
        segmenter: the network.
        shown: photographs and where the object is in each of them, see `Region`.
        everywhere: the object is known to be in every image, so none gets an empty mask for its likelihood.

    Raises:
        CosegError: there are none; a photograph or a mask can't be read; a mask is empty or of another size than its
            photograph; a rectangle or a point is outside of it; the network can't search for exemplars.
    """

    def __init__(
        self, segmenter: CoSegmenter, shown: Iterable[tuple[Source | Encoded, Region]], everywhere: bool = False
    ) -> None:
        network = segmenter.network
        if not can_search(network):
            raise no_exemplars(network)
        self.segmenter = segmenter
        self.everywhere = everywhere
        self.network: EncoderDecoderNetwork = network
        self._exemplars: list[Exemplar] = []
        self._others: list[Exemplar] = []
        self._described: list[Descriptors] = []
        for k, pair in enumerate(shown):
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise CosegError(f"Exemplar {k + 1} must be a photograph and where the object is: (image, mask).")
            image, region = pair
            if not isinstance(image, Encoded):
                image = segmenter.encode(image, f"exemplar {k + 1}")
            self._add(image, region)
        if not self._exemplars:
            raise CosegError("There is no exemplar: give a photograph and where the object is in it.")

    def __len__(self) -> int:
        return len(self._exemplars)

    @property
    def regions(self) -> tuple[NDArray[np.uint8], ...]:
        """What a person's masks, rectangles and points were taken for: uint8 (h, w) each, over its whole photograph, of
        any size; 1 is the object."""
        return tuple(exemplar.region.cpu().numpy() for exemplar in self._exemplars)

    def segment(
        self,
        images: Iterable[Source],
        progress: Callable[[int, int], None] | None = None,
        unreadable: Callable[[int, CosegError], None] | None = None,
    ) -> Cosegmentation:
        """Segment the object in each image, one or more; the images do not depend on each other.

        `Segment.belongs` is the likelihood that an image shows the object; nan for a model without a calibration for
        it. Where it is so low that the image does not seem to belong (`coseg.hub.measures.level`) the mask is empty.

        Args:
            images: read one at a time.
            progress: called with the number of finished images and their total.
            unreadable: as for `CoSegmenter.group`.

        Raises:
            CosegError: there is no image, one can't be read, or the model gives numbers that are not finite.
        """
        encoded, segments = search_images(self.segmenter, images, self.segment_encoded, progress, unreadable)
        return Cosegmentation(
            tuple(segments), repeated=repeated(encoded), input_size=self.segmenter.size, exemplars=len(self)
        )

    @torch.inference_mode()
    def segment_encoded(self, image: Encoded, described: Descriptors | None = None) -> Segment:
        """The object in one encoded image; `described` saves describing an image that was described before."""
        belongs = self.likelihood(image, described)
        if self.is_absent(belongs):
            return self.segmented(image, np.zeros(image.working, np.float16), belongs)
        return self.segmented(image, self.segmenter.probability(self.logits(image)), belongs)

    def is_absent(self, belongs: float) -> bool:
        """Whether an image of this likelihood gets an empty mask."""
        return level(belongs) is False and not self.everywhere

    def segmented(self, image: Encoded, probability: NDArray[np.float16], belongs: float) -> Segment:
        """The segment of an image, from its probability (h, w)."""
        segmenter = self.segmenter
        return Segment(
            image.name, image.size, probability, segmenter.exemplar_threshold, image.note, segmenter.keep_islands,
            belongs,
        )  # fmt: skip

    def distinguish(self, search: Exemplars) -> None:
        """Take the object of another search for what this object is not.

        Where a photograph shows both, all beside this object is the rest already.
        """
        known = {id(exemplar.features) for exemplar in self._exemplars}
        rivals = (exemplar for exemplar in search._exemplars if id(exemplar.features) not in known)
        self._others += [exemplar._replace(another=True) for exemplar in rivals]

    @torch.inference_mode()
    def logits(self, image: Encoded) -> Tensor:
        """The network's logits (1, 2, h, w) of the object in an encoded image."""
        return self._logits([*self._exemplars, *self._others], image)

    def _logits(self, exemplars: Sequence[Exemplar], image: Encoded) -> Tensor:
        (logits,) = self.network.cosegment_exemplars(exemplars, [image.features], [image.working])
        return logits

    def _probability(self, exemplars: Sequence[Exemplar], image: Encoded) -> NDArray[np.float16]:
        return self.segmenter.probability(self._logits(exemplars, image))

    def likelihood(self, image: Encoded, described: Descriptors | None = None) -> float:
        """How likely an image shows the object, by the calibration of pairs; the mean over the exemplars."""
        calibration = self.segmenter.calibration
        if calibration is None or not self._described:
            return math.nan
        if described is None:
            described = describe(self.network, image.features, image.working)
        statistics = [exemplar_statistics(exemplar, described, calibration.classes) for exemplar in self._described]
        return max(LOWEST, float(calibration.logits(torch.stack(statistics)).mean().sigmoid()))

    @torch.inference_mode()
    def _add(self, image: Encoded, region: Region) -> None:
        """Add an exemplar; a rectangle or a point becomes the region that the network itself sees there."""
        shape = self._region(image, region)
        exemplar = Exemplar(image.features, image.working, shape)
        positions = self.network.exemplar_positions(exemplar)
        self._exemplars.append(exemplar._replace(region=_at_most(shape, image.working), positions=positions))
        calibration = self.segmenter.calibration
        if calibration is not None and compares_all(calibration):
            self._described.append(describe_positions(self.network.feature_map(image.features), positions[0]))

    def _region(self, image: Encoded, region: Region) -> Tensor:
        if isinstance(region, str | os.PathLike):
            return torch.from_numpy(_mask_file(home_expanded(os.fspath(region)), image))
        if getattr(region, "ndim", 0) == 2:
            return torch.from_numpy(_mask_array(region, image))
        numbers = _numbers(region, image)
        if len(numbers) == 4:
            return self._in_rectangle(image, torch.from_numpy(_rectangle(numbers, image)))
        (height, width), (x, y) = image.size, numbers
        if not (0 <= x < width and 0 <= y < height):
            raise CosegError(f"The point {x:g},{y:g} is outside of {image.name}, which is {width} x {height} pixels.")
        return self._around_point(image, numbers)

    def _in_rectangle(self, image: Encoded, rectangle: Tensor) -> Tensor:
        """What the network sees in a rectangle of the image, given the rectangle as exemplar; all of it for nothing."""
        probability = self._probability([Exemplar(image.features, image.working, rectangle)], image)
        limit = self.segmenter.exemplar_threshold
        small = F.interpolate(rectangle[None, None].float(), image.working, mode="area")[0, 0] >= 0.5
        inside = (torch.from_numpy(probability.astype(np.float32)) > limit) & small
        return inside.to(torch.uint8) if inside.any() else rectangle

    def _around_point(self, image: Encoded, point: Sequence[float]) -> Tensor:
        """The positions of the feature map that are alike to that of a point and connected to it."""
        network = self.network
        unit = F.normalize(network.feature_map(image.features)[0].float(), dim=0)
        height, width = image_size(unit)
        size = image.working if network.input_size is None else (network.input_size, network.input_size)
        x, y = (value / side for value, side in zip(point, reversed(image.size), strict=True))
        stride = network.map_stride
        row, column = min(int(y * size[0]) // stride, height - 1), min(int(x * size[1]) // stride, width - 1)
        similar = (unit * unit[:, row, column, None, None]).sum(0).cpu().numpy()
        alike = (similar >= ALIKE).astype(np.uint8)
        alike[row, column] = 1
        _, labels = cv2.connectedComponents(alike, connectivity=8)
        region = (labels == labels[row, column]).repeat(stride, 0).repeat(stride, 1)
        return torch.from_numpy(region[: size[0], : size[1]].astype(np.uint8))


def search_images(
    segmenter: CoSegmenter,
    images: Iterable[Source],
    search: Callable[[Encoded], Found],
    progress: Callable[[int, int], None] | None = None,
    unreadable: Callable[[int, CosegError], None] | None = None,
) -> tuple[list[Encoded], list[Found]]:
    """Encode images one at a time, and search in each: the images without their features, and what `search` returned.

    See `Exemplars.segment`.
    """
    sources = several(images)
    encoded, results = [], []

    def job(k: int) -> tuple[Encoded, Found] | CosegError:
        try:
            image = segmenter.encode(sources[k], f"image {k + 1}")
        except CosegError as error:
            return error
        return image.without_features(), search(image)

    for k, searched in enumerate(segmenter.processes.divided(len(sources), job)):
        if not isinstance(searched, CosegError):
            encoded.append(searched[0])
            results.append(searched[1])
        elif unreadable is None:
            raise searched
        else:
            unreadable(k, searched)
        if progress is not None:
            progress(k + 1, len(sources))
    if not results:
        raise CosegError("There is no image in which the exemplar's object could be searched for: give one.")
    return encoded, results


def _mask_file(path: Path, image: Encoded) -> NDArray[np.uint8]:
    wrong = trouble(path)
    if wrong is not None:
        raise CosegError(f"The mask {path} {wrong}")
    return _checked(read_mask(path), f"The mask {path}", image)


def _mask_array(values: Any, image: Encoded) -> NDArray[np.uint8]:
    mask = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
    present = np.unique(mask).tolist()
    if len(set(present) - {0, VOID}) > 1 or (mask.dtype.kind not in "biu" and not set(present) <= {0, 1}):
        raise CosegError(
            f"The mask of {image.name} holds several values besides 0: give True (or 1) on the object, and False (0) "
            "elsewhere; labels == 3, say."
        )
    if set(present) >= {1, VOID}:
        return _checked(mask.astype(np.uint8), f"The mask of {image.name}", image)
    return _checked((mask > 0).astype(np.uint8), f"The mask of {image.name}", image)


def _checked(mask: NDArray[np.uint8], what: str, image: Encoded) -> NDArray[np.uint8]:
    if mask.shape != tuple(image.size):
        (height, width), (rows, columns) = image.size, mask.shape
        raise CosegError(
            f"{what} is {columns} x {rows} pixels, but {image.name} {width} x {height}: they must be of one size."
        )
    if not (mask == COMMON).any():
        raise CosegError(f"{what} is empty: it must show where the object is in {image.name}.")
    return mask


def _at_most(region: Tensor, size: Size) -> Tensor:
    """A region (H, W), reduced to `size` if it has more pixels."""
    height, width = size
    if region.shape[0] * region.shape[1] <= height * width:
        return region
    return torch.from_numpy(cv2.resize(region.cpu().numpy(), (width, height), interpolation=cv2.INTER_NEAREST))


def _numbers(region: Any, image: Encoded) -> list[float]:
    values = list(region) if isinstance(region, Sequence) or getattr(region, "ndim", 0) == 1 else []
    numbers = [float(value) for value in values if isinstance(value, Real) and math.isfinite(float(value))]
    if len(numbers) != len(values) or len(numbers) not in (2, 4):
        raise CosegError(
            f"The object in {image.name} must be given as a mask (a file, or an array of its height and width), a "
            "rectangle (x, y, width, height) or a point (x, y), in pixels."
        )
    return numbers


def _rectangle(numbers: Sequence[float], image: Encoded) -> NDArray[np.uint8]:
    """A mask of the rectangle, as far as it is in the image."""
    (height, width), (x, y, across, down) = image.size, numbers
    left, top = max(0, math.floor(x)), max(0, math.floor(y))
    right, bottom = math.ceil(min(width, x + across)), math.ceil(min(height, y + down))  # a sum may be infinite
    if across <= 0 or down <= 0 or left >= right or top >= bottom:
        raise CosegError(
            f"The rectangle {','.join(f'{value:g}' for value in numbers)} (x,y,width,height) has no pixel in "
            f"{image.name}, which is {width} x {height} pixels."
        )
    mask = np.zeros((height, width), np.uint8)
    mask[top:bottom, left:right] = COMMON
    return mask
