"""Where the files of PASCAL VOC's layout are: its folder, its lists, and that the files they name are there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from coseg.data.images import SUFFIXES
from coseg.data.readers.files import child_folder, first_three, same_form
from coseg.errors import CosegError

LAYOUT = """
    VOC2012/
        JPEGImages/2007_000032.jpg …
        SegmentationClass/2007_000032.png …
        ImageSets/Segmentation/train.txt, val.txt"""

ARCHIVE = (
    "The data is the archive VOCtrainval_11-May-2012.tar of the PASCAL VOC 2012 page "
    "(http://host.robots.ox.ac.uk/pascal/VOC/voc2012/)."
)


def image_path(folder: Path, name: str) -> Path:
    """Where VOC has the image `name`."""
    return folder / "JPEGImages" / f"{name}.jpg"


def mask_path(folder: Path, name: str) -> Path:
    """Where VOC has the label map of image `name`."""
    return folder / "SegmentationClass" / f"{name}.png"


def find_folder(root: Path | None) -> Path:
    """The folder below `root` that holds ``ImageSets``, ``JPEGImages`` and ``SegmentationClass``.

    Raises:
        CosegError: there is none; the sentence draws what is expected.
    """
    if root is None:
        raise CosegError(
            "The data set voc needs its folder: set dataset.root=<folder>, or the environment variable "
            f"COSEG_VOC_ROOT. {ARCHIVE} Unpacked, it looks like this:{LAYOUT}"
        )
    if not root.is_dir():
        raise CosegError(
            f"{root} is not a folder. Set dataset.root (or COSEG_VOC_ROOT) to the folder of VOC 2012. "
            f"{ARCHIVE} Unpacked, it looks like this:{LAYOUT}"
        )
    parts = ("ImageSets", "JPEGImages", "SegmentationClass")
    missing = {
        folder: [part for part in parts if not (folder / part).is_dir()]
        for folder in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012")
    }
    nearest = min(missing, key=lambda folder: len(missing[folder]))
    if missing[nearest]:
        raise CosegError(
            f"{nearest} has no folder {' and no '.join(missing[nearest])}. Set dataset.root (or COSEG_VOC_ROOT) to "
            f"the folder of VOC 2012. {ARCHIVE} Unpacked, it looks like this:{LAYOUT}"
        )
    return nearest


def read_list(path: Path) -> list[str]:
    """The ids in a list, one a line, blank lines left out.

    Raises:
        CosegError: the list is missing, is not text, is empty, names an image twice or one outside of the folder.
    """
    try:
        ids = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise CosegError(
            f"{path} is missing: it lists the images of a split, one id a line. Unpack the archive again or write it."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CosegError(
            f"{path} cannot be read ({error}): it must be a text file with one image id a line."
        ) from error
    if not ids:
        raise CosegError(f"{path} is empty: write one image id a line, or unpack the archive again.")
    outside = [name for name in ids if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    if outside:
        raise CosegError(
            f"{path} names {first_three(outside)}: an id is a file's name without suffix, below JPEGImages, such as "
            "day1/img0. Correct the list."
        )
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise CosegError(
            f"{path} names {len(twice)} images more than once: {first_three(twice)}. Remove the repeated lines."
        )
    return ids


def files_of(folder: Path, ids: Sequence[str]) -> dict[str, tuple[Path, Path]]:
    """Image and label map of each of `ids`, of any suffix that is read; where one is missing, its usual path.

    Raises:
        CosegError: an id has two images, or two label maps.
    """
    images, masks = (_by_id(folder / part, ids) for part in ("JPEGImages", "SegmentationClass"))
    return {
        name: (images.get(name, image_path(folder, name)), masks.get(name, mask_path(folder, name))) for name in ids
    }


def check_files(folder: Path, ids: Sequence[str], source: Path) -> None:
    """Refuse a list `source` whose `ids` don't all have an image and a mask in `folder`.

    Raises:
        CosegError: a file is missing.
    """
    for what, part, path_of in (("image", "JPEGImages", image_path), ("mask", "SegmentationClass", mask_path)):
        there = _by_id(folder / part, ids)
        missing = [name for name in ids if name not in there]
        if missing:
            where = folder / part
            names = first_three([str(path_of(folder, name).relative_to(where)) for name in missing])
            raise CosegError(
                f"{source} names {len(ids)} images, of which {len(missing)} have no {what} in {where}: {names}."
                f"{_hint(where, missing[0])} Unpack the archive again, or take them out of the list."
            )


def missing_files(folder: Path, ids: Sequence[str]) -> list[Path]:
    """The images and masks of `ids` that are not in `folder`."""
    missing = []
    for part, path_of in (("JPEGImages", image_path), ("SegmentationClass", mask_path)):
        there = _by_id(folder / part, ids)
        missing += [path_of(folder, name) for name in ids if name not in there]
    return missing


def _by_id(folder: Path, ids: Sequence[str]) -> dict[str, Path]:
    """The file of each of `ids` below `folder`, without those that have none."""
    listings: dict[PurePosixPath, dict[str, list[Path]]] = {}  # one call a folder: a network disk is slow to ask
    files: dict[str, Path] = {}
    for name in ids:
        place = PurePosixPath(name)
        if place.parent not in listings:
            listings[place.parent] = _listing(_below(folder, place.parent))
        paths = listings[place.parent].get(same_form(place.name), [])
        if len(paths) > 1:
            raise CosegError(
                f"{paths[0].parent} holds both {paths[0].name} and {paths[1].name}, one of which {name} in the list "
                "means: remove the other."
            )
        if paths:
            files[name] = paths[0]
    return files


def _listing(folder: Path | None) -> dict[str, list[Path]]:
    by_stem: dict[str, list[Path]] = {}
    for name in sorted(os.listdir(folder)) if folder is not None else ():
        path = Path(name)
        if path.suffix.lower() in SUFFIXES and not name.startswith("."):
            by_stem.setdefault(same_form(path.stem), []).append(Path(folder or "", name))
    return by_stem


def _below(folder: Path, place: PurePosixPath) -> Path | None:
    """The folder `place` below `folder`, in whatever Unicode form it is written."""
    current: Path | None = folder if folder.is_dir() else None
    for part in place.parts:
        if current is not None:
            current = current / part if (current / part).is_dir() else child_folder(current, part)
    return current


def _hint(where: Path, name: str) -> str:
    """What may be meant by an id that has no file."""
    if Path(name).suffix.lower() in SUFFIXES:
        return " An id has no suffix."
    place = _below(where, PurePosixPath(name).parent)
    stem = PurePosixPath(name).name
    for other in sorted(os.listdir(place)) if place is not None else ():
        if Path(other).stem == stem:
            return f" {other} is there, but its format is not read: save it as JPEG or PNG."
        if same_form(Path(other).stem).casefold() == same_form(stem).casefold():
            return f" {other} is there, whose letters are not the same: rename it."
    return ""
