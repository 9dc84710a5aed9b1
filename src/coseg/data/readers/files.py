"""Groups, images and masks in folders: by their stems or by the ids of a list, with suffixes in any case."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from os.path import splitext
from pathlib import Path, PurePosixPath

from coseg.errors import CosegError, unknown_choice
from coseg.imaging.read import SUFFIXES

_OTHER_PICTURES = frozenset(
    (
        ".heic", ".heif", ".hif", ".jxl", ".jxr", ".psd", ".psb", ".xcf", ".eps", ".ps", ".pdf", ".svg", ".ai", ".tga",
        ".pcx", ".sgi", ".dds", ".ico", ".icns", ".qoi", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw",
        ".arw", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw", ".3fr", ".iiq", ".x3f", ".fits", ".dcm",
    )
)  # fmt: skip
"""Suffixes of pictures that are not read: a data set with such files is reported as incomplete."""

_JUNK = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
"""Files that operating systems leave in folders, beside hidden files."""

STEM = "{stem}"
"""The pattern of masks that are named as their images."""


Groups = str | Sequence[str]
"""The name of a choice of groups (``test``, ``all``), or a list of groups."""


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


def images_in(folder: Path, chosen: Callable[[Path], bool] = lambda path: True) -> dict[str, Path]:
    """The images in `folder` by their stems, sorted; a broken link is among them, and is refused when it is read.

    Only files that are `chosen` count.

    Hidden files and those of operating systems (``Thumbs.db``) are skipped; `not_taken` lists the rest.

    Raises:
        CosegError: two images have one stem.
    """
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or path.is_dir() or not chosen(path):
            continue
        stem = same_form(path.stem)
        if stem in images:
            raise CosegError(
                f"{folder} holds both {images[stem].name} and {path.name}: images are identified by the name "
                "before the dot, so rename or remove one."
            )
        images[stem] = path
    return images


def not_taken(folders: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The files in `folders` that are not read as images: pictures of other formats, and files that are no pictures.

    Hidden files and those of operating systems are in neither list.
    """
    pictures: list[Path] = []
    other_files: list[Path] = []
    for folder in folders:
        for path in sorted(folder.iterdir()):
            suffix, name = path.suffix.lower(), path.name.lower()
            if suffix in SUFFIXES or name.startswith(".") or name in _JUNK or path.is_dir():
                continue
            (pictures if suffix in _OTHER_PICTURES else other_files).append(path)
    return pictures, other_files


def pictures_not_taken(pictures: Sequence[Path]) -> str:
    """The message for pictures of other formats, with their number and the first names."""
    names = first_three([path.name for path in pictures])
    many = "pictures are" if len(pictures) > 1 else "picture is"
    return (
        f"{len(pictures)} {many} not taken, since their format is not read: {names} in {pictures[0].parent}. Save them "
        "as JPEG or PNG, or take them out."
    )


def chosen_groups(groups: Groups, known: Sequence[str], test: Sequence[str]) -> list[str]:
    """The names that a choice of groups means.

    Args:
        groups: ``test``, ``all``, or a list of names.
        known: all groups of the data set; `test`: those that ``test`` means.

    Raises:
        CosegError: a group is not known; those that are known are listed and the nearest is suggested.
    """
    if groups == "all":
        return list(known)
    wanted = list(test) if groups == "test" else [groups] if isinstance(groups, str) else list(groups)
    by_lower = {same_form(name).lower(): name for name in reversed(known)}  # of names that differ by case, the first
    for name in wanted:
        if same_form(name).lower() not in by_lower:
            choices = known if groups == "test" else ("test", "all", *known)
            raise unknown_choice("dataset.groups", name, choices)
    return [by_lower[same_form(name).lower()] for name in wanted]


