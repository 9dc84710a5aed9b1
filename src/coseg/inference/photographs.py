"""Load photographs upright and in RGB, at a working size, from files, bytes, PIL images, arrays or tensors."""

from __future__ import annotations

import inspect
import io
import os
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.errors import CosegError
from coseg.imaging.depth import deepened
from coseg.imaging.metadata import UPRIGHT, converted, exif_of, orientation_of, profile_of
from coseg.imaging.read import MAX_WHOLE, UNREADABLE, HeicNotInstalled, as_rgb, open_image
from coseg.inference.folders import home_expanded, trouble

MAX_PIXELS = 200_000_000
"""Larger images are refused before decoding: a small file can decode to an image that fills the memory."""

WORKING = 512
"""Photographs with a longer side than this, in pixels, are reduced to it (or to twice the input size, if that is more)
before a network with a fixed input size resizes them; masks are made at this size and enlarged. Images of the
benchmarks are smaller, so they are not reduced."""

LONGEST = 1024
"""Longest side for a network that takes images of any size, if no `size` is set."""

MIN_SIDE = 2
"""The least height and width of an image in pixels."""

_MOVING = {"GIF", "PNG", "WEBP", "AVIF", "TIFF"}
"""Formats whose second frame is a separate picture; in MPO it is a preview, in PSD a layer."""

_DRAFT = 2
"""A JPEG is decoded at least this many times larger than needed, so that the final reduction is filtered well."""

_PIECE = 2**20  # bytes that are read at a time of a file that has no known size

_STRIP = 512  # rows of a photograph whose colours are converted at once

_opening = threading.Lock()


class Photograph(NamedTuple):
    """A picture in RGB, upright, at most as large as its original.

    Attributes:
        pixels: uint8 (h, w, 3), 0..255; transparent parts are white.
        size: (H, W) of the original in pixels, with the EXIF orientation applied.
        name: of its file, without folders, or the name that it was given.
        profile: its ICC colour profile, which is copied into results; None: assumed to be sRGB.
        exif: of a file, without orientation and preview; None: it has none, or it was not loaded at its original size.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    name: str
    profile: bytes | None = None
    exif: bytes | None = None


Source = str | Path | bytes | BinaryIO | Image.Image | NDArray[Any] | Photograph | Any
"""What a photograph can be loaded from; a tensor is `Any`, so that torch is not imported here."""


def load_photograph(source: Source, longest: int | None = None, name: str = "image 1") -> Photograph:
    """A photograph from a file or from memory.

    Args:
        source: a path; the bytes of an image file, or a binary file object (anything with `read`), which is read from
            its start, left open, and put back to its place if it can be; a PIL image; an array (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4); a tensor (1, H, W), (3, H, W) or (4, H, W). Arrays and tensors are uint8 in 0..255
            or floating point in 0..1. A `Photograph` is only reduced.
        longest: the limit of the longer side of `pixels`; smaller pictures are not changed. JPEG files are decoded near
            this size, which saves time and memory. None: the original size.
        name: of a source that has no file name, also in messages.

    Raises:
        CosegError: the file is missing, not an image, damaged, animated or opened as text; the picture has fewer than
            `MIN_SIDE` pixels a side or more than `MAX_PIXELS` (by its header, before decoding); the array is not a
            picture.
    """
    if longest is not None and longest < 1:
        raise CosegError(f"The size is {longest}, but must be a positive number of pixels.")
    if isinstance(source, Photograph):
        image = _shrunk(Image.fromarray(source.pixels), longest)
        return source._replace(pixels=np.asarray(image))
    if isinstance(source, str | os.PathLike):
        return _from_file(home_expanded(os.fspath(source)), longest)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_stream(io.BytesIO(source), name, longest)
    if callable(getattr(source, "read", None)) and not isinstance(source, Image.Image):
        return _from_file_object(source, name, longest)
    if isinstance(source, Image.Image):
        name = Path(str(getattr(source, "filename", "") or name)).name
        return _decoded(source, name, name, longest)
    values = _values(source, name)
    _check_size(name, values.shape[1], values.shape[0])
    return _decoded(Image.fromarray(_in_bytes(values, name)), name, name, longest)


def header_size(file: BinaryIO, name: str) -> tuple[int, int]:
    """Width and height of an open image file before its EXIF orientation; the file is left where it was.

    Raises:
        CosegError: it is not an image.
    """
    place = file.tell()
    try:
        return _opened(file, name).size
    finally:
        file.seek(place)


def _from_file(path: Path, longest: int | None) -> Photograph:
    if os.path.isdir(path):
        raise CosegError(f"{path} is a folder: give an image.")
    wrong = trouble(path)
    if wrong is not None:
        raise CosegError(f"{path} {wrong}")
    with closing(_opened(path, str(path))) as file:
        draft = None if longest is None else _DRAFT * longest
        return _decoded(file, str(path), path.name, longest, draft)


def _from_file_object(file: Any, name: str, longest: int | None) -> Photograph:
    """From anything with `read`; what can't seek is read into memory first, up to `MAX_WHOLE` bytes."""
    called = getattr(file, "name", None)
    name = Path(called).name or name if isinstance(called, str) else name
    try:
        start = file.read(0)
        if inspect.isawaitable(start):
            with suppress(AttributeError):
                start.close()  # type: ignore[attr-defined]
            raise CosegError(f"{name} is read asynchronously: give the bytes, await file.read().")
        if not isinstance(start, bytes | bytearray):
            raise CosegError(f"{name} is not open as bytes: open it with open(path, 'rb').")
        seekable = getattr(file, "seekable", None)
        if callable(seekable) and seekable() and callable(getattr(file, "tell", None)):
            place = file.tell()
            try:
                return _from_stream(file, name, longest)
            finally:
                file.seek(place)
        return _from_stream(_in_memory(file, name), name, longest)
    except CosegError:
        raise
    except (OSError, ValueError, TypeError) as error:  # closed, not open for reading, or a connection that broke off
        raise CosegError(f"{name} cannot be read ({error}): give a file that is open for reading, or bytes.") from error


