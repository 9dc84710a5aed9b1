"""Pictures annotated with labelme: a JSON file beside each, with the shapes that were drawn.

::

    <root>/                 or <root>/train and <root>/val
        a.jpg  a.json …     in folders of any depth; imagePath may lead to another folder below the root

The label of a shape is its class; ``_background_`` is background and ``__ignore__`` void, as labelme has it. Polygons,
rectangles, circles and masks are filled as labelme's own converter does (its outline belongs to a shape; of a circle
the second point is on it); where they overlap, the later one in the file is on top. Lines and points have no area and
are left out. A picture holds a class if it has such a shape with its label: no shape is filled to know.
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from coseg.data.readers.annotated import (
    Annotated,
    AnnotatedImage,
    AnnotatedReader,
    Classes,
    chosen_classes,
    presence_table,
)
from coseg.data.readers.files import same_form
from coseg.errors import CosegError
from coseg.files.large_json import read_large_json
from coseg.files.stored import data_path, normal_path
from coseg.imaging.read import SUFFIXES, UNREADABLE, open_image, photograph_size
from coseg.imaging.regions import require_near
from coseg.labels import BACKGROUND, VOID

SHAPES = {"polygon": 3, "rectangle": 2, "oriented_rectangle": 4, "circle": 2, "mask": 2}
"""Shapes with an area, and the points of each: at least 3 of a polygon."""

SPECIAL = {"_background_": BACKGROUND, "__ignore__": VOID}
"""Labels that are no classes."""

MAX_FILE = 256 * 2**20
"""Bytes of a JSON file, which may hold the picture."""

ADVICE = "annotate the picture again, or take the file out"

LAYOUT = """
    <root>/            or <root>/train and <root>/val
        a.jpg  a.json …"""


class Shape(NamedTuple):
    """A shape with an area.

    Attributes:
        label: its class.
        type: of `SHAPES`.
        points: float64 (n, 2), x and y in pixels.
        mask: of a mask the encoded PNG, as text; otherwise empty.
        number: in the file, from 1.
    """

    label: str
    type: str
    points: NDArray[np.float64]
    mask: str
    number: int

    def fill(self, height: int, width: int) -> NDArray[np.bool_]:
        """Its pixels, bool (H, W).

        Raises:
            ValueError: it does not fit a picture of this size.
        """
        require_near(self.points, height, width)
        if self.type == "mask":
            return self._pasted(height, width)
        picture = Image.new("L", (width, height))
        draw = ImageDraw.Draw(picture)
        corners = [(float(x), float(y)) for x, y in self.points]
        if self.type in ("polygon", "oriented_rectangle"):
            draw.polygon(corners, fill=1, outline=1)
        elif self.type == "rectangle":
            (left, top), (right, bottom) = self.points.min(0).tolist(), self.points.max(0).tolist()
            draw.rectangle((left, top, right, bottom), fill=1, outline=1)
        else:
            (x, y), (x_on, y_on) = corners
            radius = math.hypot(x - x_on, y - y_on)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
        return np.array(picture).astype(np.bool_)

    def _pasted(self, height: int, width: int) -> NDArray[np.bool_]:
        (left, top), (right, bottom) = self.points.astype(np.int64).tolist()
        if not (0 <= left <= right < width and 0 <= top <= bottom < height):
            raise ValueError(f"its mask is not within its picture of {width}x{height} pixels")
        size, part = (right - left + 1, bottom - top + 1), None
        try:
            with open_image(io.BytesIO(base64.b64decode(self.mask, validate=True))) as file:
                if file.size == size:
                    part = np.array(file if file.mode in ("1", "L", "P") else file.convert("L"))
        except UNREADABLE as error:
            raise ValueError(f"its mask can't be decoded ({error})") from None
        if part is None:
            raise ValueError(f"its mask is not of the {size[0]}x{size[1]} pixels that its points say")
        mask = np.zeros((height, width), np.bool_)
        mask[top : bottom + 1, left : right + 1] = part > 0
        return mask


class LabelmeLabels:
    """The label maps of JSON files.

    Args:
        numbers: the label of each class.
    """

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self._numbers = {**numbers, **SPECIAL}

    def labels(self, item: AnnotatedImage) -> NDArray[np.uint8]:
        """See `LabelSource.labels`."""
        path: Path = item.truth
        document = _document(path)
        height, width = photograph_size(item.image)
        sizes = [document.get(key) for key in ("imageHeight", "imageWidth")]
        if None not in sizes and sizes != [height, width]:
            raise CosegError(
                f"{path} is of {str(sizes[1])[:20]}x{str(sizes[0])[:20]} pixels, but {item.image} is {width}x{height} "
                "(turned as its EXIF says): annotate the picture again, or take both out."
            )
        labels = np.zeros((height, width), np.uint8)
        for shape in shapes_of(path, document, _refused):
            if shape.label not in self._numbers:
                raise CosegError(f"{path} has changed since it was read: start again.")
            try:
                labels[shape.fill(height, width)] = self._numbers[shape.label]
            except ValueError as error:
                raise _wrong(path, shape.number, str(error)) from None
        return labels

    def files(self, items: Sequence[AnnotatedImage]) -> Iterator[Path]:
        """See `LabelSource.files`."""
        for item in items:
            yield item.truth


class LabelmeReader(AnnotatedReader):
    """Reads pictures annotated with labelme.

    Args:
        root: the folder of the data set.
        folders: of each split, below `root`; null: ``train`` and so on where `root` has one of them, else `root`.
        classes: ``all``, or a list of labels; the others are other objects.
    """

    name = "labelme"

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        folders: Mapping[str, str | None] | None = None,
        classes: Classes = "all",
    ) -> None:
        self.root = data_path(root)
        self.folders = dict(folders or {"train": None, "val": None})
        self.splits = tuple(self.folders)
        self.classes = classes

    def find(self, split: str, wrong: Callable[[CosegError], None]) -> Annotated:
        """See `AnnotatedReader.find`. The classes are those of all splits, in alphabetical order."""
        root, folders = self._folders(split)
        names: set[str] = set()
        listed: list[tuple[AnnotatedImage, set[str]]] = []
        left_out: dict[str, int] = {}
        for folder in dict.fromkeys(folder for folder in folders.values() if folder.is_dir()):
            for path in json_files(folder):
                document = _document(path)
                is_asked = folder == folders[split]
                shapes = list(shapes_of(path, document, wrong if is_asked else _ignored, left_out if is_asked else {}))
                labels = {shape.label for shape in shapes} - SPECIAL.keys()
                names |= labels
                if is_asked:
                    item_id = path.relative_to(folder).with_suffix("").as_posix()
                    listed.append((AnnotatedImage(item_id, _image(root, path, document), path), labels))
        if not listed:
            raise CosegError(f"{folders[split]} holds no JSON files of labelme. It looks like this:{LAYOUT}")
        class_names, numbers = chosen_classes(sorted(names), self.classes, root)
        present = [{numbers[label] for label in labels} for _, labels in listed]
        notes = [f"{count} shapes of the type {name} have no area and are left out" for name, count in left_out.items()]
        presence = presence_table(present, len(class_names))
        return Annotated([item for item, _ in listed], class_names, presence, LabelmeLabels(numbers), notes)

    def _folders(self, split: str) -> tuple[Path, dict[str, Path]]:
        """The root, and the folder of each split; that of `split` is there."""
        root = self.root
        if root is None or not root.is_dir():
            start = "The data set labelme needs its folder" if root is None else f"{root} is not a folder"
            raise CosegError(f"{start}: set dataset.root=<folder>, or COSEG_LABELME_ROOT. It looks like this:{LAYOUT}")
        is_split = any((root / name).is_dir() for name in self.folders)
        folders = {name: root / (place or (name if is_split else "")) for name, place in self.folders.items()}
        if not folders[split].is_dir():
            raise CosegError(f"{folders[split]} is not a folder: correct dataset.folders.{split}, or make it.")
        return root, folders


def json_files(folder: Path) -> list[Path]:
    """The JSON files in a folder and those in it, without hidden ones."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".json" and path.is_file())
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def shapes_of(
    path: Path, document: Mapping[str, Any], wrong: Callable[[CosegError], None], left_out: dict[str, int] | None = None
) -> Iterator[Shape]:
    """The shapes with an area, in the file's order.

    Args:
        path: for messages.
        document: the content of the file.
        wrong: is called for a shape that is none; it is then left out.
        left_out: counts the shapes without an area by type.
    """
    for number, entry in enumerate(document["shapes"], 1):
        try:
            shape = _shape(entry, number)
        except ValueError as error:
            wrong(_wrong(path, number, str(error)))
            continue
        if shape.type in SHAPES:
            yield shape
        elif left_out is not None:
            left_out[shape.type] = left_out.get(shape.type, 0) + 1


