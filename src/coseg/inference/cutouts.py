"""Cut-outs: the object on a transparent or another background, in the format, size and sharpness that is asked for."""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor

from coseg.errors import CosegError
from coseg.imaging.matting import soften
from coseg.inference.cosegmentation import Segment
from coseg.inference.folders import home_expanded
from coseg.inference.photographs import Photograph, Source, in_srgb, load_photograph

FORMATS = ("png", "webp", "jpg")
"""Of cut-outs: the suffixes of their files."""

WEBP_SIDE = 16383
"""Pixels that a side of a WebP has at most."""

_COMPRESSION = 1
"""Of PNG: 9 takes several times as long as 1, and the files are hardly smaller."""

_PNG_HEADER = 33  # bytes of the signature and of the first chunk, IHDR
_STRIP = 64  # rows of a large picture that are processed at once
_MAX_EXIF = 65527  # bytes of a JPEG's segment without its name
_SIZE_TAGS = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)

_softening = threading.Lock()
"""One at a time: it takes some hundred megabytes besides the photograph."""

_LARGE_WEBP = 2**24
"""Pixels from which a WebP is encoded in the way that takes the least memory; the file is a little larger."""

_FEW_LEVELS = 70
"""The quality of alpha at which it has 16 levels, mostly within 9 of 255 of what it was: two pixels fit into one value
of the encoder, which saves 6 bytes for each pixel of a large WebP."""