def _in_memory(file: Any, name: str) -> io.BytesIO:
    """What is left of a file that can't seek."""
    copy = io.BytesIO()
    while piece := file.read(_PIECE):
        copy.write(piece)
        if copy.tell() > MAX_WHOLE:
            raise CosegError(
                f"{name} has more than {MAX_WHOLE // 2**20} MB and can't be read in parts: save it as a file first."
            )
    return copy


def _from_stream(stream: Any, name: str, longest: int | None) -> Photograph:
    draft = None if longest is None else _DRAFT * longest
    return _decoded(_opened(stream, name), name, name, longest, draft, lambda _: _opened(stream, name))


def _opened(file: Path | BinaryIO, name: str) -> Image.Image:
    """The opened file, of which only the header is read; `name` is for messages.

    PIL warns of large images and refuses larger ones; its limit is replaced by ours, which is checked afterwards.
    """
    try:
        with _opening:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return open_image(file)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except FileNotFoundError:
        raise CosegError(f"{name} is missing: check its name.") from None
    except PermissionError as error:
        raise CosegError(f"{name} cannot be read ({error.strerror}): check its permissions.") from None
    except UNREADABLE as error:
        raise CosegError(f"{name} is not an image that can be read{_advice(error)}") from error


def _advice(error: Exception) -> str:
    if isinstance(error, HeicNotInstalled):
        return f": {error}."
    if not isinstance(error, Image.UnidentifiedImageError):
        return f" ({error}): save it again as JPEG or PNG, or leave it out."
    return ": save it as JPEG or PNG, or leave it out."


def _decoded(
    image: Image.Image,
    where: str,
    name: str,
    longest: int | None,
    draft: int | None = None,
    reopen: Callable[[str], Image.Image] | None = None,
) -> Photograph:
    """The photograph in an open file or a PIL image, which is not changed.

    A file may be decoded near `draft`. `reopen` opens a file that has no name again.
    """
    _check(image, where)
    width, height = image.size
    try:
        if draft is not None:  # only JPEG can be decoded at smaller sizes; for other formats nothing happens
            image.draft(None, (draft, draft))
        exif = exif_of(image) if longest is None and image.format == "TIFF" else None  # to load it closes its file
        image.load()
        if image.format == "TIFF":  # PIL has rotated it and removed the orientation
            width, height = image.size
        orientation = orientation_of(image)
        if longest is None and image.format != "TIFF":  # in a PNG it may come after the pixels
            exif = exif_of(image)
        profile = profile_of(image)
        image = deepened(image, reopen or (lambda path: _opened(Path(path), where)), nameless=reopen is not None)
        if image.mode == "CMYK":
            image = converted(image, image.info.get("icc_profile"))
        plain = image.mode == "RGB" and "transparency" not in image.info
        shrunk = _shrunk(image if plain else as_rgb(where, image), longest)
    except MemoryError:
        raise CosegError(f"{where} does not fit in memory, {width:,} x {height:,} pixels: make it smaller.") from None
    except UNREADABLE as error:
        raise CosegError(
            f"{where} cannot be decoded ({error}): the file is damaged or incomplete. Copy it again from its source, "
            "or leave it out."
        ) from error
    upright = shrunk.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else shrunk
    size = (width, height) if orientation >= 5 else (height, width)
    return Photograph(np.array(upright), size, name, profile, exif)


