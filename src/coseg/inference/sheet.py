"""A contact sheet: each photograph beside what was marked in it, with its name and the share that is marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from coseg.errors import CosegError
from coseg.evaluation.fonts import BASELINE, caption, cut, draw_line, line_width, pieces
from coseg.evaluation.pictures import FAINT, INK, PAPER, caption_size, save_picture
from coseg.inference.outputs import Tiles

PAGE = 240
"""Cards on one sheet; more go onto further sheets."""

_MARGIN, _GAP, _BETWEEN, _LINE, _TITLE = 16, 2, 16, 20, 34
"""Pixels around the sheet, between the tiles of a card, between cards, for a caption, and for the title."""


class Layout(NamedTuple):
    """How cards are set.

    Attributes:
        tile: the longest side of a picture, in pixels.
        columns: cards in a row.
        together: neighbours that belong together: 2 in pairs.
    """

    tile: int
    columns: int
    together: int = 1

    def left(self, column: int) -> int:
        """Where a column starts, in pixels; those that belong together stand closer."""
        extra = 0 if self.together == 1 else _BETWEEN
        return _MARGIN + column * (2 * self.tile + _GAP + _BETWEEN - extra // 2) + column // self.together * extra


def layout(count: int, pairs: bool = False) -> Layout:
    """The layout of so many cards, at most 1500 pixels wide; in `pairs` two cards that follow stay in a row."""
    if pairs:
        return Layout(320, 2, 2) if count <= 2 else Layout(160, 4, 2)
    if count <= 4:
        return Layout(320, min(2, max(count, 1)))
    if count <= 12:
        return Layout(220, 3)
    return Layout(160, 4) if count <= 48 else Layout(112, 6)


def sheet_paths(folder: Path, count: int) -> list[Path]:
    """The files of the sheets that so many cards take: ``sheet.png``, ``sheet-2.png`` and so on."""
    pages = -(-count // PAGE)
    return [folder / ("sheet.png" if page == 1 else f"sheet-{page}.png") for page in range(1, pages + 1)]


class Card(NamedTuple):
    """One image on a sheet.

    Attributes:
        tiles: the photograph and its overlay, no side longer than the layout's tile.
        caption: one line, cut to the card's width at the end of its first part.
        figure: what stands after the caption and is never cut.
        number: of the image in the list that is printed; it stands for a caption that no font here can draw.
    """

    tiles: Tiles
    caption: str
    figure: str
    number: int = 1


class ContactSheet:
    """Cards become sheets; no more than one sheet's are ever held.

    Args:
        paths: the file of each sheet, see `sheet_paths`; None: a file that stays as it is, so that it is not drawn.
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
        """Set one more card; a full sheet is written.

        Raises:
            CosegError: it cannot be written.
        """
        self._cards.append(card)
        if len(self._cards) == PAGE:
            self.close()

    def close(self) -> None:
        """Write the sheet that is not full.

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
                    f"{path} cannot be written ({error.strerror or error}): see that there is room."
                ) from error
            self.written.append(path)


def draw_sheet(cards: Sequence[Card], form: Layout, title: str) -> NDArray[np.uint8]:
    """One sheet, uint8 (H, W, 3). Each row is as high as its highest picture."""
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
    """The two pictures, each at the foot of its field and the two meeting in the middle; the line below."""
    left, top = corner
    for k, picture in enumerate(card.tiles):
        height, width = picture.shape[:2]
        start = left + tile - width if k == 0 else left + tile + _GAP
        sheet.paste(Image.fromarray(picture), (start, top + high - height))
    first = left + tile - card.tiles[0].shape[1]
    last = left + tile + _GAP + card.tiles[1].shape[1]
    if last - first < tile:  # narrow pictures: the line has the field's width
        first, last = left, left + 2 * tile + _GAP
    size = caption_size(tile)
    figure = pieces(card.figure, size) or []
    room = last - first - line_width(draw, figure) - 8
    baseline = top + high + 3 + BASELINE
    # Letters beyond ASCII carry more strokes, or marks above and below: they are drawn a little larger.
    name = cut(draw, card.caption, size if card.caption.isascii() else size + 2, room)
    if name is None:
        name = caption(draw, f"No. {card.number}", size, room)
    draw_line(draw, first, baseline, name, INK)
    draw_line(draw, last - line_width(draw, figure), baseline, figure, FAINT)
