"""Tar shards: files read at random out of plain tar archives, nothing of which is unpacked.

An index says in which shard a member lies, and where. It is made from the headers of the tar files, once: see
`coseg.files.tables`. Only regular files are members: a link, a device or a sparse file is refused, and so are a name
that leads out, a name that occurs twice and a shard that is cut off.
"""

from __future__ import annotations

import io
import os
import re
import stat
import tarfile
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from itertools import count, product
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

import numpy as np

from coseg.errors import CosegError
from coseg.files.storage import BUFFER, TAR, Remote, Status, Storage, Window, is_url
from coseg.files.tables import Arrays, array_texts, checksum_of, kept_table, texts_array

MAX_MEMBERS = 8_000_000
"""In all shards: COCO with masks has 250,000."""

MAX_SHARDS = 100_000
MAX_HEADER = 2**20
"""Bytes of a name or of other words about a member."""

_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_SPARSE = "GNU.sparse."


MAX_NAME = 4096
"""Bytes of a member's name."""

MAX_PARTS = 64
"""Of a member's name: the folders above it are kept, too."""

MAX_FOLDERS = 2**28
"""Characters of the names of all folders, and 300 for each of them."""

MAX_END = 2**24
"""Bytes after a shard's last member."""

MAX_OPEN = 512
"""Shards that a process keeps open."""


class _Member(NamedTuple):
    """Of a tar file: a file in it, and where its bytes begin."""

    name: str
    start: int
    size: int


