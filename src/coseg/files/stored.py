"""Paths of files that are in tar shards or behind a URL: read through `pathlib`'s methods as files of a folder are.

A reader of a data set gets its root from `data_path` and asks it for `is_dir`, `iterdir`, `open` and so on; whether it
is a folder, shards or a bucket is settled here, once. A `StoredPath` is nothing but its text, so it goes to worker
processes, which open the shards, or connect, for themselves.

::

    /data/shards-{000..015}.tar/JPEGImages/a.jpg      the member JPEGImages/a.jpg of one of 16 shards
    /data/shards-*.tar/JPEGImages/a.jpg               the same
    s3://bucket/voc/JPEGImages/a.jpg                  by fsspec
    tar::s3://bucket/shards-*.tar/JPEGImages/a.jpg    a member of shards in a bucket

Names that come out of data can't lead elsewhere: what is joined to a `StoredPath` lies below it or is not there.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PosixPath, PurePath
from typing import IO, Any
from urllib.parse import unquote

from coseg.errors import CosegError
from coseg.files.storage import BUFFER, TAR, Remote, Status, Storage, Window, is_url, is_web

UNKNOWN_TIME = -1
"""In ns, of a file of which nothing is known that changes with it."""

_ARCHIVE = re.compile(r".*\.(tar(\.\w+)?|tgz|tbz2?|txz|tzst|zip)", re.IGNORECASE | re.DOTALL)


def data_path(root: str | os.PathLike[str] | None) -> Path | None:
    """The root of a data set: a folder, a URL, or tar shards (a file, a pattern, or a folder that holds nothing else).

    Hidden files don't count: a folder with a tar file beside anything else is a folder.

    Raises:
        CosegError: the root is a URL that can't be reached, or of a type that is not installed, or holds archives
            alone, some of which are no shards.
    """
    if not root:
        return None
    if isinstance(root, StoredPath):
        return root
    text = os.fspath(root)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if is_url(text) and is_web(text):
        text = unquote(text)  # as a browser shows it: names are quoted when they are asked for
    path = StoredPath(text) if is_url(text) else Path(text).expanduser()
    if path.suffix == ".tar" and (isinstance(path, StoredPath) or not path.is_dir()):
        return _stored(path)
    if isinstance(path, StoredPath):
        path = _stored(path)
    if path.is_dir():
        inside = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        shards = [entry for entry in inside if entry.suffix == ".tar"]
        archives = shards and all(_ARCHIVE.fullmatch(entry.name) for entry in inside)
        if archives and (isinstance(path, StoredPath) or not any(entry.is_dir() for entry in inside)):
            if len(shards) < len(inside):
                names = sorted(entry.name for entry in inside if entry.suffix != ".tar")
                raise CosegError(
                    f"{path} holds shards and {names[0]}, which is none, so files might be left out: shards are plain "
                    "tar files named *.tar. Rename, unpack or remove it."
                )
            return _stored(path / "*.tar")
    return path


def _stored(path: Path) -> StoredPath:
    """A root, whose storage is made anew: it may have changed."""
    text = str(path) if isinstance(path, StoredPath) else os.path.abspath(path)
    root = StoredPath(f"{TAR}{text}" if text.endswith(".tar") and is_url(text) and not text.startswith(TAR) else text)
    _storages.pop(_split(root.parts)[0], None)
    return root


def normal_path(folder: Path, name: str) -> Path:
    """The path `name` from `folder` on, with ``..`` taken out; it may be anywhere."""
    if isinstance(folder, StoredPath):
        return StoredPath(os.path.normpath(os.path.join(PosixPath(*folder.parts), name)))
    return Path(os.path.normpath(folder / name))


class StoredPath(PosixPath):
    """A path in tar shards or behind a URL; the methods of `Path` that read work, and no other does."""

    def __str__(self) -> str:
        first, *rest = self.parts or (".",)
        return f"{first}//{'/'.join(rest)}" if first.endswith(":") else super().__str__()

    def __truediv__(self, key: str | os.PathLike[str]) -> StoredPath:
        name = str(key).lstrip("/")  # what is absolute would not be below this path
        return StoredPath(*self.parts, name)  # since Python 3.12 the superclass would ask `joinpath`

    def joinpath(self, *names: str | os.PathLike[str]) -> StoredPath:
        """The path below this one."""
        path = self
        for name in names:
            path = path / name
        return path

    def __fspath__(self) -> str:
        raise CosegError(f"{self} is not on a disk: this works with files in folders alone. Unpack it first.")

    def _placed(self) -> tuple[Storage, str]:
        root, name = _split(self.parts)
        if ".." in name.split("/"):
            return _Nothing(), name
        return _storage(root), name

    def _status(self) -> Status | None:
        storage, name = self._placed()
        return storage.status(name)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Type, size and, as the time in ns, `Status.state`, or `UNKNOWN_TIME`."""
        status = self._status()
        if status is None:
            raise FileNotFoundError(2, "there is no such file", str(self))
        mode, size = (stat.S_IFDIR, 0) if status.size is None else (stat.S_IFREG, status.size)
        state = UNKNOWN_TIME if status.state is None else status.state
        seconds = state // 10**9
        values = (mode | 0o444, 0, 0, 1, 0, 0, size, seconds, seconds, seconds)
        return os.stat_result(values, {"st_mtime_ns": state})

    def exists(self) -> bool:  # type: ignore[override]  # later versions of Python have an argument
        """Whether there is such a file or folder."""
        return self._status() is not None

    def is_dir(self) -> bool:  # type: ignore[override]
        """Whether it is a folder."""
        status = self._status()
        return status is not None and status.size is None

    def is_file(self) -> bool:  # type: ignore[override]
        """Whether it is a file."""
        status = self._status()
        return status is not None and status.size is not None

    def is_symlink(self) -> bool:
        """No link is followed, and none is seen."""
        return False

    def resolve(self, strict: bool = False) -> StoredPath:
        """The path itself."""
        return self

    def expanduser(self) -> StoredPath:
        """The path itself."""
        return self

    def iterdir(self) -> Iterator[StoredPath]:  # type: ignore[override]
        """What is in a folder."""
        storage, name = self._placed()
        for inside in storage.names(name):
            yield self / inside

    def glob(self, pattern: str) -> Iterator[StoredPath]:  # type: ignore[override]
        """The paths that fit a pattern of names with ``*``, without ``**``."""
        first, _, rest = pattern.partition("/")
        if "*" not in first:
            inside = [self / first] if (self / first).exists() else []
        else:
            inside = [path for path in self.iterdir() if fnmatchcase(path.name, first)] if self.is_dir() else []
        for path in inside:
            if rest:
                yield from path.glob(rest)
            else:
                yield path

    def rglob(self, pattern: str) -> Iterator[StoredPath]:  # type: ignore[override]
        """The paths below whose names fit a pattern."""
        for path in self.iterdir():
            if fnmatchcase(path.name, pattern):
                yield path
            if path.is_dir():
                yield from path.rglob(pattern)

    def open(self, mode: str = "r", *_: Any, encoding: str | None = None, **__: Any) -> IO[Any]:  # type: ignore[override]
        """The file, to be read: bytes with random access, or text."""
        if mode not in ("r", "rb", "rt"):
            raise CosegError(f"{self} can't be written: shards and URLs are read only.")
        storage, name = self._placed()
        status = storage.status(name)
        if status is None:
            raise FileNotFoundError(2, "there is no such file", str(self))
        if status.size is None:
            raise IsADirectoryError(21, "it is a folder", str(self))
        window = Window(lambda start, length: storage.read(name, start, length), status.size)
        file = io.BufferedReader(window, max(1, min(storage.buffer, status.size)))
        return file if mode == "rb" else io.TextIOWrapper(file, encoding or "utf-8")


