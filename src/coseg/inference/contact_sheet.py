"""A contact sheet: each photograph beside its overlay, with its name and the share of its foreground."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from coseg.errors import CosegError
from coseg.imaging.draw import (
    BASELINE,
    FAINT,
    INK,
    PAPER,
    Piece,
    caption,
    caption_size,
    cut,
    draw_line,
    line_width,
    save_picture,
)
from coseg.inference import outputs
from coseg.inference.outputs import Tiles

_MARGIN, _GAP, _BETWEEN, _LINE, _TITLE, _SPACE = 16, 2, 16, 20, 34, 8
"""Pixels around the sheet, between the tiles of a card, between cards, for a caption, for the title, and between the
name and the figure of a caption."""


_FIGURE = 0.6
"""Of the room for a caption: what the figure may always have; it gets more where the name is short."""


class Layout(NamedTuple):
    """How the cards of a sheet are arranged.

    Attributes:
        tile: the longest side of a picture, in pixels.
        columns: cards in a row.
        together: how many neighbours belong together: 2 in pairs.
    """

    tile: int
    columns: int
    together: int = 1

    def left(self, column: int) -> int:
        """Where a column starts, in pixels; cards that belong together are closer."""
        extra = 0 if self.together == 1 else _BETWEEN
        return _MARGIN + column * (2 * self.tile + _GAP + _BETWEEN - extra // 2) + column // self.together * extra


def layout(count: int, pairs: bool = False) -> Layout:
    """The layout for so many cards, at most 1500 pixels wide; in `pairs` the two cards of a pair stay in a row."""
    if pairs:
        return Layout(320, 2, 2) if count <= 2 else Layout(160, 4, 2)
    if count <= 4:
        return Layout(320, min(2, max(count, 1)))
    if count <= 12:
        return Layout(220, 3)
    return Layout(160, 4) if count <= 48 else Layout(112, 6)


class Card(NamedTuple):
    """One image on a sheet.

    Attributes:
        tiles: the photograph and its overlay, no side longer than the layout's tile.
        caption: one line, cut at its end where there is no room for it.
        figure: text after the caption, cut at its end where it would leave the caption too little room.
        number: of the image in the printed list; it replaces a caption that no installed font can draw.
    """

    tiles: Tiles
    caption: str
    figure: str
    number: int = 1


class ContactSheet:
    """Collects cards and writes sheets; holds the cards of one sheet at most.

    Args:
        paths: the file of each sheet, see `coseg.inference.outputs.sheet_paths`; None: a sheet that is not drawn.
        form: of all sheets.
        title: one line on top.
    """

    def __init__(self, paths: Sequence[Path | None], form: Layout, title: str) -> None:
        self.form = form
        self.title = title
        self.written: list[Path] = []
        self._paths = list(paths)
        self._cards: list[Card] = []

    def add(self, card: Card) -> None:
        """Add a card; a full sheet is written.

        Raises:
            CosegError: it cannot be written.
        """
        self._cards.append(card)
        if len(self._cards) == outputs.CARDS_PER_SHEET:
            self.close()

    def close(self) -> None:
        """Write the cards that are left.

        Raises:
            CosegError: it cannot be written.
        """
        if not self._cards:
            return
        path, cards, self._cards = self._paths.pop(0), self._cards, []
        if path is not None:
            try:
                save_picture(path, draw_sheet(cards, self.form, self.title))
            except OSError as error:
                raise CosegError(
                    f"{path} cannot be written ({error.strerror or error}): make room, or check its permissions."
                ) from error
            self.written.append(path)


def draw_sheet(cards: Sequence[Card], form: Layout, title: str) -> NDArray[np.uint8]:
    """One sheet, uint8 (H, W, 3). A row is as high as its highest picture."""
    rows = [cards[k : k + form.columns] for k in range(0, len(cards), form.columns)]
    heights = [max(tile.shape[0] for card in row for tile in card.tiles) for row in rows]
    width = form.left(form.columns - 1) + 2 * form.tile + _GAP + _MARGIN
    height = _MARGIN + _TITLE + sum(heights) + len(rows) * (_LINE + _BETWEEN)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw_line(draw, _MARGIN, _MARGIN + BASELINE, caption(draw, title, 16, width - 2 * _MARGIN), INK)
    top = _MARGIN + _TITLE
    for row, high in zip(rows, heights, strict=True):
        for column, card in enumerate(row):
            _draw_card(sheet, draw, card, (form.left(column), top), form.tile, high)
        top += high + _LINE + _BETWEEN
    return np.asarray(sheet)


def _draw_card(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, card: Card, corner: tuple[int, int], tile: int, high: int
) -> None:
    """The two pictures, aligned at the bottom and towards the middle, and the caption below."""
    left, top = corner
    for k, picture in enumerate(card.tiles):
        height, width = picture.shape[:2]
        start = left + tile - width if k == 0 else left + tile + _GAP
        sheet.paste(Image.fromarray(picture), (start, top + high - height))
    first = left + tile - card.tiles[0].shape[1]
    last = left + tile + _GAP + card.tiles[1].shape[1]
    size, widest = caption_size(tile), 2 * tile + _GAP - _SPACE
    name, figure = _name(draw, card, size, widest), caption(draw, card.figure, size, widest)
    if line_width(draw, name) + line_width(draw, figure) > last - first - _SPACE:  # it has the card's width
        first, last = left, left + 2 * tile + _GAP
        figure = caption(draw, card.figure, size, max(_FIGURE * widest, widest - line_width(draw, name)))
        name = _name(draw, card, size, widest - line_width(draw, figure))
    baseline = top + high + 3 + BASELINE
    draw_line(draw, first, baseline, name, INK)
    draw_line(draw, last - line_width(draw, figure), baseline, figure, FAINT)


def _name(draw: ImageDraw.ImageDraw, card: Card, size: int, widest: float) -> list[Piece]:
    # Letters beyond ASCII have more strokes or diacritics: they are drawn a little larger.
    name = cut(draw, card.caption, size if card.caption.isascii() else size + 2, widest)
    return caption(draw, f"No. {card.number}", size, widest) if name is None else name
