"""Drawing: colours, masks and tiles, and text of any script in fonts that have its letters.

Fonts are those of matplotlib and of the system, searched for in the usual folders; no program is started for it. A font
lacks a letter if it renders it like a code point that no font has.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from bisect import bisect_left
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features

from coseg.files.writing import atomic_path

PAPER, INK, FAINT = (255, 255, 255), (32, 32, 32), (120, 120, 120)
TRUTH, PREDICTION, OTHER_OBJECT = (46, 204, 64), (255, 110, 20), (205, 205, 205)
"""Colours of the background, of text and of masks."""

Colour = tuple[int, int, int]
OBJECTS = {
    "orange": PREDICTION,
    "blue": (30, 120, 255),
    "green": (40, 190, 60),
    "magenta": (215, 40, 200),
    "yellow": (245, 205, 0),
    "cyan": (0, 195, 215),
    "red": (215, 30, 45),
    "violet": (125, 65, 225),
}
"""The colours of the first eight of several objects, by name."""


def object_colour(n: int) -> Colour:
    """The colour of the n-th of several objects, from 1 on; those after the eighth are shades of the first eight."""
    shade = (1.0, 0.6, 0.8, 0.4)[(n - 1) // len(OBJECTS) % 4]
    red, green, blue = (round(value * shade) for value in tuple(OBJECTS.values())[(n - 1) % len(OBJECTS)])
    return red, green, blue


def colour_code(n: int) -> str:
    """The colour of the n-th of several objects as in HTML.

    >>> colour_code(2)
    '#1e78ff'
    """
    return "#{:02x}{:02x}{:02x}".format(*object_colour(n))


def label_picture(labels: NDArray[np.uint8], count: int) -> Image.Image:
    """A label map (H, W) of `count` objects as a picture of mode P, in their colours; the background is black."""
    picture = Image.fromarray(labels)
    picture.putpalette([0, 0, 0, *(value for n in range(1, count + 1) for value in object_colour(n))])
    return picture


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
    """An image (H, W, 3) or a mask (H, W) resized so that its longer side is `tile` pixels."""
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
    """The font size beside tiles of this size, in pixels."""
    return 12 if tile >= 120 else 10


def save_picture(path: str | Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture, uint8 (H, W, 3), as PNG."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

BASELINE = 12
"""Pixels from the top of a line to the foot of its letters."""

_NO_LETTER = "\U0010ffff"
_VARIANTS = range(0xFE00, 0xFE10)  # with joiners (Cf): what an engine that shapes text needs no glyph for
_UNDRAWABLE = ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")
_RIGHT_TO_LEFT = ("R", "AL")
_NEEDS_SHAPING = ("R", "AL", "AN", "NSM")
_FILES = 600
"""Fonts of the system that are looked at, at most."""

_STYLED = re.compile("bold|italic|oblique|light|thin|black|heavy|medium|condensed|narrow|mono|serif", re.IGNORECASE)
_ALL_ALIKE = re.compile("lastresort|last-resort|adobeblank|notdef", re.IGNORECASE)
"""Fonts whose letters are all boxes, or all empty."""


class Piece(NamedTuple):
    """Letters that follow, and the font that has them."""

    text: str
    font: Font


class Face:
    """A font file; None is PIL's own font, which has little more than ASCII."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._has: dict[str, bool] = {}
        self._fonts: dict[tuple[int, ImageFont.Layout | None], Font] = {}
        self._probe = self.at(16, ImageFont.Layout.BASIC)
        self._lacking = self._drawn(_NO_LETTER)

    def at(self, size: int, engine: ImageFont.Layout | None = None) -> Font:
        """The font at a size in pixels."""
        if (size, engine) not in self._fonts:
            opened = (
                ImageFont.load_default(size=size)
                if self.path is None
                else ImageFont.truetype(str(self.path), size, layout_engine=engine)
            )
            self._fonts[size, engine] = opened
        return self._fonts[size, engine]

    def has(self, letter: str) -> bool:
        """Whether the font can draw a letter."""
        if letter not in self._has:
            drawn = None if self._lacking is None else self._drawn(letter)
            blank = drawn is None or not any(drawn[1])
            self._has[letter] = letter == " " or (drawn != self._lacking and not blank)
        return self._has[letter]

    def _drawn(self, letter: str) -> tuple[tuple[int, int], bytes] | None:
        try:
            mask = self._probe.getmask(letter, mode="L")
            return mask.size, bytes(mask)
        except (OSError, ValueError, UnicodeError):  # a font without outlines at this size, a bitmap font
            return None


