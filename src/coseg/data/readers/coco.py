"""COCO's instances (Lin et al., ECCV 2014), or a data set in their format.

One JSON file a split, with ``images``, ``annotations`` and ``categories``; the mask of an annotation is polygons or run
lengths (`coseg.imaging.regions`). The file is read entry by entry; the catalog keeps where the annotations of an image
lie in it, so that it stays small, and reads them again when a label map is wanted.

- An annotation is an object of its category if its area is within `min_area` and `max_area`; else its pixels are void.
- Where objects overlap, the smaller one is on top; of two equal ones, the later in the file.
- A crowd (``iscrowd: 1``) is void where no object is, and makes its class not present.
- An image holds a class if it has an object of it: no mask is built to know.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

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
from coseg.data.readers.files import first_three, same_form
from coseg.data.readers.instances import ADVICE, InstanceTable, read_instances, refusal
from coseg.errors import CosegError
from coseg.files.stored import data_path
from coseg.imaging.regions import region_of
from coseg.labels import VOID

PATTERNS = (
    "annotations/instances_{}*.json",
    "instances_{}*.json",
    "annotations/{}.json",
    "{}.json",
    "{}/_annotations*.json",
)
"""Where the file of a split lies below the root; the first pattern that fits wins."""

ANY_SPLIT = ("annotations/instances_default.json", "annotations.json", "_annotations.coco.json")
"""The file of all splits, of a data set that has one alone."""

NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""How a split is called in file names."""

LAYOUT = """
    <root>/
        annotations/instances_train2017.json, instances_val2017.json
        train2017/000000000009.jpg …   val2017/000000000139.jpg …"""


class _Truth(NamedTuple):
    """Of an image: its size, and the first and the last + 1 of its annotations in `CocoLabels`."""

    height: int
    width: int
    first: int
    end: int


class CocoLabels:
    """The label maps of one JSON file.

    Args:
        path: of the file.
        ids, labels, starts, ends: of all annotations in the order in which they are painted, image by image: the id,
            the label of its pixels, the bytes in the file.
    """

    def __init__(
        self,
        path: Path,
        ids: NDArray[np.int64],
        labels: NDArray[np.uint8],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
    ) -> None:
        self.path = path
        self._ids, self._labels, self._starts, self._ends = ids, labels, starts, ends
        self._state = _state(path)

    def labels(self, item: AnnotatedImage) -> NDArray[np.uint8]:
        """See `LabelSource.labels`."""
        truth: _Truth = item.truth
        require_size(item, truth.height, truth.width, self.path)
        labels = np.zeros((truth.height, truth.width), np.uint8)
        if truth.first == truth.end:
            return labels
        if _state(self.path) != self._state:
            raise CosegError(f"{self.path} has changed since it was read: start again.")
        with self.path.open("rb") as file:
            for k in range(truth.first, truth.end):
                file.seek(int(self._starts[k]))
                try:
                    entry = json.loads(file.read(int(self._ends[k] - self._starts[k])))
                    mask = region_of(entry["segmentation"]).mask(truth.height, truth.width)
                except ValueError as error:
                    raise refusal(self.path, self._ids[k], str(error)) from None
                labels[mask] = self._labels[k]
        return labels

    def files(self, items: Sequence[AnnotatedImage]) -> Iterator[Path]:
        """See `LabelSource.files`."""
        yield self.path


