"""Finding images and masks in folders: by stem, suffixes in any case, and what is left aside."""

from __future__ import annotations

import difflib
import logging
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from coseg.data.images import SUFFIXES
from coseg.errors import CosegError

log = logging.getLogger(__name__)

_OTHER_PICTURES = frozenset(
    (
        ".heic", ".heif", ".hif", ".jxl", ".jxr", ".psd", ".psb", ".xcf", ".eps", ".ps", ".pdf", ".svg", ".ai", ".tga",
        ".pcx", ".sgi", ".dds", ".ico", ".icns", ".qoi", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw",
        ".arw", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw", ".3fr", ".iiq", ".x3f", ".fits", ".dcm",
    )
)  # fmt: skip
"""What pictures are called that are not read: a data set with such files is not whole."""

_JUNK = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
"""What systems leave in folders, beside hidden files."""

STEM = "{stem}"
"""The pattern of masks that are called as their images."""


def first_three(names: Sequence[str]) -> str:
    """At most three of `names` for a sentence, as ``a, b, c, …``."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def same_form(name: str) -> str:
    """A name in one Unicode form: macOS writes é as two characters, which another system writes as one."""
    return unicodedata.normalize("NFC", name)


def child_folder(folder: Path, *names: str) -> Path | None:
    """The folder in `folder` whose name is one of `names`, in any case; the earlier name wins."""
    if not folder.is_dir():
        return None
    inside = {same_form(path.name).lower(): path for path in sorted(folder.iterdir(), reverse=True) if path.is_dir()}
    keys = [same_form(name).lower() for name in names]
    return next((inside[key] for key in keys if key in inside), None)


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder`, by name, hidden ones left out."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def images_in(folder: Path) -> dict[str, Path]:
    """The images in `folder` by their stems, sorted; a broken link is among them, and is refused when it is read.

    Hidden files and what systems leave (``Thumbs.db``) are left aside; other files are in `not_taken`.

    Raises:
        CosegError: two images have one stem.
    """
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or path.is_dir():
            continue
        stem = same_form(path.stem)
        if stem in images:
            raise CosegError(
                f"{folder} holds both {images[stem].name} and {path.name}: images are told apart by the name "
                "before the dot, so rename or remove one."
            )
        images[stem] = path
    return images


def not_taken(folders: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The files in `folders` that are not read as images: pictures of other formats, and what is no picture.

    Hidden files and what systems leave are in neither list.
    """
    pictures: list[Path] = []
    others: list[Path] = []
    for folder in folders:
        for path in sorted(folder.iterdir()):
            suffix, name = path.suffix.lower(), path.name.lower()
            if suffix in SUFFIXES or name.startswith(".") or name in _JUNK or path.is_dir():
                continue
            (pictures if suffix in _OTHER_PICTURES else others).append(path)
    return pictures, others


def pictures_not_taken(pictures: Sequence[Path]) -> str:
    """The sentence for pictures of other formats, with their number and the first names."""
    names = first_three([path.name for path in pictures])
    many = "pictures are" if len(pictures) > 1 else "picture is"
    return (
        f"{len(pictures)} {many} not taken, since their format is not read: {names} in {pictures[0].parent}. Save them "
        "as JPEG or PNG, or take them out."
    )


def paired(images: Path, masks: Path, pattern: str = STEM) -> list[tuple[str, Path, Path]]:
    """``(stem, image, mask)`` of each image in `images` with the mask in `masks` that `pattern` names.

    Args:
        images: a folder.
        masks: a folder.
        pattern: a mask's name before the dot, with ``{stem}`` for that of its image.

    Raises:
        CosegError: an image has no mask (the first three are named, and the mask whose name is nearest); two files
            have one stem; no image is of a format that is read; `pattern` is none.
    """
    truth, found = images_in(masks), images_in(images)
    names = {stem: _mask_stem(stem, pattern) for stem in found}
    missing = [stem for stem, name in names.items() if name not in truth]
    if missing:
        named = f" and is called {pattern}" if pattern != STEM else ""
        raise CosegError(
            f"{images} has {len(found)} images, of which {len(missing)} have no mask in {masks}: "
            f"{first_three([found[stem].name for stem in missing])}. A mask has its image's name before the dot"
            f"{named}{_nearest(missing, list(found), truth)}. Add what is missing, or take the images out."
        )
    pictures = [] if found else not_taken([images])[0]
    if pictures:
        raise CosegError(f"{images} has no image that is read: {pictures_not_taken(pictures)}")
    return [(stem, path, truth[names[stem]]) for stem, path in found.items()]


def without_image(images: Path, masks: Path, pattern: str = STEM) -> list[Path]:
    """Masks in `masks` that belong to no image in `images`."""
    wanted = {_mask_stem(stem, pattern) for stem in images_in(images)}
    return [path for stem, path in images_in(masks).items() if stem not in wanted]


def checked_pattern(pattern: str) -> str:
    """`pattern`, without a suffix, which may be any.

    Raises:
        CosegError: it has not ``{stem}`` once.
    """
    text = same_form(str(pattern))
    if Path(text).suffix.lower() in SUFFIXES:
        text = text[: text.rindex(".")]
    if text.count(STEM) != 1 or set(text.replace(STEM, "")) & set("{}/\\"):
        raise CosegError(
            f"dataset.reader.mask_pattern is '{pattern}', but must be a mask's name before the dot with {STEM} once "
            f"for that of its image, \"dataset.reader.mask_pattern='{STEM}_mask'\" say."
        )
    return text


def _mask_stem(stem: str, pattern: str) -> str:
    return pattern.replace(STEM, stem)


def _nearest(missing: Sequence[str], stems: Sequence[str], truth: dict[str, Path]) -> str:
    """The end of a sentence that names the mask which may be meant, and the setting that would take it."""
    free = [name for name in truth if name not in stems]
    by_letters = {name.casefold(): name for name in free}
    for stem in missing:
        if stem.casefold() in by_letters:
            path = truth[by_letters[stem.casefold()]]
            return f" (nearest: {path.name}, whose letters are not the same: rename it to {stem}{path.suffix})"
    patterns: Counter[str] = Counter()
    example: dict[str, Path] = {}
    for stem in missing[:100]:  # enough to see what most are called
        for name in free:
            if stem in name:
                pattern = name.replace(stem, STEM, 1)
                patterns[pattern] += 1
                example.setdefault(pattern, truth[name])
    if patterns:
        pattern = max(patterns, key=lambda text: (_fitting(text, missing, truth), -len(text)))
        mask = example[pattern]
        if Path(pattern).suffix.lower() in SUFFIXES:  # of 000.jpg.png: which of the two is the suffix must be seen
            pattern += mask.suffix
        return (
            f" (nearest: {mask.name}; to take masks that are called so, set "
            f"\"dataset.reader.mask_pattern='{pattern}'\", with coseg-data --set \"reader.mask_pattern='{pattern}'\")"
        )
    close = difflib.get_close_matches(missing[0], free, n=1)
    return f" (nearest: {truth[close[0]].name})" if close else ""


def _fitting(pattern: str, stems: Sequence[str], truth: Collection[str]) -> int:
    return sum(_mask_stem(stem, pattern) in truth for stem in stems)
