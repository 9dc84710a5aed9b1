"""Folders and patterns: the folders below a folder, linked ones too, the files that a pattern matches, and names."""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from glob import has_magic
from pathlib import Path
from typing import NamedTuple

Problem = Callable[[str], None]
"""Called with a sentence for each folder that can't be read."""


def is_object_name(name: str) -> bool:
    """Whether a text can be the name of an object that is searched for: it becomes that of a folder.

    It has letters, digits and ``_``, marks of letters after the first, and ``-`` and spaces inside; at most 60, and 240
    bytes.

    >>> [is_object_name(name) for name in ("my horse-2", "a/b", " a")]
    [True, False, False]
    """
    categories = [unicodedata.category(letter)[0] for letter in name]
    if not 0 < len(name) <= 60 or categories[0] == "M" or name[0] in " -" or name[-1] in " -":
        return False
    usable = all(category in "LMN" or letter in "_- " for category, letter in zip(categories, name, strict=True))
    return usable and len(name.encode()) <= 240


class Listing(NamedTuple):
    """A folder and the paths in it that are not hidden, in `natural_order`."""

    folder: Path
    paths: list[Path]


def natural_order(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key that compares numbers by value: ``2.jpg`` before ``10.jpg``."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], str(path)


def home_expanded(word: str) -> Path:
    """A path with ``~`` replaced by the home folder, unless a file has this very name."""
    path = Path(word)
    if os.path.lexists(path):
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # ~name of an unknown user
        return path


def identity(path: Path) -> object:
    """Equal for all paths of the same file or folder, links too."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.abspath(path)
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def trouble(path: Path) -> str | None:
    """Why `path` is not a file that can be opened, to follow its name in a sentence; None: it is."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        if os.path.islink(path):
            if isinstance(error, OSError) and error.errno == errno.ELOOP:
                return "is a link to itself: leave it out."
            return f"is a broken link, {os.readlink(path)} is missing: repair it, or leave it out."
        if isinstance(error, OSError) and error.errno not in (errno.ENOENT, errno.ENOTDIR):
            return f"cannot be read ({error.strerror}): check its name and permissions."
        return "is missing: check its name."
    return None if stat.S_ISREG(mode) else "is not a regular file but a pipe, a device or the like: give an image."


def listing(folder: Path, problem: Problem) -> Listing:
    """The contents of `folder`; a folder that can't be read is reported and empty."""
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError as error:
        problem(f"{folder} cannot be read ({error.strerror}): check its permissions.")
        names = []
    return Listing(folder, sorted((folder / name for name in names), key=natural_order))


def walk(folder: Path, problem: Problem, leave_out: Path | None = None) -> Iterator[Listing]:
    """`folder` and all folders below it, linked ones too, each once, so that cyclic links end.

    A folder that is also the target of a link is usually listed under its real path.

    Args:
        folder: where to start.
        problem: see `Problem`.
        leave_out: a folder that is not entered.
    """
    listed_folders = set() if leave_out is None else {identity(leave_out)}
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        if identity(current) in listed_folders:
            continue
        listed_folders.add(identity(current))
        listed = listing(current, problem)
        yield listed
        inner = [path for path in listed.paths if os.path.isdir(path)]
        waiting += sorted(reversed(inner), key=os.path.islink, reverse=True)  # popped from the end: links come last


def expand(pattern: Path, problem: Problem, leave_out: Path | None = None) -> list[Path]:
    """The paths that a shell pattern matches (``*``, ``?``, ``[…]``, ``**`` for folders at any depth), in order.

    A part of the path that exists is taken literally: ``album [2020]/*.jpg`` looks into the folder of that name. Hidden
    names match only a part that begins with a dot.

    Args:
        pattern: of files or folders.
        problem: see `Problem`.
        leave_out: a folder that no wildcard matches.
    """
    left_out = None if leave_out is None else identity(leave_out)
    parts = list(pattern.parts)
    if parts[-1] == "**":
        parts.append("*")
    paths = [Path()]
    for part in parts:
        matched: dict[Path, None] = {}
        for base in paths:
            if os.path.lexists(base / part):
                matched[base / part] = None
            elif part == "**" and os.path.isdir(base):
                matched.update(dict.fromkeys(listed.folder for listed in walk(base, problem, leave_out)))
            elif has_magic(part) and os.path.isdir(base):
                inside = [path for path in _all(base, part, problem) if fnmatch(path.name, part)]
                matched.update((path, None) for path in inside if left_out is None or identity(path) != left_out)
        paths = list(matched)
    return paths


def _all(folder: Path, part: str, problem: Problem) -> list[Path]:
    if not part.startswith("."):
        return listing(folder, problem).paths
    try:
        return sorted((folder / name for name in os.listdir(folder)), key=natural_order)
    except OSError as error:
        problem(f"{folder} cannot be read ({error.strerror}): check its permissions.")
        return []
