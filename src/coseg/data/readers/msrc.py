"""MSRC v2 (Winn, Criminisi, Minka, ICCV 2005; Shotton et al., ECCV 2006): photographs with a truth in colours.

The official release::

    MSRC_ObjCategImageDatabase_v2/
        Images/       1_1_s.bmp …      591 images of about 320 x 213 pixels; the first number is the group
        GroundTruth/  1_1_s_GT.bmp …   the classes of the pixels, as colours

Pairs are formed within a group and the foreground is the group's own class: grass or sky that two pictures share is
background, things of another class are other objects. The literature uses 7 groups, and of each 10 images, which only
the object-discovery bundle names (``Data/sub_MSRC/<group>``, see `coseg.data.readers.internet`); of the
release, all 208 images of these groups are taken. The bundle's ``Data/MSRC`` is a third choice of images.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coseg.data.readers.files import child_folder, chosen_groups, paired, without_image
from coseg.data.readers.groups import FOREGROUND, OTHER_OBJECT, GroupImage, GroupReader, Groups, ImageSet
from coseg.data.readers.internet import group_folders, images_of, strays_of
from coseg.errors import CosegError, unknown_choice
from coseg.imaging.read import read_photograph
from coseg.labels import VOID

COLOURS = {
    "void": (0, 0, 0), "building": (128, 0, 0), "grass": (0, 128, 0), "tree": (128, 128, 0), "cow": (0, 0, 128),
    "horse": (128, 0, 128), "sheep": (0, 128, 128), "sky": (128, 128, 128), "mountain": (64, 0, 0),
    "aeroplane": (192, 0, 0), "water": (64, 128, 0), "face": (192, 128, 0), "car": (64, 0, 128),
    "bicycle": (192, 0, 128), "flower": (64, 128, 128), "sign": (192, 128, 128), "bird": (0, 64, 0),
    "book": (128, 64, 0), "chair": (0, 192, 0), "road": (128, 64, 128), "cat": (0, 192, 128), "dog": (128, 192, 128),
    "body": (64, 64, 0), "boat": (192, 64, 0),
}  # fmt: skip
"""The colours of the release's truth."""

STUFF = ("building", "grass", "tree", "sky", "mountain", "water", "road")
"""Classes that are surroundings: background, where the group is not theirs."""

GROUPS = (
    "farmland", "tree", "building", "plane", "cow", "face", "car", "bicycle", "sheep", "flower",
    "sign", "bird", "book", "chair", "cat", "dog", "road", "water", "body", "boat",
)  # fmt: skip
"""The groups of the release, by the first number of an image's name, from 1."""

TEST_GROUPS = ("bird", "car", "cat", "cow", "dog", "plane", "sheep")
"""Those of the literature."""

COUNTS = {"plane": 30, "cow": 30, "car": 30, "sheep": 30, "dog": 30, "bird": 34, "cat": 24}
"""Images of the release, where they are known."""

SUBSET_COUNT = 10
"""Images in each group of ``sub_MSRC``."""

BUNDLE = {"sub_msrc": "msrc_subset", "msrc": "msrc_object_discovery"}
"""Names of the image sets of the object-discovery bundle, by their folders."""

LAYOUTS = ("auto", "v2", "object_discovery")

_MASKS = "{stem}_GT"
_NO_CLASS = "farmland"  # a group of landscapes, which shares no object


def class_of(group: str) -> str:
    """The class of a group's object."""
    return "aeroplane" if group == "plane" else group


def coloured_truth(item: GroupImage) -> NDArray[np.uint8]:
    """The truth of an image of the release.

    Raises:
        CosegError: the file is damaged, or has a colour that is no class.
    """
    rgb = read_photograph(item.mask).astype(np.uint32)
    codes = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    names = list(COLOURS)
    known = np.array([red << 16 | green << 8 | blue for red, green, blue in COLOURS.values()], np.uint32)
    order = np.argsort(known)
    at = order[np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)]
    wrong = known[at] != codes
    if wrong.any():
        y, x = np.argwhere(wrong)[0]
        colour = ", ".join(str(value) for value in rgb[y, x])
        raise CosegError(
            f"{item.mask} has {int(wrong.sum())} pixels whose colour is no class of MSRC ({colour} at row {y}, column "
            f"{x}): use the release's own files, not ones that were resized or saved as JPEG."
        )
    values = {"void": VOID} | {name: 0 if name in STUFF else OTHER_OBJECT for name in names if name != "void"}
    values[class_of(item.group)] = FOREGROUND
    return np.array([values[name] for name in names], np.uint8)[at]