@cache
def _faces() -> list[Face]:
    """The fonts that are opened so far: PIL's own and matplotlib's, which has Latin, Greek, Cyrillic and Arabic."""
    faces = [Face(None)]
    try:
        import matplotlib

        faces.append(Face(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")))
    except (ImportError, OSError):
        pass
    return faces


@cache
def _waiting() -> list[Path]:
    """Font files of the system that are not opened yet, the most likely one last."""
    files = [
        Path(folder, name)
        for start in font_folders()
        for folder, _, names in os.walk(start)
        for name in names
        if name.lower().endswith((".ttf", ".otf", ".ttc", ".otc")) and not _ALL_ALIKE.search(name)
    ]
    files.sort(key=lambda path: (bool(_STYLED.search(path.name)), "sans" not in path.name.lower(), path.name))
    return files[:_FILES][::-1]


def font_folders() -> list[Path]:
    """Where this system has its fonts."""
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")
        return [Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts"), Path(local, "Microsoft", "Windows", "Fonts")]
    if sys.platform == "darwin":
        return [home / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts")]
    data = os.environ.get("XDG_DATA_HOME") or home / ".local" / "share"
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    return [home / ".fonts", *(Path(folder, "fonts") for folder in (data, *shared.split(":")))]


@cache
def _face_with(letter: str) -> Face | None:
    """The first font that has a letter."""
    for face in _faces():
        if face.has(letter):
            return face
    while _waiting():
        try:
            face = Face(_waiting().pop())
        except (OSError, ValueError):
            continue
        _faces().append(face)
        if face.has(letter):
            return face
    return None


def simplified(text: str) -> str:
    """`text` as it is drawn: its letters composed, every space an ordinary one."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(" " if unicodedata.category(letter) == "Zs" else letter for letter in composed)


def pieces(text: str, size: int) -> list[Piece] | None:
    """`text` in fonts that have its letters, in one where one has all of them; None where there are none for it.

    That is so for letters in none of the system's fonts, for bytes that are no letters, and for scripts that PIL cannot
    set: those from right to left and those with marks, where it was built without Raqm.
    """
    text = simplified(text)
    if any(unicodedata.category(letter) in _UNDRAWABLE for letter in text):
        return None
    shapes = features.check("raqm")
    if not shapes and any(unicodedata.bidirectional(letter) in _NEEDS_SHAPING for letter in text):
        return None
    visible = [letter for letter in text if not (shapes and _is_invisible(letter))]
    chosen = {letter: _face_with(letter) for letter in dict.fromkeys(visible)}
    faces = [face for face in dict.fromkeys(chosen.values()) if face is not None]
    if None in chosen.values():
        return None
    whole = next((face for face in faces if all(map(face.has, chosen))), None)
    if whole is not None or not faces:
        return [Piece(text, (whole or _faces()[0]).at(size))]
    runs: list[tuple[str, Face]] = []
    for letter in text:
        if runs and (letter not in chosen or runs[-1][1].has(letter)):
            runs[-1] = (runs[-1][0] + letter, runs[-1][1])
        else:
            runs.append((letter, chosen.get(letter) or faces[0]))
    turned = [any(unicodedata.bidirectional(letter) in _RIGHT_TO_LEFT for letter in run) for run, _ in runs]
    if sum(turned) > 1:  # they would have to change places
        return None
    return [Piece(run, face.at(size)) for run, face in runs]


def _is_invisible(letter: str) -> bool:
    return unicodedata.category(letter) == "Cf" or ord(letter) in _VARIANTS


def line_width(draw: ImageDraw.ImageDraw, line: list[Piece]) -> float:
    """Of a line, in pixels."""
    return sum(draw.textlength(piece.text, piece.font) for piece in line)


def cut(draw: ImageDraw.ImageDraw, text: str, size: int, widest: float) -> list[Piece] | None:
    """The pieces of `text`, which is cut at its end so that they are at most `widest` pixels; None as of `pieces`."""
    line = pieces(text, size)
    if line is None or line_width(draw, line) <= widest:
        return line
    ellipsis = "…" if pieces(text + "…", size) is not None else "..."

    def cut_at(length: int) -> list[Piece]:
        return pieces(text[:length] + ellipsis, size) or []

    length = bisect_left(range(len(text)), True, key=lambda k: line_width(draw, cut_at(k)) > widest)
    return cut_at(max(0, length - 1))


def caption(draw: ImageDraw.ImageDraw, text: str, size: int, widest: float) -> list[Piece]:
    """The pieces of `text` as of `cut`, a question mark for each letter that no font has."""
    drawn = "".join(letter if pieces(letter, size) is not None else "?" for letter in text)
    return cut(draw, drawn, size, widest) or cut(draw, text.encode("ascii", "replace").decode(), size, widest) or []


def draw_line(
    draw: ImageDraw.ImageDraw, left: float, baseline: float, line: list[Piece], colour: tuple[int, int, int]
) -> None:
    """Draw a line; a text from right to left stands where it is, and what follows it to its right."""
    for piece in line:
        shapes = getattr(piece.font, "layout_engine", None) == ImageFont.Layout.RAQM
        direction = "ltr" if shapes else None
        draw.text((left, baseline), piece.text, colour, piece.font, anchor="ls", direction=direction)
        left += draw.textlength(piece.text, piece.font)


def drawable(text: str) -> bool:
    """Whether `pieces` has fonts for `text`."""
    return pieces(text, 12) is not None
