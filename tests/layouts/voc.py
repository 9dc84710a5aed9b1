"""Write images and label maps in the disk layout of PASCAL VOC: for generated data sets and for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

JPEG_QUALITY = 95


def voc_palette() -> NDArray[np.uint8]:
    """The colours of VOC's masks, uint8 (256, 3).

    The bits of a label are dealt in threes to red, green and blue, from each channel's highest bit down
    (`VOClabelcolormap` in the VOC development kit).
    """
    labels = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for level in range(8):
        for channel in range(3):
            bit = (labels >> (3 * level + channel)) & 1
            palette[:, channel] |= (bit << (7 - level)).astype(np.uint8)
    return palette


def write_voc(
    root: Path,
    items: Iterable[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]],
    lists: Mapping[str, Sequence[str]],
) -> None:
    """Write ``root/{JPEGImages,SegmentationClass,ImageSets/Segmentation}``, the layout of ``VOCdevkit/VOC2012``.

    Files that exist are overwritten, others are left alone. `items` is consumed one by one, so it may be a generator.
    The lists are written last: a folder that has them is whole.

    Args:
        root: the folder, made if it is missing.
        items: ``(id, image, labels)``: RGB uint8 (H, W, 3), written as ``JPEGImages/<id>.jpg``, and the label map
            uint8 (H, W), written as the palette mask ``SegmentationClass/<id>.png``.
        lists: the ids of each list, written as ``ImageSets/Segmentation/<name>.txt``, one id a line.

    Raises:
        ValueError: an image or a label map is not uint8 of the shape said above.
    """
    images, masks, sets = root / "JPEGImages", root / "SegmentationClass", root / "ImageSets" / "Segmentation"
    for folder in (images, masks, sets):
        folder.mkdir(parents=True, exist_ok=True)
    palette = voc_palette().tobytes()
    for name, image, labels in items:
        if image.dtype != np.uint8 or labels.dtype != np.uint8 or image.shape != (*labels.shape, 3):
            raise ValueError(
                f"{name}: image {image.dtype} {image.shape} and labels {labels.dtype} {labels.shape}, "
                "expected uint8 (H, W, 3) and uint8 (H, W)"
            )
        Image.fromarray(image).save(images / f"{name}.jpg", quality=JPEG_QUALITY)
        mask = Image.fromarray(labels)
        mask.putpalette(palette)
        mask.save(masks / f"{name}.png")
    for name, ids in lists.items():
        (sets / f"{name}.txt").write_text("".join(f"{i}\n" for i in ids), encoding="utf-8")
