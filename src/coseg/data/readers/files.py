"""Finding images and masks in folders: by stem, suffixes in any case, strays left aside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coseg.errors import CosegError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def first_three(names: Sequence[str]) -> str:
    """At most three of `names` for a sentence, as ``a, b, c, …``."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def child_folder(folder: Path, *names: str) -> Path | None:
    """The folder in `folder` whose name is one of `names`, in any case; the earlier name wins."""
    if not folder.is_dir():
        return None
    inside = {path.name.lower(): path for path in sorted(folder.iterdir(), reverse=True) if path.is_dir()}
    return next((inside[name.lower()] for name in names if name.lower() in inside), None)


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder`, by name, hidden ones left out."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def images_in(folder: Path) -> dict[str, Path]:
    """The images in `folder` by their stems, sorted; other files (``Thumbs.db``, hidden ones) are left aside.

    Raises:
        CosegError: two images have one stem.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in found:
            raise CosegError(
                f"{folder} holds both {found[path.stem].name} and {path.name}: images are told apart by the name "
                "before the dot, so rename or remove one."
            )
        found[path.stem] = path
    return found


def paired(images: Path, masks: Path, mask_ending: str = "") -> list[tuple[str, Path, Path]]:
    """``(stem, image, mask)`` of each image in `images` with the mask in `masks` named ``<stem><mask_ending>``.

    Raises:
        CosegError: an image has no mask (the first three are named), or two files have one stem.
    """
    truth = images_in(masks)
    found = images_in(images)
    missing = [path.name for stem, path in found.items() if f"{stem}{mask_ending}" not in truth]
    if missing:
        raise CosegError(
            f"{images} has {len(found)} images, of which {len(missing)} have no mask in {masks}: "
            f"{first_three(missing)}. A mask has its image's name{f' and {mask_ending}' if mask_ending else ''} before "
            "the dot: add what is missing, or take the images out."
        )
    return [(stem, path, truth[f"{stem}{mask_ending}"]) for stem, path in found.items()]


def without_image(images: Path, masks: Path, mask_ending: str = "") -> list[Path]:
    """Masks in `masks` that belong to no image in `images`."""
    found = images_in(images)
    return [path for stem, path in images_in(masks).items() if stem.removesuffix(mask_ending) not in found]