class Local:
    """The files of a folder; see `Storage`. A file once opened stays open, for all threads."""

    buffer = BUFFER

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._open: dict[str, int] = {}
        self._states: dict[str, tuple[int, int]] = {}
        weakref.finalize(self, _close, self._open)

    def status(self, name: str) -> Status | None:
        """See `Storage.status`."""
        path = os.path.join(self.folder, name)
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise CosegError(f"{path} can't be read ({error}): see who may read it.") from None
        self._states[name] = status.st_size, status.st_mtime_ns
        return Status(status.st_size if stat.S_ISREG(status.st_mode) else None, status.st_mtime_ns)

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`."""
        try:
            return os.listdir(os.path.join(self.folder, folder))
        except OSError as error:
            raise CosegError(f"{self.folder} can't be listed ({error.strerror}): correct dataset.root.") from None

    def read(self, name: str, start: int, length: int) -> bytes:
        """See `Storage.read`. The place is given to each read, so that threads and forked workers share a file.

        Raises:
            CosegError: it is not the file whose `status` was asked for.
        """
        descriptor = self._open.get(name)
        if descriptor is not None:
            return _read(descriptor, start, length)
        descriptor = os.open(os.path.join(self.folder, name), os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        if self._states.get(name, (status.st_size, status.st_mtime_ns)) != (status.st_size, status.st_mtime_ns):
            os.close(descriptor)
            raise CosegError(f"{self.folder}/{name} has changed since its members were listed: start anew.")
        if len(self._open) < MAX_OPEN and self._open.setdefault(name, descriptor) == descriptor:
            return _read(descriptor, start, length)
        try:
            return _read(descriptor, start, length)
        finally:
            os.close(descriptor)


def _close(opened: dict[str, int]) -> None:
    for descriptor in opened.values():
        os.close(descriptor)


def _read(descriptor: int, start: int, length: int) -> bytes:
    parts = []
    while length and (part := os.pread(descriptor, length, start)):  # the system gives 2 GiB at most
        parts.append(part)
        start, length = start + len(part), length - len(part)
    return b"".join(parts)


class Shards:
    """The members of tar files; see `coseg.files.storage.Storage`.

    Args:
        root: the path or URL of a tar file, or of several: ``{000..015}``, ``*`` and ``?`` in its last part.

    Raises:
        CosegError: there is none, or one can't be read or holds what it should not.
    """

    def __init__(self, root: str) -> None:
        self.root = root = root.removeprefix(TAR)
        self._files, folder, pattern = _place(root)
        names = [f"{folder}/{name}" if folder else name for name in _chosen(root, self._files, folder, pattern)]
        states = [self._files.status(name) for name in names]
        for name, status in zip(names, states, strict=True):
            if status is None or status.size is None:
                raise CosegError(f"dataset.root={root} asks for {name}, which is not there: correct the pattern.")
        self.buffer = self._files.buffer
        self._names, self._states = names, [status.state for status in states if status is not None]
        sizes = [status.size or 0 for status in states if status is not None]
        key = None if None in self._states else checksum_of([*names, *sizes, *self._states])
        table, _ = kept_table("shards", root, key, lambda: self._index(sizes))
        assert table is not None
        self._table = {key: table[key] for key in ("shard", "start", "size")}
        self._numbers = {name: k for k, name in enumerate(array_texts(table["names"]))}
        self._folders = _folders(root, self._numbers)

    def status(self, name: str) -> Status | None:
        """See `Storage.status`."""
        k = self._numbers.get(name)
        if k is None:
            return Status(None) if name in self._folders else None
        return Status(int(self._table["size"][k]), self._states[self._table["shard"][k]])

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`."""
        if folder not in self._folders:
            raise FileNotFoundError(2, "there is no such folder", f"{self.root}/{folder}")
        return self._folders[folder]

    def read(self, name: str, start: int, length: int) -> bytes:
        """See `Storage.read`."""
        k = self._numbers[name]
        length = max(0, min(length, int(self._table["size"][k]) - start))
        return self._files.read(self._names[self._table["shard"][k]], int(self._table["start"][k]) + start, length)

    def _index(self, sizes: list[int]) -> Arrays:
        """Where each member is: its shard, its first byte and its size."""
        numbers = count(1)  # of all shards, as they are listed at once

        def listed(shard: int) -> list[_Member]:
            name, size = self._names[shard], sizes[shard]
            window = Window(lambda start, length: self._files.read(name, start, length), size)
            file = io.BufferedReader(window, max(512, min(self.buffer, size)))
            members = []
            for member in _members(f"{self.root} ({name})" if name not in self.root else self.root, file, size):
                if next(numbers) > MAX_MEMBERS:
                    raise CosegError(f"{self.root} holds more than {MAX_MEMBERS:,} files, and no more are read.")
                members.append(member)
            return members

        with ThreadPoolExecutor(8) as pool:  # of a bucket the answers are waited for
            shards = list(pool.map(listed, range(len(sizes))))
        first: dict[str, int] = {}
        for shard, members in enumerate(shards):
            for member in members:
                if (earlier := first.setdefault(member.name, shard)) != shard:
                    raise CosegError(
                        f"{self._names[earlier]} and {self._names[shard]} both hold {member.name!r}: which of the two "
                        "is meant is not known. Take one out, or correct dataset.root."
                    )
        return {
            "names": texts_array(member.name for members in shards for member in members),
            "shard": np.repeat(np.arange(len(shards)), [len(members) for members in shards]),
            "start": np.array([member.start for members in shards for member in members], np.int64),
            "size": np.array([member.size for members in shards for member in members], np.int64),
        }


def _place(root: str) -> tuple[Storage, str, str]:
    """The files beside a shard, the folder in them and the pattern of the shards' names."""
    if not is_url(root):
        return Local(os.path.dirname(root)), "", os.path.basename(root)
    first, _, path = root.partition("://")
    second, *rest = path.split("/")
    if not rest:
        raise CosegError(f"dataset.root={root} names no bucket or host: s3://bucket/shards-*.tar, say.")
    return Remote(f"{first}://{second}"), "/".join(rest[:-1]), rest[-1]


def _chosen(root: str, files: Storage, folder: str, pattern: str) -> list[str]:
    """The names of the shards, in their order."""
    parts = _RANGE.split(pattern)
    ranges = [(parts[k], parts[k + 1]) for k in range(1, len(parts), 3)]
    wished = np.prod([max(0, int(last) - int(first) + 1) for first, last in ranges], dtype=float)
    if not 0 < wished <= MAX_SHARDS:
        raise CosegError(f"dataset.root={root} stands for {wished:g} shards: at most {MAX_SHARDS:,} are read.")
    numbers = [[f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)] for first, last in ranges]
    wanted = [
        "".join(text + number for text, number in zip(parts[::3], (*chosen, ""), strict=True))
        for chosen in product(*numbers)
    ]
    if not any(character in pattern for character in "*?"):
        return wanted
    inside = sorted(name for name in files.names(folder) if name.endswith(".tar") and not name.startswith("."))
    fitting = [name for name in inside if any(fnmatchcase(name, text) for text in wanted)]
    if not fitting:
        raise CosegError(f"dataset.root={root} fits no file: give shards-*.tar, say.")
    return fitting


