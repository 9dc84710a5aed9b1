"""Pictures of tested images: image, truth and prediction side by side, with ids, common classes and IoU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.data.dataset import PairBatch
from coseg.imaging.draw import (
    BASELINE,
    FAINT,
    INK,
    OTHER_OBJECT,
    PAPER,
    PREDICTION,
    TRUTH,
    caption,
    caption_size,
    draw_line,
    fitted,
    letterboxed,
    outlined,
    tinted,
)
from coseg.labels import COMMON, OTHER, target_table
from coseg.metrics.mask_counts import mask_score, predicted_mask

HEADS = ("image", "truth", "prediction, truth outlined")
GAP, LINE, MIDDLE = 4, 17, 14
"""Pixels between tiles, for a line of text, and between the images of a row."""


class PanelSide(NamedTuple):
    """One image of a pair, or of a group.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        target: uint8 (H, W), values as in `coseg.labels`.
        prediction: bool (H, W); None where nothing was predicted.
        caption: one short line.
    """

    image: NDArray[np.uint8]
    target: NDArray[np.uint8]
    prediction: NDArray[np.bool_] | None
    caption: str


PanelRow = tuple[PanelSide, ...]
"""The two images of a pair, or one or two images of a group."""


def panel_side(
    image: NDArray[np.uint8],
    target: NDArray[np.uint8],
    logits: Tensor,
    words: Sequence[str],
    void: str = "background",
) -> PanelSide:
    """An image with what was predicted, its IoU in the caption.

    Args:
        image: uint8 (H, W, 3).
        target: uint8 (H, W).
        logits: (2, H, W).
        words: of the caption: the first stands before the IoU.
        void: how the IoU treats void pixels.
    """
    prediction = predicted_mask(logits.detach()[None])[0].cpu()
    iou = float(mask_score(prediction, torch.from_numpy(target), void).iou)
    first, *rest = words
    text = [first, "no common object" if math.isnan(iou) else f"IoU {iou:.2f}", *rest]
    return PanelSide(image, target, prediction.numpy(), "  ·  ".join(filter(None, text)))


def panel_row(
    batch: PairBatch, logits: tuple[Tensor, Tensor], catalog: Catalog, k: int = 0, void: str = "background"
) -> PanelRow:
    """The row of pair `k` of a batch.

    Args:
        batch: B pairs.
        logits: of both images, (B, 2, H, W) and (B, 2, H', W').
        catalog: the images that `batch` is of; gives ids and class names.
        k: which of the B pairs.
        void: how the IoU in the caption treats void pixels.
    """
    common = [name for name, shared in zip(catalog.class_names, batch["common"][k], strict=True) if shared]
    images, targets = (batch["image_a"], batch["image_b"]), (batch["target_a"], batch["target_b"])
    sides = []
    for image, target, scores, i in zip(images, targets, logits, batch["pair"][k].tolist(), strict=True):
        pixels, truth = image[k].permute(1, 2, 0).cpu().numpy(), target[k].cpu().numpy()
        sides.append(panel_side(pixels, truth, scores[k], (catalog.ids[i], ", ".join(common)), void))
    return tuple(sides)


def in_twos(rows: Sequence[PanelRow]) -> list[PanelRow]:
    """Rows of one image each as rows of two, the last perhaps of one; rows of two as they are."""
    if any(len(row) > 1 for row in rows):
        return list(rows)
    sides = [side for row in rows for side in row]
    return [tuple(sides[k : k + 2]) for k in range(0, len(sides), 2)]


def truth_row(catalog: Catalog, i: int, j: int) -> PanelRow:
    """The row of images ``i`` and ``j`` of a catalog, without a prediction."""
    common = catalog.presence[i] & catalog.presence[j]
    names = ", ".join(name for name, shared in zip(catalog.class_names, common, strict=True) if shared)
    return tuple(
        PanelSide(catalog.image(k), target_table(common)[catalog.labels(k)], None, f"{catalog.ids[k]}  ·  {names}")
        for k in (i, j)
    )


def draw_panel(rows: Sequence[PanelRow], tile: int = 160) -> NDArray[np.uint8]:
    """A line of six tiles for each pair: image, truth and prediction of the first image, then of the second.

    Without predictions there are four. A row of one image fills half of a line.

    The truth is green, the prediction orange under the outline of the truth; objects that are not common to the pair
    are outlined in grey. Images are resized to fit square tiles; their aspect ratio stays.

    Args:
        rows: of one or two images each.
        tile: side of a tile in pixels.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    tiles = 2 if rows and all(side.prediction is None for row in rows for side in row) else 3
    half = tiles * tile + (tiles - 1) * GAP
    picture = Image.new("RGB", (2 * half + MIDDLE + 2 * GAP, GAP + LINE + len(rows) * (LINE + tile + 2 * GAP)), PAPER)
    draw = ImageDraw.Draw(picture)
    size = caption_size(tile)
    lefts = (GAP, GAP + half + MIDDLE)
    for left in lefts:
        for column, head in enumerate(HEADS[:tiles]):
            draw_line(draw, left + column * (tile + GAP), GAP + BASELINE, caption(draw, head, size, tile), FAINT)
    top = GAP + LINE
    for row in rows:
        for left, side in zip(lefts, row, strict=False):
            draw_line(draw, left, top + BASELINE, caption(draw, side.caption, size, half), INK)
            for column, pixels in enumerate(_tiles(side, tile)):
                picture.paste(Image.fromarray(pixels), (left + column * (tile + GAP), top + LINE))
        top += LINE + tile + 2 * GAP
    return np.asarray(picture)


def _tiles(side: PanelSide, tile: int) -> tuple[NDArray[np.uint8], ...]:
    """Image, truth and, where there is one, prediction, each uint8 (tile, tile, 3)."""
    image, truth, distractor = (
        fitted(picture, tile) for picture in (side.image, side.target == COMMON, side.target == OTHER)
    )
    masks = [(truth, TRUTH)]
    if side.prediction is not None:
        masks.append((fitted(side.prediction, tile), PREDICTION))
    ground = outlined(image, distractor, OTHER_OBJECT)
    pictures = (outlined(tinted(ground, mask, colour), truth, TRUTH) for mask, colour in masks)
    return tuple(letterboxed(pixels, tile) for pixels in (image, *pictures))
