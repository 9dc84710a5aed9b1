"""Write drawn shapes to disk as another reader expects them: whole data sets in real layouts, for tests and trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from coseg.data.readers.groups import FOREGROUND, OTHER_OBJECT
from coseg.data.readers.shapes import SEEN, ShapesReader
from coseg.errors import unknown_choice
from layouts.annotated import Items, write_coco, write_cvat, write_labelme
from layouts.groups import GroupItem, write_cosod, write_folder, write_icoseg, write_msrc, write_object_discovery
from layouts.voc import write_voc

MSRC_GROUPS = ("bird", "car", "cat", "cow", "dog", "plane", "sheep", "bicycle", "face", "flower", "chair", "boat")
ICOSEG_GROUPS = (
    "brown_bear", "002 Alaskan Brown Bear", "Cheetah", "021 Elephants-safari", "Helicopter", "041 Hot Balloons",
    "023 Pandas", "024 Pandas", "015 Ferrari", "032 Kite", "037 Skating", "006 Red Sox Players",
)  # fmt: skip
INTERNET_GROUPS = ("Airplane100", "Car100", "Horse100")


def write_tree(reader: ShapesReader, root: Path, layout: str = "voc") -> None:
    """Write the pictures in the disk layout of another reader.

    Args:
        reader: what to write.
        root: the folder, made if it is missing.
        layout: ``voc``: the list `train` holds the split `train`, the list `val` holds `val`, then `seen`; ids are
            those of the catalogs, labels are 1 to 12. Others hold the split `seen`, an image in the group of the first
            of its classes: ``msrc`` and ``icoseg``, official releases with groups by their real names; ``msrc_subset``,
            ``msrc_object_discovery`` and ``icoseg_object_discovery``, their parts in the bundle of that name;
            ``internet``, where images of all but three classes show no such object; ``folder`` and ``cosod``, a group
            for each class; ``coco``, ``labelme`` and ``cvat``, all objects as the split ``val``. Pictures in JPEG
            files change a little.

    Raises:
        CosegError: there is no such layout.
    """
    if layout not in LAYOUTS:
        raise unknown_choice("the layout to write shapes in", layout, tuple(LAYOUTS))
    LAYOUTS[layout](reader, root)


def _write_voc(reader: ShapesReader, root: Path) -> None:
    train, val, seen = (reader.read(split) for split in ("train", "val", "seen"))
    items = ((name, c.image(i), c.labels(i)) for c in (train, val, seen) for i, name in enumerate(c.ids))
    write_voc(root, items, {"train": train.ids, "val": tuple(chain(val.ids, seen.ids))})


def _items(reader: ShapesReader, groups: Sequence[str]) -> Iterator[GroupItem]:
    """The split `seen`; the images of a class without a group go to the others in turn, with empty truth."""
    catalog = reader.read("seen")
    for i, plan in enumerate(catalog.plan):
        k, labels = plan[0], catalog.labels(i)
        truth = np.where(labels > 0, OTHER_OBJECT, 0).astype(np.uint8)
        if k < len(groups):
            truth[labels == k + 1] = FOREGROUND
        yield GroupItem(groups[k % len(groups)], catalog.image(i), truth)


def _seen(reader: ShapesReader) -> Items:
    """The split `seen`."""
    catalog = reader.read("seen")
    return ((name, catalog.image(i), catalog.labels(i)) for i, name in enumerate(catalog.ids))


NAMES = tuple(kind.silhouette for kind in SEEN)
LAYOUTS: dict[str, Callable[[ShapesReader, Path], None]] = {
    "voc": _write_voc,
    "msrc": lambda reader, root: write_msrc(root, _items(reader, MSRC_GROUPS)),
    "msrc_subset": lambda reader, root: write_object_discovery(
        root / "Data" / "sub_MSRC", _items(reader, MSRC_GROUPS), "bmp"
    ),
    "msrc_object_discovery": lambda reader, root: write_object_discovery(
        root / "Data" / "MSRC", _items(reader, MSRC_GROUPS), "bmp"
    ),
    "icoseg": lambda reader, root: write_icoseg(root, _items(reader, ICOSEG_GROUPS)),
    "icoseg_object_discovery": lambda reader, root: write_object_discovery(
        root / "Data" / "iCoseg", _items(reader, ICOSEG_GROUPS)
    ),
    "internet": lambda reader, root: write_object_discovery(root / "Data", _items(reader, INTERNET_GROUPS)),
    "folder": lambda reader, root: write_folder(root, _items(reader, NAMES)),
    "cosod": lambda reader, root: write_cosod(root, _items(reader, NAMES)),
    "coco": lambda reader, root: write_coco(root, _seen(reader), NAMES, "val2017"),
    "labelme": lambda reader, root: write_labelme(root / "val", _seen(reader), NAMES),
    "cvat": lambda reader, root: write_cvat(root, _seen(reader), NAMES, {"default": reader.read("seen").ids}),
}
"""Writers of the whole data set, by the reader whose layout they write."""
