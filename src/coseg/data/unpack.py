"""Unpacking zip and tar archives that nobody vouches for: nothing is ever written outside of the folder."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from coseg.errors import CosegError

DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
    RuntimeError,
)  # fmt: skip
"""What Python raises for archives that are damaged, cut off, locked, or packed in a way that it does not know."""


def unpack(path: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into a new folder.

    Raises:
        CosegError: it is neither, is damaged or cut off, has a member that would lie outside the folder, or one that is
            neither a file nor a folder, such as a link that could lead outside.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:  # a link in it becomes a file
                for name in zipped.namelist():
                    _check_name(path, name, folder)
                zipped.extractall(folder)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as tarred:
                for member in tarred:
                    _check_name(path, member.name, folder)
                    _check_kind(path, member, folder)
                # Python's own filter knows of further tricks; 3.11.0 to 3.11.3 lack it.
                options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                tarred.extractall(folder, **options)
        else:
            raise CosegError(f"{path} is no zip or tar archive, or is cut off: download it again.")
    except DAMAGED as error:
        raise CosegError(f"{path} cannot be unpacked ({error}): download it again.") from error


def _check_name(path: Path, name: str, folder: Path) -> None:
    if _leaves(name):
        raise CosegError(
            f"{path} has the member '{name}', which would be written outside of {folder}: nothing was unpacked. "
            "It is not the published archive."
        )


def _check_kind(path: Path, member: tarfile.TarInfo, folder: Path) -> None:
    link = member.issym() or member.islnk()
    if not (member.isfile() or member.isdir() or link):
        raise CosegError(
            f"{path} has the member '{member.name}', which is neither a file nor a folder: nothing was unpacked. "
            "It is not the published archive."
        )
    if link and _leaves(member.linkname):
        raise CosegError(
            f"{path} has the member '{member.name}', a link to '{member.linkname}', which could lead outside of "
            f"{folder}: nothing was unpacked. It is not the published archive."
        )


def _leaves(name: str) -> bool:
    """Whether a path is absolute or goes up; where none does, no chain of links leads outside either."""
    parts = PurePosixPath(name.replace("\\", "/"))
    return parts.is_absolute() or ".." in parts.parts or bool(parts.parts and parts.parts[0].endswith(":"))
