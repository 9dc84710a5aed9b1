"""Pictures of pairs: image, truth and prediction side by side, with ids, common classes and IoU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.data.dataset import COMMON, OTHER, PairBatch, target_table
from coseg.evaluation.scores import mask_score
from coseg.files import atomic_path

PAPER, INK, FAINT = (255, 255, 255), (32, 32, 32), (120, 120, 120)
TRUTH, PREDICTION, OTHER_OBJECT = (46, 204, 64), (255, 110, 20), (205, 205, 205)
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
    tiles = 3 if any(side.prediction is not None for row in rows for side in row) else 2
    half = tiles * tile + (tiles - 1) * GAP
    picture = Image.new("RGB", (2 * half + MIDDLE + 2 * GAP, GAP + LINE + len(rows) * (LINE + tile + 2 * GAP)), PAPER)
    draw = ImageDraw.Draw(picture)
    lefts = (GAP, GAP + half + MIDDLE)
    for left in lefts:
        for column, head in enumerate(HEADS[:tiles]):
            draw.text((left + column * (tile + GAP), GAP), _fit(draw, head, tile, _font(tile)), FAINT, _font(tile))
    top = GAP + LINE
    for row in rows:
        for left, side in zip(lefts, row, strict=True):
            draw.text((left, top), _fit(draw, side.caption, half, _font(tile)), INK, _font(tile))
            for column, pixels in enumerate(_tiles(side, tile)):
                picture.paste(Image.fromarray(pixels), (left + column * (tile + GAP), top + LINE))
        top += LINE + tile + 2 * GAP
    return np.asarray(picture)


def save_panel(path: str | Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture, uint8 (H, W, 3), as PNG."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def _tiles(side: PanelSide, tile: int) -> tuple[NDArray[np.uint8], ...]:
    """Image, truth and, where there is one, prediction, each uint8 (tile, tile, 3)."""
    height, width = side.target.shape
    scale = tile / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = np.asarray(Image.fromarray(side.image).resize(size, Image.Resampling.LANCZOS))
    masks = [side.target == COMMON, side.target == OTHER]
    if side.prediction is not None:
        masks.append(side.prediction)
    truth, other, *predictions = (
        np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)) for mask in masks
    )
    outlined = _outlined(image, other, OTHER_OBJECT)
    marked = [(truth, TRUTH), *((prediction, PREDICTION) for prediction in predictions)]
    pictures = (_outlined(_tinted(outlined, mask, colour), truth, TRUTH) for mask, colour in marked)
    return tuple(_letterboxed(pixels, tile) for pixels in (image, *pictures))


def _tinted(image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The masked pixels in `colour` over grey, the others in faded colours, so that the mask stands out."""
    grey = image.mean(-1, keepdims=True)
    mixed = np.where(mask[..., None], 0.45 * grey + 0.55 * np.array(colour), 0.8 * (0.3 * image + 0.7 * grey))
    return mixed.astype(np.uint8)


def _outlined(image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The pixels of the mask that touch a pixel outside of it, in `colour`; the image's own border is no outline."""
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.where((mask & ~inside)[..., None], np.array(colour, np.uint8), image)


def _letterboxed(image: NDArray[np.uint8], tile: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    top, left = (tile - height) // 2, (tile - width) // 2
    return np.pad(image, ((top, tile - height - top), (left, tile - width - left), (0, 0)), constant_values=236)


def _font(tile: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=12 if tile >= 120 else 10)


def _fit(draw: ImageDraw.ImageDraw, text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """`text`, cut at its end so that it is at most `width` pixels wide."""
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
