"""Text of any script: which font draws it, and when there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw, features

from coseg.imaging import draw
from coseg.imaging.draw import caption, cut, draw_line, drawable, line_width, pieces


@pytest.fixture
def no_system_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but PIL's and matplotlib's fonts."""
    use_folders(monkeypatch)


def use_folders(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setattr(draw, "font_folders", lambda: list(folders))
    for cached in (draw._faces, draw._waiting, draw._face_with):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def _fresh() -> object:
    yield
    for cached in (draw._faces, draw._waiting, draw._face_with):
        cached.cache_clear()


def font_file(path: Path, letters: str) -> None:
    """A font that draws each of `letters` as a bar of another height, and a box for what it lacks."""
    names = [".notdef", *(f"g{ord(letter):x}" for letter in letters)]
    glyphs = {}
    for k, name in enumerate(names):
        pen = TTGlyphPen(None)
        top = 150 + 70 * k
        pen.moveTo((100, 0))
        for corner in ((100, top), (900, top), (900, 0)):
            pen.lineTo(corner)
        pen.closePath()
        glyphs[name] = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"g{ord(letter):x}" for letter in letters})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics({name: (1000, 100) for name in names})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


def drawing() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (300, 30), "white")
    return picture, ImageDraw.Draw(picture)


@pytest.mark.usefixtures("no_system_fonts")
@pytest.mark.parametrize("text", ["a.jpg", "café", "cafe\u0301", "Ёлка 2020.jpg", "Ελλάδα", "a\u00a0b", "", "½ · …"])
def test_letters_that_the_fonts_of_the_packages_have(text: str) -> None:
    line = pieces(text, 12)
    assert line is not None and len(line) == 1
    assert drawable(text)


@pytest.mark.usefixtures("no_system_fonts")
@pytest.mark.parametrize(
    "text", ["猫.jpg", "हिंदी.jpg", "🎄.jpg", "bytes \udcff", "two\nlines", "private \ue000", "\u202e.jpg\u0378"]
)
def test_letters_that_they_have_not(text: str) -> None:
    assert pieces(text, 12) is None
    assert not drawable(text)
    _, draw = drawing()
    replaced = caption(draw, text, 12, 300)
    assert "?" in "".join(piece.text for piece in replaced)


@pytest.mark.usefixtures("no_system_fonts")
def test_right_to_left_needs_an_engine_that_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawable("عربي صورة.jpg") == features.check("raqm")
    monkeypatch.setattr(features, "check", lambda name: False)
    assert not drawable("عربي صورة.jpg")
    assert not drawable("e\u0323\u0301\u0302")  # marks that no single letter has
    assert drawable("Ёлка.jpg")


def test_a_font_of_the_system_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "NotAFont.ttf").write_bytes(b"no font")
    font_file(tmp_path / "deep" / "CatSans-Regular.ttf", "猫犬")
    font_file(tmp_path / "LastResort.ttf", "猫犬鳥")  # its letters are all alike, whatever it says
    use_folders(monkeypatch, tmp_path, tmp_path / "nowhere")
    line = pieces("猫犬.jpg", 12)
    assert line is not None
    assert [piece.text for piece in line] == ["猫犬", ".jpg"]
    assert not drawable("鳥")
    picture, draw = drawing()
    draw_line(draw, 5, 20, line, (0, 0, 0))
    columns = np.flatnonzero((np.asarray(picture) < 128).any((0, 2)))
    assert 5 <= columns.min() < columns.max() <= 6 + line_width(draw, line)


def test_one_font_for_the_whole_line_where_it_has_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    font_file(tmp_path / "Whole.ttf", "猫.jpg")
    use_folders(monkeypatch, tmp_path)
    line = pieces("猫.jpg", 12)
    assert line is not None and [piece.text for piece in line] == ["猫.jpg"]


@pytest.mark.usefixtures("no_system_fonts")
@pytest.mark.parametrize("text", ["a line that is far too long for its tile", "Ёлка " * 30])
@pytest.mark.parametrize("widest", [100, 37, 20])
def test_long_lines_are_cut(text: str, widest: int) -> None:
    _, draw = drawing()
    line = cut(draw, text, 12, widest)
    assert line is not None
    drawn = "".join(piece.text for piece in line)
    assert drawn.endswith("…") and text.startswith(drawn[:-1])
    assert line_width(draw, line) <= widest
    assert cut(draw, "short", 12, 100) == pieces("short", 12)
