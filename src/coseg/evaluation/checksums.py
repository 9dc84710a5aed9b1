"""Checksums of what a test leaves: ``results.json`` has one of itself and one of each table beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coseg.errors import CosegError
from coseg.plain_data import MAX_TABLE_BYTES, read_bytes

OWN, TABLES = "checksum", "tables"
"""Keys in ``results.json``: the SHA-256 of its other values; that of each table, by its name."""

NAMES = ("pairs.csv", "masks.csv", "decisions.csv")
"""The tables that a test may leave. A compressed one has the checksum of what is in it."""

COMPRESSED = ".gz"
"""At the end of the name of a table that is compressed."""


def with_checksums(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`values` with the checksums of the tables in `folder`, and their own."""
    tables = {name: _digest(data) for name in NAMES if (data := _content(folder, name)) is not None}
    complete = {**values, **({TABLES: tables} if tables else {})}
    return {**complete, OWN: digest_of(complete)}


def without_checksums(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What `with_checksums` was given, if neither the values nor a table that is still there have changed.

    Values without checksums, of an earlier version, are as they are.

    Args:
        values: of a file.
        path: of the file.

    Raises:
        CosegError: something has changed; the file is named.
    """
    rest = {key: value for key, value in values.items() if key != OWN}
    if OWN not in values and TABLES not in values:
        return rest
    if values.get(OWN) != digest_of(rest):
        raise changed(path)
    tables = rest.pop(TABLES, {})
    if not isinstance(tables, dict) or not set(tables) <= set(NAMES):  # no other file is opened, whatever is named
        raise changed(path)
    for name, digest in tables.items():
        data = _content(path.parent, name)
        if data is not None and _digest(data) != digest:
            raise changed(_place(path.parent, name))
    return rest


def digest_of(values: Any) -> str:
    """The SHA-256 of values that JSON can hold, however they are laid out in a file."""
    return _digest(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())


def changed(path: Path) -> CosegError:
    """The sentence for a file that is not as a test left it."""
    return CosegError(f"{path} is damaged: it is not as the test left it (its checksum differs). Run the test again.")


def _content(folder: Path, name: str) -> bytes | None:
    path = _place(folder, name)
    if not path.exists():
        return None
    return read_bytes(path, "run the test again", MAX_TABLE_BYTES, gzipped=path.suffix == COMPRESSED)


def _place(folder: Path, name: str) -> Path:
    path = folder / name
    return path if path.exists() else folder / (name + COMPRESSED)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
