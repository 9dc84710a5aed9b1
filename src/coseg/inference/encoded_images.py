"""Encoded images, and their features on hold: all that a co-segmentation needs of an image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import torch
from torch import Tensor

from coseg.errors import CosegError
from coseg.imaging.read import exposure_note
from coseg.inference.photographs import Photograph, Source
from coseg.inference.processes import ALONE, Processes
from coseg.models.base import Size
from coseg.models.features import dtypes, map_levels, restore, size_in_bytes, to_half_on_cpu

FULL_BYTES = 128 * 2**20
"""Features of more bytes in total are held on the CPU in half precision."""


@dataclass(frozen=True)
class Encoded:
    """An image after the encoder.

    Attributes:
        name: of the image.
        size: (H, W) of the original.
        working: (h, w) at which it was encoded; its probability has this size.
        features: from the network's `encode`, a batch of one, on the network's device.
        digest: of its pixels, equal for equal pictures.
        note: a defect of the photograph, see `coseg.inference.cosegmentation.Segment`.
    """

    name: str
    size: Size
    working: Size
    features: Any
    digest: bytes
    note: str | None = None

    @classmethod
    def of(cls, photograph: Photograph, features: Any) -> Encoded:
        """A photograph at working size, with its features."""
        pixels = photograph.pixels
        height, width = pixels.shape[:2]
        digest = hashlib.blake2b(f"{height} {width} ".encode() + pixels.tobytes(), digest_size=16).digest()
        return cls(photograph.name, photograph.size, (height, width), features, digest, exposure_note(pixels))

    def without_features(self) -> Encoded:
        """All but the features, which are large."""
        return replace(self, features=None)


def repeated(encoded: Sequence[Encoded]) -> tuple[tuple[int, int], ...]:
    """The pairs of indices (first, later) of images that show the same picture."""
    first: dict[bytes, int] = {}
    return tuple((first[image.digest], k) for k, image in enumerate(encoded) if first.setdefault(image.digest, k) != k)


def require_two(count: int) -> None:
    """Refuse fewer than two images.

    Raises:
        CosegError: `count` is below two.
    """
    if count < 2:
        raise CosegError(
            f"There {'is only one image' if count else 'are no images'}, but at least two are needed to have something "
            "in common: give more."
        )


def require_encoded(encoded: Sequence[object]) -> None:
    """Refuse anything but encoded images.

    Raises:
        CosegError: an element is not an `Encoded`.
    """
    for k, image in enumerate(encoded):
        if not isinstance(image, Encoded):
            raise CosegError(
                f"Image {k + 1} is a {type(image).__name__}, but must be an encoded image, as `encode` returns it."
            )


def several(images: Iterable[Any]) -> list[Any]:
    """The images of a group, as a list.

    Raises:
        CosegError: they are a single image, such as a path, or not iterable.
    """
    one = isinstance(images, str | bytes | bytearray | memoryview | os.PathLike) or hasattr(images, "read")
    one = one or getattr(images, "ndim", 4) < 4  # an array, or a tensor
    if one or not isinstance(images, Iterable):
        raise CosegError(
            f"The images are a {type(images).__name__}, but must be a list of two or more. The images of a folder "
            "are list(Path(folder).glob('*.jpg'))."
        )
    return list(images)


class HeldFeatures(Sequence[Any]):
    """A growing list of the features of images, which returns them on `device` and in their original precision.

    Features of up to `full_bytes` in total are held unchanged. Beyond that, all are held on the CPU in half precision:
    the features of 200 images of 1024 x 768 pixels in 512 channels at a stride of 16 then take 0.6 GB.
    """

    def __init__(self, device: torch.device, full_bytes: int = FULL_BYTES) -> None:
        self.device = device
        self.full_bytes = full_bytes
        self.bytes = 0
        self.half = False
        self._held: list[Any] = []
        self._types: list[Any] = []

    def append(self, features: Any) -> None:
        """Add the features of one image."""
        self._types.append(dtypes(features))
        self.bytes += size_in_bytes(features)
        if not self.half and self.bytes > self.full_bytes:
            self.half = True
            for k, held in enumerate(self._held):  # one by one, so that both are never in memory
                self._held[k] = to_half_on_cpu(held)
        held = to_half_on_cpu(features) if self.half else map_levels(lambda level: level.to(self.device), features)
        self._held.append(held)

    def __len__(self) -> int:
        return len(self._held)

    @overload
    def __getitem__(self, k: int) -> Any: ...

    @overload
    def __getitem__(self, k: slice) -> list[Any]: ...

    def __getitem__(self, k: int | slice) -> Any:
        if isinstance(k, slice):
            return [self[i] for i in range(*k.indices(len(self)))]
        return restore(self._held[k], self._types[k], self.device) if self.half else self._held[k]


class EncodedImages:
    """Encoded images whose features are on hold, see `HeldFeatures`; indexed from 0 in the order in which they came."""

    def __init__(self, device: torch.device) -> None:
        self.images: list[Encoded] = []
        self.features = HeldFeatures(device)

    def append(self, image: Encoded) -> None:
        """Add an encoded image."""
        self.features.append(image.features)
        self.images.append(replace(image, features=None))

    def read(
        self, encode: Callable[[Source, str], Encoded], images: Sequence[Source], processes: Processes = ALONE
    ) -> Iterator[CosegError | None]:
        """Encode images, divided among the processes, and append them.

        After each image None is yielded, or the error of an image that can't be read, which is left out.
        """

        def job(k: int) -> Encoded | CosegError:
            try:
                image = encode(images[k], f"image {k + 1}")
            except CosegError as error:
                return error
            return image if processes.size == 1 else replace(image, features=map_levels(Tensor.cpu, image.features))

        for image in processes.divided(len(images), job):
            if not isinstance(image, CosegError):
                self.append(image)
            yield image if isinstance(image, CosegError) else None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, k: int) -> Encoded:
        """Image `k` with its features, on the device."""
        return replace(self.images[k], features=self.features[k])
