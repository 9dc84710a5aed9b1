"""An image after its encoding, the only thing that co-segmentation needs of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coseg.errors import CosegError
from coseg.models.network import Size


@dataclass(frozen=True)
class Encoded:
    """An image after the encoder, which is all that a co-segmentation needs of it.

    Attributes:
        name: of the image.
        size: (H, W) of the original.
        working: (h, w) at which it went in; its probability is of this size.
        features: what the network's `encode` gave for it, a batch of one, on the network's device.
        digest: of its pixels: equal for the same picture.
        note: of the photograph, see `coseg.inference.segment.Segment`.
    """

    name: str
    size: Size
    working: Size
    features: Any
    digest: bytes
    note: str | None = None


def digest_of(pixels: NDArray[np.uint8]) -> bytes:
    """Equal for equal pictures, uint8 (h, w, 3)."""
    height, width = pixels.shape[:2]
    return hashlib.blake2b(f"{height} {width} ".encode() + pixels.tobytes(), digest_size=16).digest()


def repeated(encoded: Sequence[Encoded]) -> tuple[tuple[int, int], ...]:
    """The pairs of places (first, later) that show the same picture."""
    first: dict[bytes, int] = {}
    return tuple((first[each.digest], k) for k, each in enumerate(encoded) if first.setdefault(each.digest, k) != k)


def require_two(count: int) -> None:
    """Refuse fewer images than can have something in common.

    Raises:
        CosegError: `count` is below two.
    """
    if count < 2:
        raise CosegError(
            f"There {'is one image' if count else 'are no images'}, but to have something in common there must be at "
            "least two: give more."
        )


def require_encoded(encoded: Sequence[object]) -> None:
    """Refuse what is no encoded image.

    Raises:
        CosegError: one is none.
    """
    for k, image in enumerate(encoded):
        if not isinstance(image, Encoded):
            raise CosegError(
                f"Image {k + 1} is a {type(image).__name__}, but must be what `encode` returned for an image."
            )


def several(images: Iterable[Any]) -> list[Any]:
    """The images of a group, as a list.

    Raises:
        CosegError: they are one image, a path for instance, or nothing that can be iterated over.
    """
    one = isinstance(images, str | bytes | os.PathLike) or getattr(images, "ndim", 4) < 4  # an array, or a tensor
    if one or not isinstance(images, Iterable):
        raise CosegError(
            f"The images are one {type(images).__name__}, but must be a list of two or more. The images of a folder "
            "are list(Path(folder).glob('*.jpg'))."
        )
    return list(images)
