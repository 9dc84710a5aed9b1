"""Which files a person means: names, folders and patterns become a list of photographs, each with a name of its own."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

_KINDS = (
    "jpg jpeg jpe jfif mpo png apng webp avif heic heif tif tiff bmp dib gif jp2 j2k jpx ppm pgm pbm pnm tga psd ico "
    "icns pcx qoi dds sgi"
)
SUFFIXES = frozenset(f".{kind}" for kind in _KINDS.split())
"""What a folder's files are called that are taken for pictures; a file that is named itself may have any name."""


class Inputs(NamedTuple):
    """What was found.

    Attributes:
        paths: of the files, each once, in the order in which they were given; those of a folder by name.
        names: of each file, what its results are called; no two are alike, in capitals or not.
        problems: a sentence for each thing that is not as it was asked for.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    problems: tuple[str, ...]


def collect(words: Sequence[str], recursive: bool = False, leave_out: Path | None = None) -> Inputs:
    """The files that `words` mean.

    Args:
        words: names of files and folders, and patterns as a shell has them (``album/*.jpg``, ``**/*.png``).
        recursive: take the folders in folders too.
        leave_out: a folder whose files are results, never inputs.
    """
    problems: list[str] = []
    given = [path for word in words for path in _meant(word, recursive, leave_out, problems)]
    paths: dict[Path, Path] = {}  # each file under the name under which it came first
    times = Counter(path.resolve() for path in given)
    for path in given:
        paths.setdefault(path.resolve(), path)
    for resolved, path in paths.items():
        if times[resolved] > 1:
            how = "twice" if times[resolved] == 2 else f"{times[resolved]} times"
            problems.append(f"{path} is given {how}: it is taken once.")
    files = tuple(paths.values())
    names = distinct_names(files)
    for path, name in zip(files, names, strict=True):
        if name != path.stem:
            problems.append(f"{path} has the name of another image: its results are called {name}.")
    return Inputs(files, names, tuple(problems))


def distinct_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """A name for each file that no other has, letters alike whether capital or small.

    The file's name without its suffix where that is enough; otherwise with the suffix (``x-jpg`` and ``x-png``), or
    with its folder (``a-x`` and ``b-x``), as many of them as needed; at last with a number.
    """
    alike: dict[str, list[int]] = {}
    for k, path in enumerate(paths):
        alike.setdefault(path.stem.casefold(), []).append(k)
    names = [path.stem for path in paths]
    for group in alike.values():
        if len(group) > 1:
            for k, name in zip(group, _told_apart([paths[k] for k in group]), strict=True):
                names[k] = name
    taken: set[str] = set()
    for k, name in enumerate(names):
        number = 2
        while names[k].casefold() in taken:
            names[k] = f"{name}-{number}"
            number += 1
        taken.add(names[k].casefold())
    return tuple(names)


def natural_order(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """A key to sort by as people count: ``2.jpg`` before ``10.jpg``."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], str(path)


def _meant(word: str, recursive: bool, leave_out: Path | None, problems: list[str]) -> Iterator[Path]:
    path = Path(word).expanduser()
    if os.path.isdir(path):
        yield from _in_folder(path, recursive, leave_out, problems)
    elif os.path.exists(path):
        yield path
    elif has_magic(word):
        found = sorted(map(Path, glob(str(path), recursive=True)), key=natural_order)
        if not found:
            problems.append(f"{word} matches no file: check its folder and its letters.")
        for match in found:
            if not match.is_dir():
                yield match
            elif "**" not in word:  # which lists what is in the folder by itself
                yield from _in_folder(match, recursive, leave_out, problems)
    else:
        problems.append(f"{path} is missing: check its name.")


def _in_folder(folder: Path, recursive: bool, leave_out: Path | None, problems: list[str]) -> Iterator[Path]:
    results = None if leave_out is None else leave_out.resolve()
    if folder.resolve() == results:
        problems.append(f"{folder} is left out: it is the folder of the results.")
        return
    files = folder.rglob("*") if recursive else folder.iterdir()
    try:
        found = [path for path in files if path.suffix.lower() in SUFFIXES and not _is_hidden(path, folder)]
    except OSError as error:
        problems.append(f"{folder} cannot be read ({error.strerror}): check its permissions.")
        return
    found = [path for path in found if path.is_file() and results not in path.resolve().parents]
    if not found:
        deeper = "" if recursive else "; --recursive looks into the folders in it as well"
        problems.append(f"{folder} is a folder without images{deeper}.")
    yield from sorted(found, key=natural_order)


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _told_apart(paths: Sequence[Path]) -> list[str]:
    """Names of files of one stem, with the suffix or with the folders that it takes to tell them apart."""
    for depth in range(max(len(path.resolve().parts) for path in paths)):
        for suffix in (False, True):
            names = [_longer(path, depth, suffix) for path in paths]
            if len({name.casefold() for name in names}) == len(names):
                return names
    return [path.stem for path in paths]


def _longer(path: Path, depth: int, suffix: bool) -> str:
    folders = path.resolve().parent.parts[1:]
    name = "-".join([*folders[max(0, len(folders) - depth) :], path.stem])
    return name + path.suffix.replace(".", "-") if suffix else name
