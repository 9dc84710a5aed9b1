"""What is written of a photograph and its segment: the mask, an overlay, and the object cut out."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.errors import CosegError
from coseg.evaluation.pictures import PREDICTION, fitted
from coseg.files import atomic_path
from coseg.inference.photographs import Photograph, load_photograph
from coseg.inference.segment import Segment

PICTURES = {"mask": "_mask.png", "overlay": "_overlay.jpg", "cutout": "_cutout.png"}
"""What there is of each image, and how the name of its file ends."""

OVERLAY_SIDE = 1600
"""Longest side of an overlay in pixels: it is there to be looked at."""

_QUICK = 1
"""PNG's compression: 9 takes several times as long as 1, for files that are hardly smaller."""

_PNG_HEADER = 33  # bytes of the signature and of the first chunk, IHDR
_STRIP = 64  # rows of a large picture that are worked on at once

Tiles = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""A photograph and its overlay, uint8 (h, w, 3)."""


def write_pictures(source: Path, segment: Segment, files: Mapping[str, Path], tile: int | None = None) -> Tiles | None:
    """Write the pictures of one image.

    Each is whole or not there. Masks and cut-outs have the size of the original, overlays at most `OVERLAY_SIDE`; an
    original is decoded no larger than the largest picture of it asks for.

    Args:
        source: the photograph.
        segment: of it.
        files: the file of each picture of `PICTURES` that is wanted.
        tile: the longer side of what comes back for a contact sheet, enlarged if need be; None: nothing comes back.

    Raises:
        CosegError: the photograph cannot be read any more, or a file cannot be written.
    """
    tiles = None
    if "overlay" in files or "cutout" in files or tile is not None:
        longest = OVERLAY_SIDE if "overlay" in files else tile
        photograph = load_photograph(source, None if "cutout" in files else longest)
        pixels = photograph.pixels if longest is None else _at_most(photograph.pixels, longest)
        if "overlay" in files:
            picture = overlaid(pixels, _mask_at(segment, pixels))
            _save(Image.fromarray(picture), files["overlay"], photograph, quality=90)
        if tile is not None:
            small = _at_most(pixels, tile) if max(pixels.shape[:2]) > tile else fitted(pixels, tile)
            tiles = small, overlaid(small, _mask_at(segment, small))
        del pixels
    if "mask" in files or "cutout" in files:
        mask = segment.mask()
        if "mask" in files:
            _save(Image.fromarray(mask.view(np.uint8) * np.uint8(255)), files["mask"], compress_level=_QUICK)
        if "cutout" in files:
            _save_cutout(cut_out(photograph.pixels, mask), files["cutout"], photograph.profile)
    return tiles


def overlaid(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The object in its own colours, outlined, and all else faded, uint8 (h, w, 3).

    The outline is drawn outside of the mask; its width grows with the image.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    faded = np.asarray(np.repeat((grey // 2 + 112)[..., None], 3, -1), np.uint8)
    inside = mask.astype(np.uint8)
    width = 2 * max(1, round(max(mask.shape) / 320)) + 1
    around = cv2.dilate(inside, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    np.copyto(faded, np.array(PREDICTION, np.uint8), where=(around > inside)[..., None])
    np.copyto(faded, image, where=mask[..., None])
    return faded


def cut_out(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The object on nothing, RGBA, uint8 (H, W, 4): what is transparent is black as well."""
    picture = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    for start in range(0, len(mask), _STRIP):
        pixels = picture[start : start + _STRIP].view(np.uint32)[..., 0]
        np.multiply(pixels, mask[start : start + _STRIP], out=pixels)
    return np.asarray(picture, np.uint8)


def _at_most(pixels: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """`pixels`, or a copy whose longer side is `longest`; each of its pixels is the mean of those that it covers."""
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _mask_at(segment: Segment, pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The mask at the size of `pixels`, a smaller copy of the photograph."""
    return replace(segment, size=pixels.shape[:2]).mask()


def _save(picture: Image.Image, path: Path, photograph: Photograph | None = None, **options: Any) -> None:
    if photograph is not None and photograph.profile is not None:
        options["icc_profile"] = photograph.profile
    with _told(path), atomic_path(path) as temporary:
        picture.save(temporary, **options)


def _save_cutout(picture: NDArray[np.uint8], path: Path, profile: bytes | None) -> None:
    """Write RGBA as PNG by OpenCV, in half of the time that PIL takes; `picture` is used up.

    OpenCV knows no colour profiles, so that becomes a chunk of its own, right after the header (PNG 1.2, 4.2.2.4).
    """
    cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA, picture)
    written, encoded = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, _QUICK])
    if not written:
        raise CosegError(f"{path} cannot be written: the picture could not be encoded.")
    with _told(path), atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(encoded[:_PNG_HEADER].data)
        if profile is not None:
            chunk = b"iCCPICC Profile\0\0" + zlib.compress(profile)
            file.write(struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)))
        file.write(encoded[_PNG_HEADER:].data)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CosegError(f"{path} cannot be written ({error.strerror or error}): see that there is room.") from error