def images_and_masks(images: Path, masks: Path, pattern: str = STEM) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and masks by their stems.

    Where both are in one folder, masks are the files whose names fit `pattern`; if masks are named as their images,
    they are the PNG files.

    Raises:
        CosegError: two images, or two masks, have one stem.
    """
    if images != masks:
        return images_in(images), images_in(masks)
    before, after = map(re.escape, pattern.split(STEM))

    def is_mask(path: Path) -> bool:
        if pattern == STEM:
            return path.suffix.lower() == ".png"
        return re.fullmatch(f"{before}.+{after}", same_form(path.stem)) is not None

    return images_in(images, lambda path: not is_mask(path)), images_in(masks, is_mask)


def paired(images: Path, masks: Path, pattern: str = STEM) -> list[tuple[str, Path, Path]]:
    """``(stem, image, mask)`` of each image in `images` with the mask in `masks` that `pattern` names.

    Args:
        images, masks: folders.
        pattern: a mask's name before the dot, with ``{stem}`` for that of its image.

    Raises:
        CosegError: an image has no mask (the first three are named, and the mask whose name is nearest); two files
            have one stem; no image is of a format that is read.
    """
    by_stem, truth = images_and_masks(images, masks, pattern)
    names = {stem: pattern.replace(STEM, stem) for stem in by_stem}
    missing = [stem for stem, name in names.items() if name not in truth]
    if missing:
        named = f" and is named {pattern}" if pattern != STEM else ""
        raise CosegError(
            f"{images} has {len(by_stem)} images, of which {len(missing)} have no mask in {masks}: "
            f"{first_three([by_stem[stem].name for stem in missing])}. A mask has its image's name before the dot"
            f"{named}{_nearest(missing, list(by_stem), truth)}. Add what is missing, or take the images out."
        )
    pictures = [] if by_stem else not_taken([images])[0]
    if pictures:
        raise CosegError(f"{images} has no image that is read: {pictures_not_taken(pictures)}")
    return [(stem, path, truth[names[stem]]) for stem, path in by_stem.items()]


def without_image(images: Path, masks: Path, pattern: str = STEM) -> list[Path]:
    """Masks in `masks` that belong to no image in `images`."""
    by_stem, truth = images_and_masks(images, masks, pattern)
    wanted = {pattern.replace(STEM, stem) for stem in by_stem}
    return [path for stem, path in truth.items() if stem not in wanted]


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
    outside = [name for name in ids if name.startswith("/") or ".." in name.split("/")]
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


def files_by_id(folder: Path, ids: Sequence[str]) -> dict[str, Path]:
    """The file of each of `ids` below `folder`, without those that have none.

    Args:
        folder: where to look.
        ids: names without suffix, with ``/`` for folders.

    Raises:
        CosegError: an id has two files.
    """
    listings: dict[str, dict[str, list[Path]]] = {}  # one call a folder: a network disk is slow to ask
    files: dict[str, Path] = {}
    for name in ids:
        above, last = ("", name) if "/" not in name else (str(PurePosixPath(name).parent), PurePosixPath(name).name)
        if above not in listings:
            listings[above] = _listing(_below(folder, PurePosixPath(above)))
        paths = listings[above].get(same_form(last), [])
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
    for path in sorted(folder.iterdir(), key=lambda path: path.name) if folder is not None else ():
        stem, suffix = splitext(path.name)
        if suffix.lower() in SUFFIXES and not stem.startswith("."):
            by_stem.setdefault(same_form(stem), []).append(path)
    return by_stem


def _below(folder: Path, place: PurePosixPath) -> Path | None:
    """The folder `place` below `folder`, in whatever Unicode form it is written."""
    current: Path | None = folder if folder.is_dir() else None
    for part in place.parts:
        if current is not None:
            current = current / part if (current / part).is_dir() else child_folder(current, part)
    return current


def missing_id_hint(where: Path, name: str) -> str:
    """A sentence on what the id `name`, which has no file in `where`, may mean; empty where nothing is near."""
    if Path(name).suffix.lower() in SUFFIXES:
        return " An id has no suffix."
    place = _below(where, PurePosixPath(name).parent)
    stem = PurePosixPath(name).name
    for file_name in sorted(path.name for path in place.iterdir()) if place is not None else ():
        if Path(file_name).stem == stem:
            return f" {file_name} is there, but its format is not read: save it as JPEG or PNG."
        if same_form(Path(file_name).stem).casefold() == same_form(stem).casefold():
            return f" {file_name} is there, whose letters are not the same: rename it."
    return ""


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
    return sum(pattern.replace(STEM, stem) in truth for stem in stems)