_encoding = threading.Lock()
"""One WebP at a time: its encoder takes 15 to 30 bytes for each pixel."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class CutoutStyle:
    """How cut-outs look.

    Attributes:
        format: of `FORMATS`.
        background: a colour, RGB 0..255, or a picture that fills the cut-out; None: transparent.
        crop: to the object.
        margin: around the object where it is cropped, as a share of its longer side.
        soft_edges: alpha by `coseg.imaging.matting`, rather than 0 and 255 alone.

    Raises:
        CosegError: the format is unknown, or has no transparency and there is no background.
    """

    format: str = "png"
    background: Colour | Path | None = None
    crop: bool = False
    margin: float = 0.05
    soft_edges: bool = False

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise CosegError(f"The format is {self.format!r}, but must be one of {', '.join(FORMATS)}.")
        if self.format == "jpg" and self.background is None:
            raise CosegError(
                "JPEG has no transparency: give a background, such as --background white, or the format png or webp."
            )
        if not self.margin >= 0:
            raise CosegError(f"The margin is {self.margin}, but must be a share of the object from 0 on.")

    @property
    def ending(self) -> str:
        """How the names of cut-outs end."""
        return f"_cutout.{self.format}"


def background(text: str) -> Colour | Path:
    """A colour (``white``, ``#ff8800``, ``rgb(0, 128, 255)``), or the path of a picture.

    Raises:
        CosegError: it is neither.

    >>> background("#ff8800")
    (255, 136, 0)
    """
    path = home_expanded(text)
    if os.path.isfile(path):
        return path
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise CosegError(
            f"The background '{text}' is neither a picture nor a colour: give a file, or a colour such as white or "
            "'#ff8800'."
        ) from None
    return red, green, blue


def cutout(source: Source, segment: Segment, style: CutoutStyle | None = None) -> Image.Image:
    """The object of a photograph as a picture: RGBA, or RGB with a background.

    Args:
        source: the photograph that was segmented.
        segment: of it.
        style: see there; None: hard edges on transparency, at the size of the photograph.

    Raises:
        CosegError: the photograph or the background can't be read.
    """
    style = CutoutStyle() if style is None else style
    photograph = in_colours(load_photograph(source, None, segment.name), style)
    mask = None if style.soft_edges else segment.mask()
    return Image.fromarray(cutout_pixels(photograph, segment, mask, style))


def in_colours(photograph: Photograph, style: CutoutStyle) -> Photograph:
    """The photograph in the colours that its cut-out has: in sRGB with a background, else in those it has."""
    return photograph if style.background is None else in_srgb(photograph)


def cutout_pixels(
    photograph: Photograph, segment: Segment, mask: NDArray[np.bool_] | None, style: CutoutStyle
) -> NDArray[np.uint8]:
    """The pixels of `cutout`, uint8 (h, w, 4), or (h, w, 3) with a background; transparent pixels are black.

    Args:
        photograph: at its original size, `in_colours` of the style.
        segment: of it.
        mask: of the segment, bool (H, W); not used for soft edges.
        style: see there.
    """
    if style.soft_edges:
        with _softening:
            alpha, colours = soften(photograph.pixels, segment.tidied(), segment.threshold)
    else:
        assert mask is not None
        alpha, colours = mask.view(np.uint8), photograph.pixels
    if style.crop:
        rows, columns = _bounds(alpha, style.margin)
        alpha, colours = alpha[rows, columns], colours[rows, columns]
    if not style.soft_edges and style.background is None:
        return cut_out(colours, alpha.view(bool))
    if style.background is None:
        return np.asarray(np.dstack((colours, alpha)), np.uint8)
    return _on_background(colours, alpha if style.soft_edges else alpha * np.uint8(255), style.background)


def cut_out(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The object on a transparent background, RGBA, uint8 (H, W, 4); transparent pixels are black."""
    picture = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    for start in range(0, len(mask), _STRIP):
        pixels = picture[start : start + _STRIP].view(np.uint32)[..., 0]
        np.multiply(pixels, mask[start : start + _STRIP], out=pixels)
    return np.asarray(picture, np.uint8)


def write_cutout(picture: NDArray[np.uint8], file: BinaryIO, style: CutoutStyle, photograph: Photograph) -> None:
    """Write a cut-out with the colour profile and the EXIF of its photograph; `picture` is overwritten.

    The EXIF has the size of the cut-out, no orientation, and no preview.

    Raises:
        CosegError: it is too large for the format.
        OSError: the file can't be written.
    """
    height, width = picture.shape[:2]
    # On a background the colours are sRGB, which needs no profile.
    profile = photograph.profile if style.background is None else None
    exif = _exif(photograph.exif, width, height)
    if style.format == "png":
        _write_png(picture, file, profile, exif)
        return
    if style.format == "webp" and max(height, width) > WEBP_SIDE:
        raise CosegError(
            f"The cut-out of {photograph.name} is {width} x {height} pixels, but a WebP has at most {WEBP_SIDE} a "
            "side: crop it, or use another format."
        )
    metadata: dict[str, Any] = {} if profile is None else {"icc_profile": profile}
    if exif is not None and len(exif) <= _MAX_EXIF:
        metadata["exif"] = exif
    if style.format == "webp":
        with _encoding:
            large = height * width >= _LARGE_WEBP
            if large:
                _return_freed_memory()
            effort = {"method": 0, "alpha_quality": _FEW_LEVELS} if large else {"method": 4}
            Image.fromarray(picture).save(file, "WEBP", quality=90, **effort, **metadata)
    else:
        Image.fromarray(picture).save(file, "JPEG", quality=92, subsampling=0, **metadata)


def _return_freed_memory() -> None:
    """Give the system what glibc keeps of freed memory: decoding a large photograph leaves some hundred megabytes."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _write_png(picture: NDArray[np.uint8], file: BinaryIO, profile: bytes | None, exif: bytes | None) -> None:
    """Write RGBA or RGB as PNG by OpenCV, twice as fast as PIL; `picture` is overwritten.

    OpenCV writes no metadata, so these become chunks after the header (PNG 3, 11.3.2.3 and 11.3.4.5).
    """
    alpha = picture.shape[2] == 4
    cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA if alpha else cv2.COLOR_RGB2BGR, picture)
    written, encoded = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION])
    if not written:
        raise CosegError("The cut-out cannot be written: the picture could not be encoded.")
    file.write(encoded[:_PNG_HEADER].data)
    if profile is not None:
        file.write(_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    if exif is not None:
        file.write(_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")))
    file.write(encoded[_PNG_HEADER:].data)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _exif(data: bytes | None, width: int, height: int) -> bytes | None:
    """EXIF with the size of a cut-out, where it has a size."""
    if data is None:
        return None
    exif = Image.Exif()
    exif.load(data)
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details.update({tag: pixels for tag, pixels in zip(_SIZE_TAGS, (width, height), strict=True) if tag in details})
    return exif.tobytes()


def _bounds(alpha: NDArray[np.uint8], margin: float) -> tuple[slice, slice]:
    """The rows and columns of the object with its margin; all where there is no object."""
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(alpha.any(axis))
        spans.append((int(places[0]), int(places[-1]) + 1) if len(places) else (0, alpha.shape[1 - axis]))
    around = round(margin * max(stop - start for start, stop in spans))
    rows, columns = (slice(max(0, start - around), stop + around) for start, stop in spans)
    return rows, columns


def _on_background(colours: NDArray[np.uint8], alpha: NDArray[np.uint8], behind: Colour | Path) -> NDArray[np.uint8]:
    """The object on a colour or a picture, uint8 (h, w, 3)."""
    height, width = alpha.shape
    if isinstance(behind, Path):
        picture = _filling(behind, width, height)
    else:
        picture = np.full((height, width, 3), behind, np.uint8)
    for start in range(0, height, _STRIP):
        rows = slice(start, start + _STRIP)
        share = alpha[rows, :, None].astype(np.uint16)
        picture[rows] = (colours[rows] * share + picture[rows] * (255 - share) + 127) // 255
    return picture


def _filling(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """A picture enlarged or reduced to fill so many pixels; what is too much of it is cut on both sides alike."""
    _return_freed_memory()
    pixels = in_srgb(load_photograph(path)).pixels
    scale = max(width / pixels.shape[1], height / pixels.shape[0])
    wide, high = (
        min(whole, max(1, round(part / scale))) for whole, part in ((pixels.shape[1], width), (pixels.shape[0], height))
    )
    left, top = (pixels.shape[1] - wide) // 2, (pixels.shape[0] - high) // 2
    view = pixels[top : top + high, left : left + wide]
    filter_ = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(view, (width, height), interpolation=filter_), np.uint8)