class _Nothing:
    """Where names lead that go up."""

    buffer = BUFFER

    def status(self, name: str) -> Status | None:
        return None

    def names(self, folder: str) -> list[str]:
        raise FileNotFoundError(2, "there is no such folder", folder)

    def read(self, name: str, start: int, length: int) -> bytes:
        raise FileNotFoundError(2, "there is no such file", name)


@lru_cache(256)
def _is_folder(path: str) -> bool:
    return os.path.isdir(path)


def _split(parts: tuple[str, ...]) -> tuple[str, str]:
    """The root of a path's storage, and the name in it: up to the first tar file, else the bucket of a URL."""
    is_remote = bool(parts) and parts[0].endswith(":")
    for k, part in enumerate(parts if not is_remote or parts[0].startswith(TAR) else ()):
        if part.endswith(".tar") and (is_remote or not _is_folder(os.path.join(*parts[: k + 1]))):
            return str(StoredPath(*parts[: k + 1])), "/".join(parts[k + 1 :])
    if not is_remote:
        raise CosegError(f"{PurePath(*parts)} leads out of the data set.")
    return str(StoredPath(*parts[:2])), "/".join(parts[2:])


_storages: dict[str, Storage] = {}


def _storage(root: str) -> Storage:
    """The storage of a root, made once a process after each `data_path`."""
    if root not in _storages:
        from coseg.files.shards import Shards

        _storages[root] = Remote(root) if is_url(root) and not root.startswith(TAR) else Shards(root)
    return _storages[root]