def _folders(root: str, names: Iterable[str]) -> dict[str, list[str]]:
    """What is in each folder."""
    folders: dict[str, dict[str, None]] = {"": {}}
    files, taken = set(names), 0
    for name in files:
        folder, _, last = name.rpartition("/")
        while folder not in folders:
            folders[folder] = {last: None}
            taken += len(folder) + 300
            if taken > MAX_FOLDERS:
                raise CosegError(f"{root} holds too many folders in folders: write the shards anew with shorter names.")
            folder, _, last = folder.rpartition("/")
        folders[folder][last] = None
    if both := files & folders.keys():
        raise CosegError(f"{root} holds {sorted(both)[0]!r} as a file and as a folder: write the shards anew.")
    return {folder: sorted(inside) for folder, inside in folders.items()}


class _Headers:
    """A file that is never read in one large piece: a header may claim any size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell
        self.last = b""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.TarError(f"a header has {size:,} bytes")
        self.last = self._file.read(size)
        return self.last


def _members(path: str, file: BinaryIO, size: int) -> Iterator[_Member]:
    """The files in a tar file.

    Raises:
        CosegError: it is none, is cut off, or holds what is no regular file or has a name that leads out.
    """
    headers, seen = _Headers(file), set[str]()
    try:
        tarred = tarfile.TarFile(fileobj=headers)  # type: ignore[arg-type]
        while (info := tarred.next()) is not None:
            tarred.members = []  # type: ignore[attr-defined]  # it would keep them all
            name = _name(path, info.name)
            if info.isdir():
                continue
            if not info.isfile() or info.issparse() or any(key.startswith(_SPARSE) for key in info.pax_headers):
                raise _refused(path, info.name, "which is a link, a device or a sparse file: write plain files alone")
            if info.size < 0 or info.offset_data + info.size > size:
                raise EOFError(f"{info.name[:60]!r} ends beyond it")
            if not name or name in seen:
                raise _refused(path, info.name, "whose name is empty or occurs twice")
            seen.add(name)
            yield _Member(name, info.offset_data, info.size)
        if headers.last != bytes(512):  # a damaged header counts as the end, too
            raise EOFError("it has no end, or a damaged header")
        if not seen:
            raise EOFError("it holds no files")
        _check_end(file, size)
    except (tarfile.TarError, EOFError, ValueError, LookupError, OverflowError, OSError, RecursionError) as error:
        start = b""
        if not isinstance(error, OSError):
            file.seek(0)
            start = file.read(2)
        packed = " It is compressed, and only plain tar files can be read at random." if start == b"\x1f\x8b" else ""
        raise CosegError(
            f"{path} is no tar file, or is damaged or cut off ({error}).{packed} Write or download the shard anew."
        ) from error


def _check_end(file: BinaryIO, size: int) -> None:
    """See that after the first block of zeros there is another, and nothing else.

    Raises:
        EOFError: there is none, or something else, which would be left out.
    """
    left = size - file.tell()
    if not 512 <= left <= MAX_END:
        raise EOFError("its end is missing" if left < 512 else f"it goes on for {left:,} bytes after its end")
    if file.read(left).strip(b"\0"):
        raise EOFError("it goes on after its end, as tar files put one after the other do")


def _name(path: str, name: str) -> str:
    """The name of a member in its shortest form."""
    if len(name) > MAX_NAME or len(name.encode("utf-8", "surrogateescape")) > MAX_NAME or name.count("/") >= MAX_PARTS:
        raise _refused(path, name, f"whose name has more than {MAX_NAME} bytes or {MAX_PARTS} parts")
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\0" in name or "\\" in name:
        raise _refused(path, name, "whose name leads out of the data set, or has a backslash")
    return "" if place == PurePosixPath() else str(place)


def _refused(path: str, name: str, reason: str) -> CosegError:
    return CosegError(f"{path} has the member {name[:120]!r}, {reason}. Write the shards anew: coseg-data shards.")
