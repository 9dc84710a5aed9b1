"""Where the files of PASCAL VOC's layout are: its folder, its lists, and that the files they name are there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from coseg.data.readers.files import first_three
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
    """Where the image `name` is."""
    return folder / "JPEGImages" / f"{name}.jpg"


def mask_path(folder: Path, name: str) -> Path:
    """Where the label map of image `name` is."""
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
        CosegError: the list is missing, is not text, is empty, or names an image twice.
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
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise CosegError(
            f"{path} names {len(twice)} images more than once: {first_three(twice)}. Remove the repeated lines."
        )
    return ids


def check_files(folder: Path, ids: Sequence[str], source: Path) -> None:
    """Refuse a list `source` whose `ids` don't all have an image and a mask in `folder`.

    Raises:
        CosegError: a file is missing.
    """
    for kind, path_of in (("image", image_path), ("mask", mask_path)):
        where = path_of(folder, "").parent
        missing = [path.name for path in missing_files(folder, ids) if path.parent == where]
        if missing:
            raise CosegError(
                f"{source} names {len(ids)} images, of which {len(missing)} have no {kind} in {where}: "
                f"{first_three(missing)}. Unpack the archive again, or take them out of the list."
            )


def missing_files(folder: Path, ids: Sequence[str]) -> list[Path]:
    """The images and masks of `ids` that are not in `folder`."""
    missing = []
    for path_of in (image_path, mask_path):
        present = set(os.listdir(path_of(folder, "").parent))  # one call: a network disk is slow to ask for each
        missing += [path for path in (path_of(folder, name) for name in ids) if path.name not in present]
    return missing
