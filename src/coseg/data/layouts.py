"""What the archive of a data set must hold for its reader to find it, told from the names of its members."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import translate
from typing import NamedTuple

from coseg.data.archive import Member


class Layout(NamedTuple):
    """`needs`: patterns of files, each of which must be there below one and the same of the folders `roots`."""

    roots: tuple[str, ...]
    needs: tuple[str, ...]

    def fits(self, files: Sequence[str]) -> bool:
        """Whether archive members with these names, files alone, are of this layout."""
        return any(all(_matches(root + need, files) for need in self.needs) for root in self.roots)


_BUNDLE = ("", "Data/", "ObjectDiscovery-data/", "ObjectDiscovery-data/Data/")
_WHOLE = "CMU_Cornell_iCoseg_dataset/"
_ICOSEG = ("", _WHOLE, *(f"{whole}{part}/" for whole in ("", _WHOLE) for part in ("dataset_public", "iCoseg")))

LAYOUTS: Mapping[str, tuple[Layout, ...]] = {
    "voc": (
        Layout(
            ("", "VOC2012/", "VOCdevkit/VOC2012/"),
            ("ImageSets/Segmentation/*.txt", "JPEGImages/*", "SegmentationClass/*"),
        ),
    ),
    "msrc": (
        Layout(("", "MSRC_ObjCategImageDatabase_v2/"), ("Images/*", "GroundTruth/*_GT.*")),
        Layout(_BUNDLE, ("sub_MSRC/*/GroundTruth/*",)),
        Layout(_BUNDLE, ("MSRC/*/GroundTruth/*",)),
    ),
    "icoseg": (
        Layout(_ICOSEG, ("images/*/*", "ground_truth/*/*")),
        Layout(_BUNDLE, ("iCoseg/*/GroundTruth/*",)),
    ),
    "internet": tuple(Layout(_BUNDLE, (f"{name}/GroundTruth/*",)) for name in ("Airplane100", "Car100", "Horse100")),
}
"""The layouts that the readers find, by data set; any of them will do."""


def wrong_archive(name: str, members: Sequence[Member]) -> str | None:
    """What is wrong with an archive that is given for the data set `name`: None where its layout is there."""
    layouts = LAYOUTS.get(name)
    files = [member.name for member in members if member.type != "folder"]
    if layouts is None or any(layout.fits(files) for layout in layouts):
        return None
    fitting = [other for other, known in LAYOUTS.items() if any(layout.fits(files) for layout in known)]
    guess = f" That is {' or '.join(fitting)}: coseg-data download {fitting[0]}." if fitting else ""
    wanted = ", ".join(layouts[0].needs)
    return f"it holds {_summary(files)}; expected are {wanted}.{guess}"


def _summary(files: Sequence[str]) -> str:
    if not files:
        return "no files"
    folders = Counter("/".join(name.split("/")[:-1][:2]) or "." for name in files)
    parts = [f"{folder}/ ({count} files)" for folder, count in folders.most_common(4)]
    return ", ".join(parts) + (f" and {len(folders) - 4} more folders" if len(folders) > 4 else "")


def _matches(pattern: str, files: Sequence[str]) -> bool:
    match = re.compile(translate(pattern), re.IGNORECASE).match
    return any(match(name) for name in files)
