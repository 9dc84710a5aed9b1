"""What pictures of masks are made of: colours, tints, outlines and tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.files import atomic_path

PAPER, INK, FAINT = (255, 255, 255), (32, 32, 32), (120, 120, 120)
TRUTH, PREDICTION, OTHER_OBJECT = (46, 204, 64), (255, 110, 20), (205, 205, 205)
"""Colours of the ground, of text and of masks."""


def tinted(image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The masked pixels in `colour` over grey, the others in faded colours, so that the mask stands out."""
    grey = image.mean(-1, keepdims=True)
    mixed = np.where(mask[..., None], 0.45 * grey + 0.55 * np.array(colour), 0.8 * (0.3 * image + 0.7 * grey))
    return mixed.astype(np.uint8)


def outlined(image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The pixels of the mask that touch a pixel outside of it, in `colour`; the image's own border is no outline."""
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.where((mask & ~inside)[..., None], np.array(colour, np.uint8), image)


def fitted(picture: NDArray[Any], tile: int) -> NDArray[Any]:
    """An image (H, W, 3) or a mask (H, W) at the size at which its longer side is `tile` pixels, its shape kept."""
    height, width = picture.shape[:2]
    scale = tile / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = Image.Resampling.LANCZOS if picture.ndim == 3 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize(size, how))


def letterboxed(picture: NDArray[np.uint8], tile: int, fill: int = 236) -> NDArray[np.uint8]:
    """A fitted image (H, W, 3) or mask (H, W) in the middle of a square tile, with `fill` beside it."""
    height, width = picture.shape[:2]
    top, left = (tile - height) // 2, (tile - width) // 2
    margins = ((top, tile - height - top), (left, tile - width - left), (0, 0))
    return np.pad(picture, margins[: picture.ndim], constant_values=fill)


def caption_size(tile: int) -> int:
    """Of the letters beside tiles of this size, in pixels."""
    return 12 if tile >= 120 else 10


def save_picture(path: str | Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture, uint8 (H, W, 3), as PNG."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
