"""Pictures of pairs: image, truth and prediction side by side, with ids, common classes and IoU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.data.dataset import COMMON, OTHER, PairBatch, target_table
from coseg.evaluation.pictures import (
    FAINT,
    INK,
    OTHER_OBJECT,
    PAPER,
    PREDICTION,
    TRUTH,
    caption_font,
    fitted,
    letterboxed,
    outlined,
    shortened,
    tinted,
)
from coseg.evaluation.scores import mask_score

HEADS = ("image", "truth", "prediction, truth outlined")
GAP, LINE, MIDDLE = 4, 17, 14
"""Pixels between tiles, for a line of text, and between the two images of a pair."""


class PanelSide(NamedTuple):
    """One image of a pair.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        target: uint8 (H, W), values as in `coseg.data.dataset`.
        prediction: bool (H, W); None where nothing was predicted.
        caption: one short line.
    """

    image: NDArray[np.uint8]
    target: NDArray[np.uint8]
    prediction: NDArray[np.bool_] | None
    caption: str


class PanelRow(NamedTuple):
    """One pair."""

    a: PanelSide
    b: PanelSide


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
        prediction, truth = scores[k].detach().argmax(0).bool().cpu(), target[k].cpu()
        iou = float(mask_score(prediction, truth, void).iou)
        words = [catalog.ids[i], "no common object" if math.isnan(iou) else f"IoU {iou:.2f}", ", ".join(common)]
        pixels = image[k].permute(1, 2, 0).cpu().numpy()
        sides.append(PanelSide(pixels, truth.numpy(), prediction.numpy(), "  ·  ".join(filter(None, words))))
    return PanelRow(*sides)


def truth_row(catalog: Catalog, i: int, j: int) -> PanelRow:
    """The row of images ``i`` and ``j`` of a catalog, without a prediction."""
    common = catalog.presence[i] & catalog.presence[j]
    names = ", ".join(name for name, shared in zip(catalog.class_names, common, strict=True) if shared)
    a, b = (
        PanelSide(catalog.image(k), target_table(common)[catalog.labels(k)], None, f"{catalog.ids[k]}  ·  {names}")
        for k in (i, j)
    )
    return PanelRow(a, b)


def draw_panel(rows: Sequence[PanelRow], tile: int = 160) -> NDArray[np.uint8]:
    """A line of six tiles for each pair: image, truth and prediction of the first image, then of the second.

    Rows without predictions make four tiles.

    The truth is green, the prediction orange under the outline of the truth; objects that are not common to the pair
    are outlined in grey. Images are fitted into square tiles, their shape kept.

    Args:
        rows: the pairs.
        tile: side of a tile in pixels.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    tiles = 2 if rows and all(side.prediction is None for row in rows for side in row) else 3
    half = tiles * tile + (tiles - 1) * GAP
    picture = Image.new("RGB", (2 * half + MIDDLE + 2 * GAP, GAP + LINE + len(rows) * (LINE + tile + 2 * GAP)), PAPER)
    draw = ImageDraw.Draw(picture)
    font = caption_font(tile)
    lefts = (GAP, GAP + half + MIDDLE)
    for left in lefts:
        for column, head in enumerate(HEADS[:tiles]):
            draw.text((left + column * (tile + GAP), GAP), shortened(draw, head, tile, font), FAINT, font)
    top = GAP + LINE
    for row in rows:
        for left, side in zip(lefts, row, strict=True):
            draw.text((left, top), shortened(draw, side.caption, half, font), INK, font)
            for column, pixels in enumerate(_tiles(side, tile)):
                picture.paste(Image.fromarray(pixels), (left + column * (tile + GAP), top + LINE))
        top += LINE + tile + 2 * GAP
    return np.asarray(picture)


def _tiles(side: PanelSide, tile: int) -> tuple[NDArray[np.uint8], ...]:
    """Image, truth and, where there is one, prediction, each uint8 (tile, tile, 3)."""
    image, truth, other = (fitted(each, tile) for each in (side.image, side.target == COMMON, side.target == OTHER))
    marked = [(truth, TRUTH)]
    if side.prediction is not None:
        marked.append((fitted(side.prediction, tile), PREDICTION))
    ground = outlined(image, other, OTHER_OBJECT)
    pictures = (outlined(tinted(ground, mask, colour), truth, TRUTH) for mask, colour in marked)
    return tuple(letterboxed(pixels, tile) for pixels in (image, *pictures))
