"""The table of a file of COCO's instances: of each annotation its numbers and where it lies in the file.

The file is read entry by entry, and each annotation is checked on the way: what is kept of it are 57 bytes, and no mask
is built.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from coseg import __version__
from coseg.data.presence import files_state
from coseg.data.readers.annotated import local_path
from coseg.errors import CosegError
from coseg.files.large_json import json_entries
from coseg.files.tables import Arrays, array_texts, checksum_of, kept_table, texts_array
from coseg.imaging.regions import region_of

MAX_IMAGES = 2_000_000
ADVICE = "give a file of instances in COCO's format"


class Picture(NamedTuple):
    """An entry of ``images``."""

    file: PurePosixPath
    height: int
    width: int


VERSION = 1
"""Of the kept table: to be raised where other values are read from equal files."""

_COLUMNS = {"ids": "q", "image_ids": "q", "category_ids": "q", "starts": "q", "ends": "q", "areas": "d", "crowds": "B"}


class InstanceTable:
    """What is kept of a JSON file, with nothing in it yet; see `read_instances`.

    Args:
        path: of the file.

    Attributes:
        pictures: the images by their ids, in the file's order.
        categories: the names of the categories by their ids.
        ids, image_ids, category_ids, areas, crowds: of each annotation.
        starts, ends: its bytes in the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pictures: dict[int, Picture] = {}
        self.categories: dict[int, str] = {}
        self.ids, self.image_ids, self.category_ids = array("q"), array("q"), array("q")
        self.starts, self.ends = array("q"), array("q")
        self.areas, self.crowds = array("d"), array("B")
        self._names: set[str] = set()
        self._classes: set[str] = set()

    def arrays(self) -> Arrays:
        """All of it, as arrays."""
        sizes = [(number, picture.height, picture.width) for number, picture in self.pictures.items()]
        return {
            "pictures": np.array(sizes, np.int64).reshape(-1, 3),
            "files": texts_array(str(picture.file) for picture in self.pictures.values()),
            "categories": np.array(list(self.categories), np.int64),
            "names": texts_array(self.categories.values()),
            **{name: np.frombuffer(getattr(self, name), code) for name, code in _COLUMNS.items()},
        }

    def fill(self, arrays: Arrays) -> None:
        """Take over what `arrays` gave."""
        files = array_texts(arrays["files"])
        for (number, height, width), file in zip(arrays["pictures"].tolist(), files, strict=True):
            self.pictures[number] = Picture(PurePosixPath(file), height, width)
        self.categories = dict(zip(arrays["categories"].tolist(), array_texts(arrays["names"]), strict=True))
        for name in _COLUMNS:
            getattr(self, name).frombytes(np.ascontiguousarray(arrays[name]).tobytes())

    def parse(self, wrong: Callable[[CosegError], None]) -> None:
        """Read the file; see `read_instances`."""
        path = self.path
        for entry in json_entries(path, ADVICE):
            if entry.key == "annotations":
                try:
                    self._add(entry.value)
                except (ValueError, OverflowError) as error:
                    number = entry.value.get("id") if isinstance(entry.value, dict) else None
                    wrong(refusal(path, number if number is not None else f"at byte {entry.start}", str(error)))
                else:
                    self.starts.append(entry.start)
                    self.ends.append(entry.end)
            elif entry.key in ("images", "categories"):
                try:
                    (self._add_picture if entry.key == "images" else self._add_category)(entry.value)
                except ValueError as error:
                    raise CosegError(f"{path} has an entry of {entry.key} at byte {entry.start}: {error}.") from None

    def _add(self, entry: Any) -> None:
        """Keep the numbers of an annotation.

        Raises:
            ValueError: it is none.
        """
        number, image, category = (_whole(entry, key) for key in ("id", "image_id", "category_id"))
        crowd, area = entry.get("iscrowd", 0), entry.get("area")
        if crowd not in (0, 1):
            raise ValueError("its iscrowd is neither 0 nor 1")
        if area is not None and (type(area) not in (int, float) or not 0 <= area < 2**53):
            raise ValueError("its area is no finite number of at least 0")
        region = region_of(entry.get("segmentation"))
        self.ids.append(number)
        self.image_ids.append(image)
        self.category_ids.append(category)
        self.areas.append(area or region.area)
        self.crowds.append(bool(crowd))

    def _add_picture(self, entry: Any) -> None:
        number, height, width = (_whole(entry, key) for key in ("id", "height", "width"))
        name = entry.get("file_name")
        file = local_path(name) if isinstance(name, str) and _is_text(name) else None
        if file is None:
            raise ValueError(f"the file_name of image {number} is no path within its folder")
        if not (0 < height < 2**16 and 0 < width < 2**16):
            raise ValueError(f"the height and width of image {number} are no size of a picture")
        if number in self.pictures or str(file.with_suffix("")) in self._names:
            raise ValueError(f"another image has the id {number}, or the name {file.stem}")
        if len(self.pictures) >= MAX_IMAGES:
            raise ValueError(f"there are more than {MAX_IMAGES:,} images")
        self.pictures[number] = Picture(file, height, width)
        self._names.add(str(file.with_suffix("")))

    def _add_category(self, entry: Any) -> None:
        number, name = _whole(entry, "id"), entry.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"the category {number} has no name")
        if not _is_text(name):
            raise ValueError(f"the name of category {number} is no text")
        if number in self.categories or name in self._classes:
            raise ValueError(f"another category has the id {number}, or the name {name[:60]}")
        self.categories[number] = name
        self._classes.add(name)


def read_instances(path: Path, wrong: Callable[[CosegError], None]) -> InstanceTable:
    """The table of a JSON file; that of the last start, if the file has not changed since.

    Args:
        path: of the file.
        wrong: is called for an annotation that is none, which is then left out; it may raise.

    Raises:
        CosegError: the file can't be read, or an image or a category in it is none.
    """
    table = InstanceTable(path)
    errors: list[CosegError] = []

    def noted(error: CosegError) -> None:
        errors.append(error)
        wrong(error)

    def make() -> Arrays | None:
        table.parse(noted)
        return None if errors else table.arrays()

    state = files_state([path])
    key = None if state is None else checksum_of([VERSION, __version__, state])
    arrays, kept = kept_table("instances", path, key, make)
    if kept and arrays is not None:
        table.fill(arrays)
    return table


def _whole(entry: Any, key: str) -> int:
    value = entry.get(key) if isinstance(entry, dict) else None
    if type(value) is not int or abs(value) >= 2**63:
        raise ValueError(f"its {key} is no whole number")
    return value


def _is_text(name: str) -> bool:
    """Whether a name can be written: JSON may hold halves of characters."""
    return "\0" not in name and not any("\ud800" <= character <= "\udfff" for character in name)


def refusal(path: Path, number: object, reason: str) -> CosegError:
    """The error for an annotation, by its id."""
    shown = str(number)[:60].encode("utf-8", "backslashreplace").decode()
    return CosegError(f"{path}: annotation {shown} is refused, since {reason}. Correct it, or take it out.")
