"""What the results of a photograph are called: names that differ, that fit, and that can be printed."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

NAME_BYTES = 255
"""Bytes of a file name at most, on the usual file systems."""

_DIGEST = 8  # hexadecimal digits in a shortened name
_DIRECTIONS = range(0x202A, 0x202F), range(0x2066, 0x206A)  # letters that turn the order of those around them


def printable(text: str) -> str:
    r"""`text` in one line, what a terminal would obey written as an escape: a file's name may hold any bytes.

    >>> printable("a\nb.jpg")
    'a\\nb.jpg'
    """
    return "".join(
        repr(letter)[1:-1]
        if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or any(ord(letter) in span for span in _DIRECTIONS)
        else letter
        for letter in text
    )


def longest_name(folder: Path) -> int:
    """Bytes that the name of a file in `folder` may have; the folder need not exist yet."""
    existing = next((path for path in (folder, *folder.absolute().parents) if os.path.isdir(path)), Path())
    try:
        return os.pathconf(existing, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows has none
        return NAME_BYTES


def fitted_name(name: str, limit: int) -> str:
    """`name`, or its beginning and a digest of all of it where it has more than `limit` bytes; the same each time.

    >>> fitted_name("photograph", 10), fitted_name("photograph-1", 11)
    ('photograph', 'ph-a69717a3')
    """
    if len(os.fsencode(name)) <= limit:
        return name
    digest = hashlib.blake2b(os.fsencode(name)).hexdigest()[:_DIGEST]
    while name and len(os.fsencode(name)) + 1 + _DIGEST > limit:
        name = name[:-1]
    return f"{name}-{digest}"


def alike(name: str) -> str:
    """Equal for names that some file system takes for one: capital and small letters, composed and decomposed ones."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def distinct_names(paths: Sequence[Path], limit: int | None = None) -> tuple[str, ...]:
    """A name for each file that no other has, as `alike` compares them.

    The file's name without its suffix where that is enough; otherwise with the suffix (``x-jpg`` and ``x-png``), or
    with its folder (``a-x`` and ``b-x``), as many of them as needed; at last with a number. None is longer than `limit`
    bytes.
    """
    places: dict[str, list[int]] = {}
    for k, path in enumerate(paths):
        places.setdefault(alike(path.stem), []).append(k)
    names = [path.stem for path in paths]
    for group in places.values():
        if len(group) > 1:
            for k, name in zip(group, _told_apart([paths[k] for k in group]), strict=True):
                names[k] = name
    return different(names, limit)


def different(names: Sequence[str], limit: int | None = None) -> tuple[str, ...]:
    """`names`, each no longer than `limit` bytes, those that are `alike` to one before with a number."""
    taken: set[str] = set()
    chosen = []
    for name in names:
        fitting = name if limit is None else fitted_name(name, limit)
        number = 2
        while alike(fitting) in taken:
            fitting = f"{name}-{number}" if limit is None else fitted_name(f"{name}-{number}", limit)
            number += 1
        taken.add(alike(fitting))
        chosen.append(fitting)
    return tuple(chosen)


def _told_apart(paths: Sequence[Path]) -> list[str]:
    """Names of files of one stem, with the suffix or with the folders that it takes to tell them apart."""
    absolute = [Path(os.path.realpath(path.parent), path.name) for path in paths]
    for depth in range(max(len(path.parts) for path in absolute)):
        for suffix in (False, True):
            names = [_longer(path, depth, suffix) for path in absolute]
            if len({alike(name) for name in names}) == len(names):
                return names
    return [path.stem for path in paths]


def _longer(path: Path, depth: int, suffix: bool) -> str:
    folders = path.parent.parts[1:]
    name = "-".join([*folders[max(0, len(folders) - depth) :], path.stem])
    return name + path.suffix.replace(".", "-") if suffix else name
