"""Write images in groups in the disk layouts of data sets that come so, and in folders of one's own.

For generated data sets and for tests: formats, names and modes of the files are those of the releases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.data.catalog import Catalog
from coseg.data.pair_index import PairIndex
from coseg.data.readers.groups import FOREGROUND, OTHER_OBJECT
from coseg.data.readers.msrc import COLOURS, GROUPS, class_of
from layouts.voc import JPEG_QUALITY


class GroupItem(NamedTuple):
    """An image to write.

    Attributes:
        group: the folder's name; of MSRC v2 the group's.
        image: RGB uint8 (H, W, 3).
        truth: uint8 (H, W): 0 background, 1 the group's object, 2 another object, 255 void; only MSRC v2 can say more
            than whether it is 1.
    """

    group: str
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]


SIZE = (12, 16)
"""Height and width of `items`."""


def items(counts: Mapping[str, int], truth: int = 1, seed: int = 0) -> Iterator[GroupItem]:
    """`counts` images of each group, with a square of `truth` in the middle, void above and another object below."""
    rng = np.random.default_rng(seed)
    for group, count in counts.items():
        for _ in range(count):
            labels = np.zeros(SIZE, np.uint8)
            labels[0], labels[3:8, 4:9], labels[10] = 255, truth, 2
            yield GroupItem(group, rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), labels)


def pairs_of(catalog: Catalog) -> set[tuple[str, ...]]:
    """The pairs of a catalog, by the ids of their images."""
    index = PairIndex(catalog.presence)
    return {tuple(catalog.ids[i] for i in index[k]) for k in range(len(index))}


def write_msrc(root: Path, items: Iterable[GroupItem]) -> None:
    """Write ``root/MSRC_ObjCategImageDatabase_v2/{Images,GroundTruth}`` as 24-bit BMP."""
    folder = root / "MSRC_ObjCategImageDatabase_v2"
    for number, item in _numbered(items):
        name = f"{GROUPS.index(item.group) + 1}_{number}_s"
        colours = np.zeros((256, 3), np.uint8)  # void is black
        colours[0] = COLOURS["grass"]
        colours[FOREGROUND] = COLOURS.get(class_of(item.group), COLOURS["tree"])
        colours[OTHER_OBJECT] = COLOURS["face" if item.group != "face" else "book"]
        _save(item.image, folder / "Images" / f"{name}.bmp")
        _save(colours[item.truth], folder / "GroundTruth" / f"{name}_GT.bmp")


def write_icoseg(root: Path, items: Iterable[GroupItem]) -> None:
    """Write ``root/{images,ground_truth}/<group>`` as JPEG and 1-bit PNG."""
    for number, item in _numbered(items):
        _save(item.image, root / "images" / item.group / f"{number:07d}.jpg")
        _save(item.truth == FOREGROUND, root / "ground_truth" / item.group / f"{number:07d}.png")


def write_object_discovery(root: Path, items: Iterable[GroupItem], ending: str = "jpg") -> None:
    """Write ``root/<group>`` with ``GroundTruth`` in it, as JPEG (or another ending) and grey PNG of 0 and 255."""
    for number, item in _numbered(items):
        _save(item.image, root / item.group / f"{number:04d}.{ending}")
        _save(_white(item.truth), root / item.group / "GroundTruth" / f"{number:04d}.png")


def write_cosod(root: Path, items: Iterable[GroupItem], images: str = "image", truth: str = "gt") -> None:
    """Write ``root/<images>/<group>`` and ``root/<truth>/<group>`` as JPEG and grey PNG with smooth edges.

    `images` and `truth` may have the folder of a set, ``images/CoCA``.
    """
    for number, item in _numbered(items):
        smooth = _white(item.truth)
        smooth[:, 1:][(smooth[:, 1:] == 0) & (smooth[:, :-1] == 255)] = 100  # below the threshold
        _save(item.image, root / images / item.group / f"{number:04d}.jpg")
        _save(smooth, root / truth / item.group / f"{number:04d}.png")


def write_folder(root: Path, items: Iterable[GroupItem]) -> None:
    """Write ``root/<group>/{images,masks}`` as JPEG and 8-bit grey PNG."""
    for number, item in _numbered(items):
        _save(item.image, root / item.group / "images" / f"{number:04d}.jpg")
        _save(_white(item.truth), root / item.group / "masks" / f"{number:04d}.png")


def write_fss1000(root: Path, items: Iterable[GroupItem]) -> None:
    """Write ``root/<class>/{1.jpg,1.png}`` … as JPEG and 24-bit PNG, whose edges are grey."""
    for number, item in _numbered(items):
        grey = _white(item.truth)
        grey[:, 1:][(grey[:, 1:] == 0) & (grey[:, :-1] == 255)] = 100  # below the threshold
        _save(item.image, root / item.group / f"{number}.jpg")
        _save(np.repeat(grey[..., None], 3, 2), root / item.group / f"{number}.png")


def write_weizmann_horses(root: Path, items: Iterable[GroupItem]) -> None:
    """Write ``root/{rgb,gray,figure_ground}/horse001.jpg`` …, all as JPEG."""
    for number, item in _numbered(items):
        name = f"horse{number:03d}.jpg"
        _save(item.image, root / "rgb" / name)
        _save(np.array(Image.fromarray(item.image).convert("L")), root / "gray" / name)
        _save(_white(item.truth), root / "figure_ground" / name)


def write_weizmann_objects(root: Path, items: Iterable[GroupItem], people: int = 3) -> None:
    """Write ``root/<name>/{src_color,src_bw,human_seg}`` as PNG, of Alpert et al. (CVPR 2007).

    People mark the object in red, another object in blue, on the grey image. All but the last mark just that; the last
    one everything.
    """
    for number, item in _numbered(items):
        name = f"{item.group}{number}"
        grey = np.array(Image.fromarray(item.image).convert("L"))
        _save(item.image, root / name / "src_color" / f"{name}.png")
        _save(grey, root / name / "src_bw" / f"{name}.png")
        for person in range(people):
            drawn = np.repeat(grey[..., None], 3, 2)
            drawn[item.truth == FOREGROUND] = (255, 0, 0)
            drawn[item.truth == OTHER_OBJECT] = (0, 0, 255)
            if person == people - 1 and people > 1:
                drawn[:] = (255, 0, 0)
            _save(drawn, root / name / "human_seg" / f"{name}_{person + 1}.png")
    (root / "info.txt").write_text("of the archive")


def _numbered(items: Iterable[GroupItem]) -> Iterable[tuple[int, GroupItem]]:
    """Each item with its number in its group, from 1."""
    counts: dict[str, int] = {}
    for item in items:
        counts[item.group] = counts.get(item.group, 0) + 1
        yield counts[item.group], item


def _white(truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(truth == FOREGROUND, 255, 0).astype(np.uint8)


def _save(pixels: NDArray[np.uint8] | NDArray[np.bool_], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=JPEG_QUALITY)