def _shape(entry: Any, number: int) -> Shape:
    if not isinstance(entry, dict):
        raise ValueError("it is no shape")
    label, name, points = entry.get("label"), entry.get("shape_type") or "polygon", entry.get("points")
    mask: Any = ""
    if not isinstance(label, str) or not label.strip() or not isinstance(name, str):
        raise ValueError("it has no label, or its type is no text")
    if name not in SHAPES:
        return Shape(label, name[:30], np.zeros((0, 2)), "", number)
    least = SHAPES[name]
    if not isinstance(points, list) or len(points) < least or (name != "polygon" and len(points) != least):
        raise ValueError(f"a {name} needs {'at least ' if name == 'polygon' else ''}{least} points")
    pairs = all(isinstance(point, list) and len(point) == 2 for point in points)
    if not pairs or not all(type(value) in (int, float) and abs(value) < 1e9 for point in points for value in point):
        raise ValueError("its points are no pairs of finite numbers")
    if name == "mask" and not isinstance(mask := entry.get("mask"), str):
        raise ValueError("it has no mask")
    return Shape(label, name, np.array(points, np.float64), mask, number)


def _document(path: Path) -> Mapping[str, Any]:
    try:
        document = read_large_json(path, ADVICE, MAX_FILE)
    except FileNotFoundError:
        raise CosegError(f"{path} is missing: put it back.") from None
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise CosegError(f"{path} is no file of labelme, since it has no list of shapes: {ADVICE}.")
    return document