class MsrcReader(GroupReader):
    """Reads MSRC v2, or its part in the object-discovery bundle.

    Args:
        root: the folder that holds ``Images`` and ``GroundTruth``, or one that holds it; or the bundle's folder.
        groups: ``test`` (the 7 of the literature), ``all`` (every group with a class), or a list of names.
        layout: ``v2``, ``object_discovery``, or ``auto`` for the one on disk.
    """

    name = "msrc"

    def __init__(self, root: str | os.PathLike[str] | None, groups: Groups = "test", layout: str = "auto") -> None:
        super().__init__(root, groups)
        if layout not in LAYOUTS:
            raise unknown_choice("dataset.layout", layout, LAYOUTS)
        self.layout = layout

    def find(self) -> ImageSet:
        """See `GroupReader.find`. Image sets of the bundle have names of their own, which are in `BUNDLE`."""
        release, place, bundle = self._folders()
        if release is not None:
            images_by_group: dict[str, list[GroupImage]] = {group: [] for group in GROUPS}
            for stem, image, mask in paired(*release, _MASKS):
                group = self._group(stem, image)
                images_by_group[group].append(GroupImage(stem, group, image, mask))
            with_class = [group for group, images in images_by_group.items() if images and group != _NO_CLASS]
            wanted = chosen_groups(self.groups, with_class, TEST_GROUPS)
            return ImageSet(self.name, {group: images_by_group[group] for group in wanted}, coloured_truth)
        known = {("plane" if name.lower() == "aeroplane" else name.lower()): path for name, path in bundle.items()}
        wanted = chosen_groups(self.groups, list(known), TEST_GROUPS)
        return ImageSet(BUNDLE[place], {group: images_of(known[group], group) for group in wanted})

    def expected(self, name: str, groups: Sequence[str]) -> Mapping[str, int | None]:
        """See `GroupReader.expected`."""
        counts = {"msrc": COUNTS, "msrc_subset": dict.fromkeys(TEST_GROUPS, SUBSET_COUNT)}.get(name, {})
        return {group: counts.get(group) for group in groups}

    def strays(self) -> list[Path]:
        """See `GroupReader.strays`."""
        release, _, bundle = self._folders()
        if release is not None:
            return without_image(*release, _MASKS)
        return [path for folder in bundle.values() for path in strays_of(folder)]

    def _folders(self) -> tuple[tuple[Path, Path] | None, str, dict[str, Path]]:
        """Images and truth of the release, or which part of the bundle it is, and its groups."""
        if self.root is not None and self.root.is_dir():
            if self.layout != "object_discovery":
                for folder in (self.root, child_folder(self.root, "MSRC_ObjCategImageDatabase_v2")):
                    images, truth = (folder and child_folder(folder, name) for name in ("Images", "GroundTruth"))
                    if images and truth:
                        return (images, truth), "", {}
            if self.layout != "v2":
                place, groups = group_folders(self.root, "sub_MSRC", "MSRC")
                if groups:
                    return None, "sub_msrc" if place.lower() == "sub_msrc" else "msrc", groups
        raise _missing(self.root)

    def _group(self, stem: str, image: Path) -> str:
        number = stem.split("_")[0]
        if not (number.isdecimal() and 1 <= int(number) <= len(GROUPS)):
            raise CosegError(
                f"{image} is not named as in MSRC v2, <group>_<number>_s.bmp with a group from 1 to {len(GROUPS)}: "
                "take it out, or read your own images with dataset=folder."
            )
        return GROUPS[int(number) - 1]


def _missing(root: Path | None) -> CosegError:
    start = (
        "The data set msrc needs its folder: set dataset.root=<folder>, or the environment variable COSEG_MSRC_ROOT."
        if root is None
        else f"{root} does not hold MSRC v2. Set dataset.root (or COSEG_MSRC_ROOT) to its folder."
    )
    return CosegError(
        f"{start} Unpacked, the archive msrc_objcategimagedatabase_v2.zip looks like this:\n"
        "    MSRC_ObjCategImageDatabase_v2/\n        Images/1_1_s.bmp …\n        GroundTruth/1_1_s_GT.bmp …\n"
        "and the object-discovery bundle like this:\n    Data/sub_MSRC/<group>/1.bmp …, GroundTruth/1.png …"
    )
