"""CVAT's export "Segmentation mask" (of Datumaro, too): VOC's layout classes of one's own as colours.

::

    <root>/
        labelmap.txt                        label:color_rgb:parts:actions, one a line: cat:128,0,0::
        JPEGImages/a.jpg …
        SegmentationClass/a.png …           the class of each pixel as its colour
        ImageSets/Segmentation/default.txt  the names, one a line; or train.txt, val.txt

``background`` is background, ``ignored`` and ``void`` are void, and so are, where no label has them, black and VOC's
(224, 224, 192). Which classes an image holds is read from its mask's pixels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coseg.data.readers.annotated import (
    Annotated,
    AnnotatedImage,
    AnnotatedReader,
    Classes,
    chosen_classes,
    require_size,
)
from coseg.data.readers.files import child_folder, first_three, read_list
from coseg.data.readers.voc import FOLDERS, check_files
from coseg.errors import CosegError
from coseg.files.plain_data import MAX_YAML_BYTES, read_text
from coseg.files.stored import data_path
from coseg.imaging.read import UNREADABLE, damaged, open_image
from coseg.labels import BACKGROUND, VOID

SPECIAL = {"background": BACKGROUND, "ignored": VOID, "void": VOID}
"""Labels that are no classes."""

IMPLIED = {(0, 0, 0): BACKGROUND, (224, 224, 192): VOID}
"""Colours that no label needs to have."""

LABELMAP = "labelmap.txt"

LAYOUT = """
    <root>/
        labelmap.txt
        JPEGImages/a.jpg …
        SegmentationClass/a.png …
        ImageSets/Segmentation/default.txt"""

_LINE = re.compile(r"(?P<label>.+?)\s*:\s*(?P<colour>\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3})?\s*(:.*)?")

Colour = tuple[int, int, int]


class ColourLabels:
    """Label maps from masks whose colours are the classes.

    Args:
        colours: the label of each colour.
    """

    def __init__(self, colours: Mapping[Colour, int]) -> None:
        codes = {_code(colour): label for colour, label in colours.items()}
        self._codes = np.array(sorted(codes), np.int64)
        self._labels = np.array([codes[code] for code in sorted(codes)], np.uint8)

    def __repr__(self) -> str:
        return f"ColourLabels({self._codes.tolist()}, {self._labels.tolist()})"

    def labels(self, item: AnnotatedImage) -> NDArray[np.uint8]:
        """See `LabelSource.labels`."""
        path: Path = item.truth
        try:
            with open_image(path) as file:
                require_size(item, file.height, file.width, path)
                rgb = np.asarray(file.convert("RGB"), np.int32)
        except UNREADABLE as error:
            raise damaged(path, error) from error
        codes = (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
        places = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        unknown = self._codes[places] != codes
        if unknown.any():
            present = [
                f"({code >> 16}, {code >> 8 & 255}, {code & 255})" for code in np.unique(codes[unknown]).tolist()
            ]
            raise CosegError(
                f"{path} has {int(unknown.sum())} pixels of colours that {LABELMAP} does not list: "
                f"{first_three(present)}. Export the masks again (PNG, not JPEG), or add the colours."
            )
        return self._labels[places]

    def files(self, items: Sequence[AnnotatedImage]) -> Iterator[Path]:
        """See `LabelSource.files`."""
        for item in items:
            yield item.truth


class CvatReader(AnnotatedReader):
    """Reads CVAT's export of segmentation masks.

    Args:
        root: the folder that holds ``labelmap.txt``.
        lists: the name of each split's list in ``ImageSets/Segmentation``; null: that of the split, in any case, else
            ``default``.
        classes: ``all``, or a list of labels; the others are other objects.
    """

    name = "cvat"

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        lists: Mapping[str, str | None] | None = None,
        classes: Classes = "all",
    ) -> None:
        self.root = data_path(root)
        self.lists = dict(lists or {"train": None, "val": None})
        self.splits = tuple(self.lists)
        self.classes = classes

    def find(self, split: str, wrong: Callable[[CosegError], None]) -> Annotated:
        """See `AnnotatedReader.find`."""
        root = self._root()
        colours = read_labelmap(root / LABELMAP)
        names, numbers = chosen_classes(
            [label for label in colours if label not in SPECIAL], self.classes, root / LABELMAP
        )
        by_colour = {**IMPLIED, **{colour: {**numbers, **SPECIAL}[label] for label, colour in colours.items()}}
        path = self._list(root, split)
        ids = read_list(path)
        items = [AnnotatedImage(name, *files) for name, files in check_files(root, ids, path).items()]
        return Annotated(items, names, None, ColourLabels(by_colour), [])

    def label_settings(self, listed: Annotated) -> str | None:
        """See `AnnotatedReader.label_settings`."""
        return repr((listed.class_names, listed.source)) if type(self) is CvatReader else None

    def _root(self) -> Path:
        root = self.root
        if root is None or not root.is_dir():
            start = "The data set cvat needs its folder" if root is None else f"{root} is not a folder"
            raise CosegError(f"{start}: set dataset.root=<folder>, or COSEG_CVAT_ROOT. It looks like this:{LAYOUT}")
        missing = [name for name in FOLDERS if not (root / name).is_dir()]
        if not (root / LABELMAP).is_file():
            missing.append(LABELMAP)
        if missing:
            raise CosegError(
                f"{root} has no {' and no '.join(missing)}. Export with the images (or put them into JPEGImages), and "
                f"unpack it. It looks like this:{LAYOUT}"
            )
        return root

    def _list(self, root: Path, split: str) -> Path:
        folder = child_folder(root / "ImageSets", "Segmentation")
        if folder is None:
            raise CosegError(f"{root} has no ImageSets/Segmentation. It looks like this:{LAYOUT}")
        named = self.lists[split]
        wanted = [named] if named else [split, *(["validation"] if split == "val" else []), "default"]
        files = {path.stem.lower(): path for path in sorted(folder.glob("*.txt"))}
        for name in wanted:
            if name.lower().removesuffix(".txt") in files:
                return files[name.lower().removesuffix(".txt")]
        raise CosegError(
            f"{folder} has no {wanted[0]}.txt{'' if named else ' and no default.txt'}, but "
            f"{first_three([path.name for path in files.values()]) or 'no list'}: set dataset.lists.{split}."
        )


def read_labelmap(path: Path) -> dict[str, Colour]:
    """The colour of each label, in the file's order.

    Raises:
        CosegError: a line is none of ``label:r,g,b:parts:actions``, or two labels have one name or colour.
    """
    advice = "write one label:r,g,b:: a line"
    try:
        lines = read_text(path, advice, MAX_YAML_BYTES).removeprefix("\ufeff").splitlines()
    except FileNotFoundError:
        raise CosegError(f"{path} is missing: {advice}.") from None
    colours: dict[str, Colour] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match["colour"] is None:
            raise CosegError(f"{path}, line {number}, is {line.strip()[:60]!r}: {advice}.")
        red, green, blue = (int(value) for value in match["colour"].split(","))
        label, colour = match["label"].strip(), (red, green, blue)
        if max(colour) > 255:
            raise CosegError(f"{path}, line {number}: {colour} is no colour of values from 0 to 255.")
        if label in colours or colour in colours.values():
            raise CosegError(f"{path}, line {number}: another label has the name {label}, or the colour {colour}.")
        colours[label] = colour
    return colours


def _code(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]