def _image(root: Path, path: Path, document: Mapping[str, Any]) -> Path:
    """The picture of a JSON file: what its imagePath names, below `root`; else the one of its name beside it."""
    name = document.get("imagePath")
    if isinstance(name, str) and name and "\0" not in name:
        place = normal_path(path.parent, name.replace("\\", "/"))
        if place.is_relative_to(normal_path(root, "")) and place.suffix.lower() in SUFFIXES and place.exists():
            return place
    stem = same_form(path.stem)
    beside = [other for other in sorted(path.parent.iterdir()) if other.suffix.lower() in SUFFIXES]
    named = [other for other in beside if same_form(other.stem) == stem]
    if len(named) != 1:
        raise CosegError(
            f"{path} has {'several pictures' if named else 'no picture'} of its name beside it, and its imagePath, "
            f"{str(name)[:60]!r}, names none below {root}. Put the picture there (that inside of the JSON file is not "
            "read), or take the file out."
        )
    return named[0]


def _wrong(path: Path, number: int, reason: str) -> CosegError:
    return CosegError(f"{path}: shape {number} is refused, since {reason}. Correct it in labelme, or take it out.")


def _refused(error: CosegError) -> None:
    raise error


def _ignored(error: CosegError) -> None:
    """What is wrong in another split is reported there."""
