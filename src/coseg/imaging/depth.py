"""Pictures of more than 8 bits: how many of them are used, and the same picture in 8.

A file of 16 bits often holds numbers of 10, 12 or 14, as a camera's sensor gives them: read as 16 bits they are almost
black. How many there are is what the file says (TIFF's ``BitsPerSample``, ``MaxSampleValue`` or ``SMaxSampleValue``,
PNG's ``sBIT``), where its numbers fit in; otherwise the fewest of 8, 10, 12, 14 and 16 in which the largest number
fits, unless all are 8-bit numbers that were spread to 16.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.errors import CosegError

_DECLARED = "coseg_bits"  # keys of `Image.info`, which PIL carries over to what it makes of an image
_DEEP = "coseg_deep"
_BITS_PER_SAMPLE, _MAX_SAMPLE, _S_MAX_SAMPLE = 258, 281, 341
_HELD = (8, 10, 12, 14, 16)
_DARK = 64  # colours of 16 bits use 14 or fewer where no high byte reaches this


def note_depth(image: Image.Image) -> None:
    """Keep in the info of a file just opened how many bits it says that it uses; its pixels are not decoded."""
    image.info[_DEEP] = image.mode in ("RGB", "RGBA") and _raw_mode(image)[-4:-1] == ";16"
    if image.info[_DEEP] or image.mode.startswith("I"):
        declared = _tiff_bits(image) if image.format == "TIFF" else _png_bits(image) if image.format == "PNG" else None
        image.info[_DECLARED] = declared


def eight_bits(where: str | Path, image: Image.Image) -> NDArray[np.uint8]:
    """A grey picture of integers or floating-point numbers, which PIL would clip at 255 instead of scaling it.

    Floating-point numbers are those of 0..1, or of 0..255 where one is above 1.

    Raises:
        CosegError: the numbers are negative, above 16 bits or 255, or not finite.
    """
    values = np.array(image)
    if image.mode == "F":
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        if not (low >= 0 and high <= 255):  # not a number fails as well
            raise CosegError(
                f"{where} holds floating-point numbers from {low:g} to {high:g}, but must hold 0..1 or 0..255: scale "
                "them, or save it as an 8-bit PNG."
            )
        return np.asarray(values * np.float32(1 if high > 1 else 255) + np.float32(0.5)).astype(np.uint8)
    values = values.astype(np.int64)
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high > 65535:
        raise CosegError(
            f"{where} holds the numbers {low} to {high}, but must hold 0 to 65535: scale them, or save it as an 8-bit "
            "PNG."
        )
    return _shifted(values, image.info.get(_DECLARED))


def deepened(file: Image.Image, reopen: Callable[[str], Image.Image], nameless: bool = False) -> Image.Image:
    """`file`, or where it holds colours of 16 bits that use fewer, of which PIL keeps the high byte, all of them.

    Args:
        file: an image from `reopen`, decoded or not, as it is stored (EXIF's orientation not applied by the caller).
        reopen: opens a file by its name.
        nameless: `reopen` needs no name; otherwise an image without one is not changed.
    """
    name = str(getattr(file, "filename", ""))
    if not file.info.get(_DEEP) or not (name or nameless):
        return file
    high = np.array(file)
    if high[..., :3].max(initial=0) >= _DARK:
        return file
    with reopen(name) as second:
        plan: Any = second  # PIL types what it opens as a base class
        grey = _raw_mode(second) == "LA;16B"  # its four bytes are read as four channels
        plan.tile = [tile._replace(args="RGBA" if grey else _other_byte(tile.args)) for tile in plan.tile]
        low = np.array(second)
    if grey:
        low = low[..., [1, 1, 1, 3]]
    values = high.astype(np.int64) << 8 | low
    colours = _shifted(values[..., :3], file.info.get(_DECLARED))
    deep = Image.fromarray(np.dstack((colours, high[..., 3:])))
    deep.info = {key: value for key, value in file.info.items() if key != _DEEP}
    return deep


def _shifted(values: NDArray[np.int64], declared: int | None) -> NDArray[np.uint8]:
    top = int(values.max(initial=0))
    if declared is None or top >= 1 << declared:
        spread = top > 255 and not ((values % 257).any() and (values % 256).any())
        declared = 16 if spread else next(bits for bits in _HELD if top < 1 << bits)
    return (values >> max(0, declared - 8)).astype(np.uint8)


def _raw_mode(image: Image.Image) -> str:
    """How PIL names the order of a file's bytes, such as ``RGB;16B``; empty where a format says nothing."""
    tiles = getattr(image, "tile", None)
    args = tiles[0].args if tiles else ""
    raw = args[0] if isinstance(args, tuple) and args else args
    return raw if isinstance(raw, str) else ""


def _other_byte(args: object) -> object:
    """Arguments of PIL's decoder that make it keep the low byte of each 16 bits: those of the other byte order."""
    foreign = ";16B" if sys.byteorder == "little" else ";16L"
    other = {";16L": ";16B", ";16B": ";16L", ";16N": foreign}
    raw = args if isinstance(args, str) else args[0]  # type: ignore[index]
    swapped = raw[:-4] + other[raw[-4:]]
    return swapped if isinstance(args, str) else (swapped, *args[1:])  # type: ignore[index]


def _tiff_bits(image: Image.Image) -> int | None:
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(_BITS_PER_SAMPLE, (16,))
    bits = bits[0] if isinstance(bits, tuple) else bits
    if bits < 16:
        return int(bits)
    top = tags.get(_MAX_SAMPLE, tags.get(_S_MAX_SAMPLE))
    top = max(top) if isinstance(top, tuple) and top else top
    return max(8, int(top).bit_length()) if isinstance(top, int | float) and 0 < top <= 65535 else None


def _png_bits(image: Image.Image) -> int | None:
    """``sBIT``, which comes before the pixels; PIL leaves it out."""
    file = image.fp  # type: ignore[attr-defined]
    place = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"sBIT":
                bits = max(file.read(min(length, 3)), default=0)
                return bits if 8 <= bits <= 16 else None
            if name in (b"IDAT", b"IEND"):
                return None
            file.seek(length + 4, 1)
        return None
    finally:
        file.seek(place)
