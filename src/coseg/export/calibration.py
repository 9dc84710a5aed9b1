"""Photographs that show a quantisation which values occur."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.data.images import SUFFIXES
from coseg.errors import CosegError
from coseg.inference.photographs import load_photograph
from coseg.inference.pretrained import Pretrained

_LONGEST = 1024
"""Longest side for a network of any input size whose model names none."""

Picture = Path | NDArray[np.uint8]


def folder_images(folder: Path, count: int) -> list[Picture]:
    """The photographs of a folder and those within, at most `count`, evenly from their sorted names.

    Raises:
        CosegError: there is no such folder, or no photograph in it.
    """
    if not folder.is_dir():
        raise CosegError(f"There is no folder {folder}: --calibrate takes a folder of photographs, or dataset=...")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise CosegError(f"{folder} holds no photographs ({', '.join(sorted(SUFFIXES))}): give another to --calibrate.")
    return [found[k] for k in _evenly(len(found), count)]


def catalog_images(catalog: Catalog, count: int) -> Iterator[Picture]:
    """At most `count` images of a catalog, evenly from its order."""
    return (catalog.image(k) for k in _evenly(len(catalog), count))


def resized(pictures: Iterable[Picture], model: Pretrained, size: int | None = None) -> list[Tensor]:
    """Images uint8 (1, 3, H, W) as a server gives them to a model's `encode`, at `size` or the model's own.

    Raises:
        CosegError: one of them is no photograph.
    """
    size = model.settings.get("size") if size is None else size
    square = model.network.input_size
    images = []
    for picture in pictures:
        longest = (size or _LONGEST) if square is None else None
        pixels = load_photograph(picture, longest).pixels
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
        images.append(image if square is None else _square(image, size or square))
    return images


def _square(image: Tensor, side: int) -> Tensor:
    small: Any = torch.nn.functional.interpolate(
        image.float(), (side, side), mode="bilinear", align_corners=False, antialias=True
    )
    return small.clamp(0, 255).round().to(torch.uint8)


def _evenly(total: int, count: int) -> list[int]:
    return sorted({k * total // count for k in range(count)}) if total > count else list(range(total))
