"""Checksums of files, inside ZIP files such as checkpoints; and files of torch.save, read as primitives and tensors."""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from coseg.errors import CosegError
from coseg.files.plain_data import require_regular_file

MARK = b"coseg-sha256:"
"""At the beginning of the comment, before 64 hexadecimal digits."""

_END = b"PK\x05\x06"
"""Of a ZIP file's last record: 22 bytes, the last two of which are the length of the comment that follows."""

_RECORD = 22
_COMMENT = len(MARK) + 64


class Changed(Exception):
    """A file is not as it was written: its text says in what."""


def seal(path: Path) -> None:
    """Put the checksum of a ZIP file without a comment into it.

    Raises:
        ValueError: `path` is no ZIP file without a comment.
    """
    with path.open("r+b") as file:
        file.seek(-_RECORD, os.SEEK_END)
        record = file.read()
        if not record.startswith(_END) or record[-2:] != b"\0\0":
            raise ValueError(f"{path} is no ZIP file without a comment")
        file.seek(-2, os.SEEK_END)
        file.write(struct.pack("<H", _COMMENT))
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(MARK + digest.encode())


def check_seal(path: Path, needed: bool = False) -> None:
    """Compare a ZIP file with its checksum.

    A file without one, of an earlier version or of another program, is compared with the checksums of its members.

    Args:
        path: of the file.
        needed: whether a file without one is none of ours.

    Raises:
        Changed: it is another file than was written, or no ZIP file.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _RECORD - _COMMENT))
        end = file.read()
        if len(end) == _RECORD + _COMMENT and end[_RECORD:].startswith(MARK):
            file.seek(0)
            digest = _digest_of(file.read, size - _COMMENT)
            if end[_RECORD + len(MARK) :] != digest.encode():
                raise Changed("its checksum is another")
            return
    if end[-_RECORD:-2] != _plain_end(end) or needed:
        raise Changed("it is cut, changed, or no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except Exception as error:  # whatever a changed header makes of it
        raise Changed(str(error)) from error
    if member is not None:
        raise Changed(f"the checksum of {member} is another")


def _plain_end(end: bytes) -> bytes | None:
    """The last record of a file without a comment, but for its length; None where there is no such record."""
    record = end[-_RECORD:]
    return record[:-2] if record.startswith(_END) and record[-2:] == b"\0\0" else None


def _digest_of(read: Callable[[int], bytes], size: int, block: int = 1 << 20) -> str:
    digest = hashlib.sha256()
    while size > 0 and (data := read(min(block, size))):
        digest.update(data)
        size -= len(data)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


MAX_BYTES = 32 * 2**30
"""Of weights, in a file and in memory: a hundred times the largest encoder that coseg has."""


def read_torch_file(path: Path, refusal: str) -> Any:
    """What a file of ``torch.save`` holds. Only primitives and tensors are unpickled, and nothing is run.

    Args:
        path: of the file.
        refusal: the sentence for a file that can't be read.

    Raises:
        CosegError: it is no regular file, no such file, damaged, or stands for more than it has bytes.
        FileNotFoundError: there is none.
    """
    size = require_regular_file(path, "give a file")
    if size > MAX_BYTES:
        raise CosegError(f"{path} has {size:,} bytes; coseg reads at most {MAX_BYTES:,}.")
    try:
        if zipfile.is_zipfile(path):  # as torch has written since 1.6, and Lightning always
            _require_stored(path, size)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file, whatever zipfile or the unpickler stumbles over
        raise CosegError(refusal) from error


def _require_stored(path: Path, size: int) -> None:
    """Refuse an archive whose parts take more memory than it has bytes: torch writes them as they are."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    packed = any(part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size for part in parts)
    if packed or sum(part.file_size for part in parts) > size:
        raise ValueError("its parts are larger than the file")