def _check(file: Image.Image, where: str) -> None:
    """Refuse unsupported images by their header."""
    _check_size(where, *file.size)
    try:
        frames = getattr(file, "n_frames", 1) if file.format in _MOVING else 1
    except UNREADABLE as error:
        raise CosegError(f"{where} cannot be decoded ({error}): the file is damaged or incomplete.") from error
    if frames > 1:
        raise CosegError(
            f"{where} is animated or has several pages ({frames} pictures): save one of them as JPEG or PNG."
        )


def _check_size(where: str, width: int, height: int) -> None:
    if width < MIN_SIDE or height < MIN_SIDE:
        raise CosegError(f"{where} is {width} x {height} pixels: it must have at least {MIN_SIDE} a side.")
    if width * height > MAX_PIXELS:
        raise CosegError(
            f"{where} is {width:,} x {height:,} pixels, {width * height / 1e6:,.0f} megapixels: more than "
            f"{MAX_PIXELS / 1e6:.0f} are refused, since they may not fit in memory. Make it smaller."
        )


def in_srgb(photograph: Photograph) -> Photograph:
    """A photograph in the colours that networks and screens expect; one whose profile is damaged stays as it is."""
    if photograph.profile is None:
        return photograph
    pixels = np.empty_like(photograph.pixels)
    for start in range(0, len(pixels), _STRIP):  # PIL's copies of a large photograph would take twice its memory
        strip = Image.fromarray(photograph.pixels[start : start + _STRIP])
        in_colours = converted(strip, photograph.profile)
        if in_colours is strip:
            return photograph._replace(profile=None)
        pixels[start : start + _STRIP] = np.asarray(in_colours)
    return photograph._replace(pixels=pixels, profile=None)


def _shrunk(image: Image.Image, longest: int | None) -> Image.Image:
    """An RGB image reduced to a longer side of at most `longest`, bilinear with antialiasing."""
    scale = 1.0 if longest is None else longest / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)


def _values(source: Any, name: str) -> NDArray[Any]:
    """An array or a tensor as (H, W), (H, W, 3) or (H, W, 4)."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        try:
            tensor = source.detach().cpu()
            values = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        except (RuntimeError, TypeError, NotImplementedError) as error:  # sparse, quantized, or without values
            first = str(error).partition("\n")[0].rstrip(".")
            raise CosegError(f"{name} is a tensor that gives no array ({first}): give a dense one.") from error
        if values.ndim != 3 or values.shape[0] not in (1, 3, 4):
            raise CosegError(f"{name} is a tensor of shape {values.shape}, but must be (3, height, width), one image.")
        values = np.moveaxis(values, 0, -1)
    elif isinstance(source, np.ndarray):
        values = source
        if values.ndim != 2 and (values.ndim != 3 or values.shape[-1] not in (1, 3, 4)):
            raise CosegError(f"{name} is an array of shape {values.shape}, but must be (height, width, 3), one image.")
    else:
        raise CosegError(
            f"{name} is a {type(source).__name__}, but must be a path, bytes, a file, a PIL image, an array or tensor."
        )
    return values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values


def _in_bytes(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if not np.issubdtype(values.dtype, np.floating):
        raise CosegError(f"{name} holds {values.dtype}, but must be uint8 in 0..255 or floating point in 0..1.")
    if not np.isfinite(values).all():
        raise CosegError(f"{name} holds numbers that are not finite (NaN or infinity): replace them.")
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise CosegError(f"{name} holds floating-point numbers outside of 0..1: divide them by 255.")
    return np.ascontiguousarray(values * np.float32(255) + 0.5).astype(np.uint8)
