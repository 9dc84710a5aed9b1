"""The archives that `coseg-data` downloads: their addresses, checksums, and the layout that each must hold."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple

from coseg.data.archive import Limits, Member
from coseg.errors import CosegError
from coseg.files.writing import write_text_atomically


class Archive(NamedTuple):
    """A file to download.

    Attributes:
        url: where it is.
        checksum: ``md5:…`` or ``sha256:…``; None where nobody published one: the first download's is recorded.
        page: where people find it, should the address have changed.
        limits: far above what it has: 2 GB at most, and 60,000 files.
    """

    url: str
    checksum: str | None
    page: str
    limits: Limits = Limits()

    @property
    def file(self) -> str:
        """The archive's file name."""
        return self.url.rsplit("/", 1)[1]


ARCHIVES: Mapping[str, Archive] = {
    "voc": Archive(
        "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "md5:6cd6e144f989b92b3379bac3b3de84fd",  # as torchvision has it
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    ),
    "msrc": Archive(
        "https://download.microsoft.com/download/3/3/9/339D8A24-47D7-412F-A1E8-1A415BC48A15/"
        "msrc_objcategimagedatabase_v2.zip",
        "md5:8fcd292c7f1e69f91a2ef513746bd52c",
        "https://www.microsoft.com/en-us/research/project/image-understanding/",
    ),
    "icoseg": Archive(
        "http://chenlab.ece.cornell.edu/projects/touch-coseg/CMU_Cornell_iCoseg_dataset.zip",
        None,
        "http://chenlab.ece.cornell.edu/projects/touch-coseg/",
    ),
    "internet": Archive(
        "https://people.csail.mit.edu/mrub/ObjectDiscovery/ObjectDiscovery-data.zip",
        None,
        "https://people.csail.mit.edu/mrub/ObjectDiscovery/",
    ),
}
"""What ``coseg-data download`` fetches, by data set. A data set that a user has on disk needs no entry."""


CHECKSUMS = "checksums.json"
"""Beside the folder: the checksums of archives whose publishers give none, as they were at the first download."""

_CHECKSUM = re.compile(r"(md5:|sha256:)?[0-9a-f]{32,64}")


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


def wrong_checksum(archive: Archive, where: str, known: str | None, folder: Path) -> CosegError:
    """The error for an archive, from the address or path `where`, that has not the checksum `known`."""
    source = "published" if archive.checksum else f"recorded in {folder.parent / CHECKSUMS} at the first download"
    return CosegError(
        f"{where} has another checksum than the one {source} ({known}): it is damaged or was changed. Try again later, "
        f"or fetch it by hand from {archive.page} and give it as --archive."
    )


def known_checksum(archive: Archive, folder: Path) -> str | None:
    """The published checksum of an archive, or that recorded at the first download beside `folder`; None: neither.

    Raises:
        CosegError: the file of recorded checksums is damaged.
    """
    return archive.checksum or _recorded(folder, archive)


def _recorded(folder: Path, archive: Archive) -> str | None:
    path = folder.parent / CHECKSUMS
    if not path.is_file():
        return None
    try:
        checksums = json.loads(path.read_text(encoding="utf-8"))
        known = checksums.get(archive.file)
        if known is not None and not _CHECKSUM.fullmatch(known):
            raise ValueError(f"{known!r} is no checksum")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CosegError(f"{path} is damaged ({error}): correct it, or remove it to record checksums anew.") from error
    return known if known is None else str(known)


def record_checksum(archive: Archive, folder: Path, path: Path) -> None:
    """Record the checksum of an archive whose publisher gives none."""
    if archive.checksum is not None or _recorded(folder, archive) is not None:
        return
    import pooch

    checksum = f"sha256:{pooch.file_hash(str(path))}"
    place = folder.parent / CHECKSUMS
    earlier = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    write_text_atomically(place, json.dumps(earlier | {archive.file: checksum}, indent=2) + "\n")
    print(
        f"nobody published a checksum of {archive.file}: {checksum} is recorded in {place}, and another one will be "
        "refused",
        file=sys.stderr,
    )