class CocoReader(AnnotatedReader):
    """Reads COCO's instances.

    Args:
        root: the folder of the data set.
        annotations: the file of each split below `root`; null: looked for as `PATTERNS` says, then `ANY_SPLIT`.
        images: the folder of the images below `root`; null: the first that has the first image, of one with the name
            of the split, ``images``, the file's own folder and `root`.
        classes: ``all``, or a list of categories; the others are other objects.
        min_area, max_area: of an object, in pixels, as the file gives them; None: no limit.
    """

    name = "coco"

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        annotations: Mapping[str, str | None] | None = None,
        images: str | None = None,
        classes: Classes = "all",
        min_area: float = 1.0,
        max_area: float | None = None,
    ) -> None:
        self.root = data_path(root)
        self.annotations = dict(annotations or {"train": None, "val": None})
        self.splits = tuple(self.annotations)
        self.images = images
        self.classes = classes
        self.min_area = min_area
        self.max_area = float("inf") if max_area is None else max_area

    def find(self, split: str, wrong: Callable[[CosegError], None]) -> Annotated:
        """See `AnnotatedReader.find`."""
        path = self._file(split)
        table = read_instances(path, wrong)
        names, numbers = chosen_classes(list(table.categories.values()), self.classes, path)
        by_category = {number: numbers[name] for number, name in table.categories.items()}
        return self._listed(split, table, names, by_category, wrong)

    def _listed(
        self,
        split: str,
        table: InstanceTable,
        names: tuple[str, ...],
        by_category: Mapping[int, int],
        wrong: Callable[[CosegError], None],
    ) -> Annotated:
        number_of = {number: i for i, number in enumerate(table.pictures)}
        kept, images, labels = array("q"), array("q"), array("B")
        for k, (image_id, category) in enumerate(zip(table.image_ids, table.category_ids, strict=True)):
            if image_id not in number_of or category not in by_category:
                what = f"image {image_id}" if image_id not in number_of else f"category {category}"
                wrong(refusal(table.path, table.ids[k], f"its {what} is not in the file"))
                continue
            is_object = not table.crowds[k] and self.min_area <= table.areas[k] <= self.max_area
            kept.append(k)
            images.append(number_of[image_id])
            labels.append(by_category[category] if is_object else VOID)
        chosen, image, label = np.array(kept, np.int64), np.array(images, np.int64), np.array(labels, np.uint8)
        area, crowd = np.array(table.areas)[chosen], np.array(table.crowds)[chosen]
        order = np.lexsort((chosen, -area, 1 - crowd.astype(np.int64), image))
        presence = np.zeros((len(number_of), len(names)), np.bool_)
        objects = label <= len(names)
        presence[image[objects], label[objects].astype(np.int64) - 1] = True
        ends = np.cumsum(np.bincount(image, minlength=len(number_of)))
        paths = self._paths(split, table)
        items = [
            AnnotatedImage(
                str(picture.file.with_suffix("")),
                paths[i],
                _Truth(picture.height, picture.width, int(ends[i - 1]) if i else 0, int(ends[i])),
            )
            for i, picture in enumerate(table.pictures.values())
        ]
        chosen = chosen[order]
        columns = [np.array(column)[chosen] for column in (table.ids, table.starts, table.ends)]
        return Annotated(items, names, presence, CocoLabels(table.path, columns[0], label[order], *columns[1:]), [])

    def _file(self, split: str) -> Path:
        """The JSON file of a split."""
        root = self.root
        if root is None or not root.is_dir():
            start = "The data set coco needs its folder" if root is None else f"{root} is not a folder"
            raise CosegError(f"{start}: set dataset.root=<folder>, or COSEG_COCO_ROOT. It looks like this:{LAYOUT}")
        given = self.annotations[split]
        if given is not None:
            if not (root / given).is_file():
                raise CosegError(f"{root / given} is missing: correct dataset.annotations.{split}.")
            return root / given
        for pattern in PATTERNS:
            paths = [path for name in NAMES.get(split, (split,)) for path in sorted(root.glob(pattern.format(name)))]
            if len(paths) > 1:
                raise CosegError(
                    f"{root} holds {first_three([path.name for path in paths])} for the split {split}: say which in "
                    f"dataset.annotations.{split}, {paths[0].relative_to(root)} say."
                )
            if paths:
                return paths[0]
        for name in ANY_SPLIT:
            if (root / name).is_file():
                return root / name
        raise CosegError(
            f"{root} has no file of instances for the split {split}: give it as dataset.annotations.{split}, a path "
            f"below the root. It looks like this:{LAYOUT}"
        )

    def _paths(self, split: str, table: InstanceTable) -> list[Path]:
        """The file of each image, which is in a listing of its folder; no image is opened."""
        assert self.root is not None
        files = [picture.file for picture in table.pictures.values()]
        if not files:
            raise CosegError(f"{table.path} lists no images: {ADVICE}.")
        year = table.path.stem.removeprefix("instances_")
        places = (year, split, f"images/{year}", f"images/{split}", "images", table.path.parent, "")
        folders = [self.root / (self.images or "")] if self.images else [self.root / place for place in places]
        folder = next((folder for folder in folders if (folder / files[0]).exists()), None)
        if folder is None:
            where = ", ".join(dict.fromkeys(str(folder) for folder in folders))
            raise CosegError(
                f"{table.path} lists {files[0]}, which is not in {where}: give its folder as dataset.images."
            )
        listings: dict[PurePosixPath, dict[str, str]] = {}
        missing, paths = [], []
        for file in files:
            if file.parent not in listings:
                place = folder / file.parent
                names = [path.name for path in place.iterdir()] if place.is_dir() else []
                listings[file.parent] = {same_form(name): name for name in names}
            name = listings[file.parent].get(same_form(file.name))
            if name is None:
                missing.append(str(file))
            paths.append(folder / file.parent / (name or file.name))
        if missing:
            raise CosegError(
                f"{table.path} lists {len(files)} images, of which {len(missing)} are not in {folder}: "
                f"{first_three(missing)}. Unpack the images again, or take them out of the file."
            )
        return paths


def _state(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise CosegError(f"{path} can't be read ({error.strerror or error}): put it back.") from None
    return status.st_size, status.st_mtime_ns
