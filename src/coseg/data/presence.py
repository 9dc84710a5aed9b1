"""What is known of the masks of a data set, kept from one start to the next: of 120,000 masks it takes minutes to read.

The facts of a mask are a row of truth values: which classes it shows, say. They are kept with a checksum of the files'
names, sizes and times of change and of the settings that they depend on (`coseg.files.tables`), and only if no file is
wrong: mistakes are reported at each start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from coseg import __version__
from coseg.data.catalog import CheckedImage
from coseg.errors import CosegError
from coseg.files.stored import UNKNOWN_TIME
from coseg.files.tables import checksum_of, kept_table

Item = TypeVar("Item")
Facts = TypeVar("Facts")

VERSION = 1
"""Of the facts: to be raised where readers come to see other facts in equal files."""


def files_state(files: Iterable[Path]) -> str | None:
    """A checksum of the names, sizes and times of change of files; None: a server does not tell when one changes.

    Raises:
        OSError: a file is not there.
    """
    digest = hashlib.sha256()
    for path in files:
        status = path.stat()
        if status.st_mtime_ns == UNKNOWN_TIME:
            return None
        line = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def kept_facts(
    place: Sequence[object],
    settings: object,
    items: Sequence[Item],
    files_of: Callable[[Item], Iterable[Path]],
    check: Callable[[], list[CheckedImage[Item, Facts]]],
    row_of: Callable[[CheckedImage[Item, Facts]], Any] = lambda image: image.facts,
    image_of: Callable[[Item, Any], CheckedImage[Item, Facts]] = lambda item, row: CheckedImage(item, row, None, None),
) -> list[CheckedImage[Item, Facts]]:
    """The checked images of a split, from the last start if nothing has changed since.

    Args:
        place: what they are: reader, root, split; there is one table for it.
        settings: what else the facts depend on.
        items: the images, as the reader lists them.
        files_of: the files of an item.
        check: reads them.
        row_of: the facts of an image as an array of truth values, of one size for all.
        image_of: the image of an item with such facts.
    """
    try:
        state = files_state(path for item in items for path in files_of(item))
    except (OSError, CosegError):  # reported by `check`
        return check()
    checked: list[CheckedImage[Item, Facts]] = []

    def make() -> dict[str, NDArray[Any]] | None:
        checked.extend(check())
        sound = bool(checked) and all(image.error is None for image in checked)
        return {"facts": np.stack([row_of(image) for image in checked])} if sound else None

    key = None if state is None else checksum_of([VERSION, __version__, settings, state])
    table, kept = kept_table("presence", list(map(str, place)), key, make)
    if not kept or table is None:
        return checked
    return [image_of(item, row) for item, row in zip(items, table["facts"], strict=True)]


def settings_of(function: Callable[..., Any]) -> str | None:
    """The name of a function of coseg, with what it is set to; None: it is somebody else's, which may change."""
    bound = function.keywords if isinstance(function, partial) else {}
    inner = function.func if isinstance(function, partial) else function
    module = getattr(inner, "__module__", "") or ""
    is_plain = hasattr(inner, "__qualname__") and not (isinstance(function, partial) and function.args)
    if not (is_plain and module.startswith("coseg.")):
        return None
    return f"{module}.{inner.__qualname__} {sorted(bound.items())}"
