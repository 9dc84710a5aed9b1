"""Contact sheets: what is where, and how large they get."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coseg.errors import CosegError
from coseg.imaging.draw import PAPER, Piece, line_width
from coseg.inference import contact_sheet, outputs
from coseg.inference.contact_sheet import Card, ContactSheet, draw_sheet, layout
from coseg.inference.outputs import CARDS_PER_SHEET, sheet_paths


def card(height: int, width: int, colours: tuple[int, int] = (10, 60), name: str = "a.jpg") -> Card:
    first, second = (np.full((height, width, 3), colour, np.uint8) for colour in colours)
    return Card((first, second), name, "50 % foreground")


@pytest.mark.parametrize("count", [1, 2, 4, 5, 12, 13, 48, 49, 200, 240])
@pytest.mark.parametrize("pairs", [False, True])
def test_sheets_stay_readable_and_of_a_width(count: int, pairs: bool) -> None:
    form = layout(count, pairs)
    picture = draw_sheet([card(form.tile * 3 // 4, form.tile)] * count, form, "title")
    assert picture.shape[1] <= 1500
    assert form.tile >= 112
    assert not pairs or count == 1 or form.columns % 2 == 0


def test_every_picture_is_on_the_sheet_in_order() -> None:
    form = layout(5)
    cards = [card(20 + 10 * k, 60, (10 * k, 10 * k + 5)) for k in range(5)]
    picture = draw_sheet(cards, form, "title")
    corners = []
    for k in range(5):
        for tone in (10 * k, 10 * k + 5):
            where = np.argwhere((picture == tone).all(-1))
            box = where[: (20 + 10 * k) * 60] if tone == 0 else where
            assert len(box) >= (20 + 10 * k) * 60
            corners.append(tuple(box.max(0)))
    assert corners[0][0] == corners[2][0] == corners[4][0] < corners[6][0]  # a row stands on one line
    assert [x for _, x in corners[:6]] == sorted(x for _, x in corners[:6])
    assert (picture[:5] == PAPER).all()


def test_the_images_of_a_pair_stand_closer() -> None:
    form = layout(6, pairs=True)
    first, second, third, fourth = (form.left(column) for column in range(4))
    assert second - first == fourth - third < third - second
    alone = layout(6)
    assert alone.left(1) - alone.left(0) == alone.left(2) - alone.left(1)


def test_odd_names_are_drawn() -> None:
    names = ["", "x" * 500, "two\nlines", "bytes \udcff", "猫.jpg"]
    assert draw_sheet([card(30, 40, name=name) for name in names], layout(5), "a\nb").ndim == 3


def test_a_long_figure_is_cut_and_leaves_the_name_room(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, float, str]] = []

    def note(draw: Any, left: float, _: float, line: list[Piece], *__: Any) -> None:
        drawn.append((left, left + line_width(draw, line), "".join(piece.text for piece in line)))

    monkeypatch.setattr(contact_sheet, "draw_line", note)
    form, size = layout(49), 2 * 112 + 2
    names, figures = ("a.jpg", "x" * 500), ("no foreground", "horse 9 %, " * 20, "\U0010fffd 9 %")
    for width, name, figure in product((20, 112), names, figures):
        drawn.clear()
        one, other = (card(40, width, name=name)._replace(figure=figure) for _ in range(2))
        draw_sheet([one, other], form, "title")
        _, *lines = drawn
        for column, ((start, end, text), (left, right, share)) in enumerate((lines[:2], lines[2:])):
            assert form.left(column) <= start < end < left < right <= form.left(column) + size
            assert (text == name or text.endswith("…")) and (len(share) == len(figure) or share.endswith("…"))
        assert share.startswith(figure[:9].replace("\U0010fffd", "?"))


def test_more_cards_go_onto_further_sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [path.name for path in sheet_paths(tmp_path, CARDS_PER_SHEET)] == ["sheet.png"]
    assert [path.name for path in sheet_paths(tmp_path, 2 * CARDS_PER_SHEET + 1)] == [
        "sheet.png",
        "sheet-2.png",
        "sheet-3.png",
    ]
    monkeypatch.setattr(outputs, "CARDS_PER_SHEET", 3)
    contact = ContactSheet(sheet_paths(tmp_path, 7), layout(7), "title")
    for _ in range(7):
        contact.add(card(30, 40))
    contact.close()
    assert [path.name for path in contact.written] == ["sheet.png", "sheet-2.png", "sheet-3.png"]
    heights = [Image.open(path).height for path in contact.written]
    assert heights[0] == heights[1] == heights[2]  # three, three and one card: a row each


def test_a_sheet_that_is_kept_is_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "CARDS_PER_SHEET", 1)
    contact = ContactSheet([None, tmp_path / "sheet-2.png"], layout(2), "title")
    for _ in range(2):
        contact.add(card(30, 40))
    contact.close()
    assert [path.name for path in tmp_path.iterdir()] == ["sheet-2.png"]


def test_a_sheet_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "sheet.png").mkdir()
    contact = ContactSheet(sheet_paths(tmp_path, 1), layout(1), "title")
    contact.add(card(30, 40))
    with pytest.raises(CosegError, match=r"sheet\.png.*written"):
        contact.close()
