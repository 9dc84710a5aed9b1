"""Tables that take long to make, kept from one start to the next: arrays in the user's cache folder.

A table is kept with the key of all that it was made from, and is made anew where the key is another. It is plain data
(npz without pickles) with a checksum before it; what is damaged, too large or of another version counts as not there.
It is written beside its place and renamed, so processes may write one table at once.

The folder is ``COSEG_CACHE``, else ``$XDG_CACHE_HOME/coseg``, else ``~/.cache/coseg``; ``COSEG_CACHE=`` (empty) keeps
nothing. Its files may be removed at any time.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coseg.errors import CosegError
from coseg.files.writing import atomic_path, remove_leftovers

Arrays = Mapping[str, NDArray[Any]]

log = logging.getLogger(__name__)

VARIABLE = "COSEG_CACHE"

MAX_TABLE = 2**30
"""Bytes: the annotations of COCO 2017 have 50 million, the members of shards 100 each."""

WORTH = 1.0
"""Seconds: what is made faster is not kept."""

_HEAD = b"coseg table 1\n"
_DIGITS = 64


def cache_folder() -> Path | None:
    """Where tables are kept; None: nowhere.

    Raises:
        CosegError: `VARIABLE` names the home of a user who has none.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        try:
            return Path(chosen).expanduser() if chosen else None
        except RuntimeError:
            raise CosegError(f"{VARIABLE}={chosen} is in the home of a user who has none: name a folder.") from None
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base and os.path.isabs(base) else Path.home() / ".cache") / "coseg"
    except RuntimeError:  # a user without a home
        return None


def checksum_of(parts: Iterable[object]) -> str:
    """The SHA-256 of values by their texts."""
    digest = hashlib.sha256()
    for part in parts:
        text = str(part).encode("utf-8", "surrogateescape")
        digest.update(b"%d:" % len(text) + text)
    return digest.hexdigest()


def kept_table(
    name: str, place: object, key: str | None, make: Callable[[], Arrays | None]
) -> tuple[Arrays | None, bool]:
    """The arrays that were kept with `key`, or those that `make` gives, which are kept if that takes long.

    Args:
        name: what they are, the beginning of the file's name.
        place: what they belong to; there is one table for it, the last one.
        key: the checksum of what they are made from; None: that is not known, and nothing is kept.
        make: gives the arrays; None: they can't be kept.

    Returns:
        The arrays, and whether they had been kept.
    """
    folder = cache_folder()
    path = None if folder is None or key is None else folder / f"{name}-{checksum_of([place])[:24]}.table"
    arrays = None if path is None or key is None else read_table(path, key)
    if arrays is not None:
        return arrays, True
    started = monotonic()
    made = make()
    if made is not None and path is not None and key is not None and monotonic() - started >= WORTH:
        try:
            write_table(path, key, made)
        except (OSError, ValueError) as error:  # a full disk, or a home that can't be written, costs time, not the run
            log.debug("%s can't be written: %s", path, error)
    return made, False


def write_table(path: Path, key: str, arrays: Arrays) -> None:
    """Write arrays with their key; what killed processes left beside them is removed.

    Raises:
        OSError: they can't be written.
        ValueError: they are larger than `MAX_TABLE`, or hold objects.
    """
    if any(array.dtype.hasobject for array in arrays.values()):
        raise ValueError("an array holds objects")
    buffer = io.BytesIO()
    np.savez(buffer, **{"key": np.frombuffer(key.encode(), np.uint8), **arrays})  # type: ignore[arg-type]
    content = buffer.getbuffer()
    if len(content) > MAX_TABLE:
        raise ValueError(f"the table has {len(content):,} bytes")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_HEAD + hashlib.sha256(content).hexdigest().encode())
        file.write(content)


def read_table(path: Path, key: str) -> dict[str, NDArray[Any]] | None:
    """The arrays of a file; None: there is none, or it is not as it was written, or has another key."""
    try:
        if path.stat().st_size > MAX_TABLE + len(_HEAD) + _DIGITS or not path.is_file():
            return None
        data = path.read_bytes()
        head, content = data[: len(_HEAD) + _DIGITS], memoryview(data)[len(_HEAD) + _DIGITS :]
        if head != _HEAD + hashlib.sha256(content).hexdigest().encode():
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if bytes(arrays["key"]) != key.encode():
                return None
            return {name: arrays[name] for name in arrays.files if name != "key"}
    except Exception as error:  # of a file that another program wrote, whatever NumPy stumbles over
        log.debug("%s is not used: %s", path, error)
        return None


def texts_array(texts: Iterable[str]) -> NDArray[np.uint8]:
    """Texts without NUL as an array, uint8 (n,)."""
    return np.frombuffer("".join(f"{text}\0" for text in texts).encode("utf-8", "surrogateescape"), np.uint8)


def array_texts(array: NDArray[np.uint8]) -> list[str]:
    """The texts of `texts_array`."""
    return array.tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1]
