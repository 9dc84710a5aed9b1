"""The members of zip and tar archives from untrusted sources, read within bounds of memory and size."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from struct import error as StructError
from typing import IO, Literal, NamedTuple

from coseg.errors import CosegError

GIB = 2**30
Type = Literal["file", "folder", "symlink", "hardlink"]


class Limits(NamedTuple):
    """Above these an archive is refused: its own bytes, those that it unpacks to, and its members."""

    archive: int = 4 * GIB
    unpacked: int = 8 * GIB
    members: int = 200_000


class Member(NamedTuple):
    """A member: its path with ``/`` below the folder, its size in bytes, and for a link where it leads."""

    name: str
    type: Type
    size: int = 0
    target: str = ""


Opened = Callable[[], IO[bytes]]
"""Opens the content of a member that is a file."""

_HEADER = 16 * 2**20  # bytes read at once: a zip's directory is, and a tar's header of any length is
_SLACK = 64 * 2**20  # bytes of headers and padding that a tar may have beside its files

_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
    ValueError, OverflowError, StructError, MemoryError, OSError,
)  # fmt: skip
"""What Python raises for archives that are damaged, cut off, locked, or packed in a way that it does not know."""

_OTHERS = {b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!\x1a\x07": "a RAR archive", b"\x28\xb5\x2f\xfd": "zstd"}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what Python raises for damaged archives into a sentence."""
    try:
        yield
    except _DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise CosegError(
            f"{path} cannot be unpacked, it is damaged or cut off ({reason}): download it again."
        ) from error


def check_file(path: Path, limits: Limits) -> None:
    """Refuse a path that is no regular file of a plausible size, without opening a pipe or a device.

    Raises:
        CosegError: `path` is not there, is a folder, a pipe or a device, is empty, or has too many bytes.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe or device" if path.exists() else "not there"
        raise CosegError(f"{path} is not a file but {what}: give the archive that you fetched, a zip or tar file.")
    size = path.stat().st_size
    if size == 0:
        raise CosegError(f"{path} is empty: download it again.")
    if size > limits.archive:
        raise CosegError(
            f"{path} has {size:,} bytes, more than the {limits.archive:,} that an archive of a data set may have: it "
            "is not the published archive."
        )


@contextmanager
def read_members(path: Path, limits: Limits) -> Iterator[Iterator[tuple[Member, Opened]]]:
    """The members in their order, their names not yet checked, each with what opens it before the next is read.

    Raises:
        CosegError: it is no zip or tar archive, is damaged, cut off or encrypted, has too many bytes, or a member that
            is neither file, folder nor link.
    """
    check_file(path, limits)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
        except OSError as error:
            raise CosegError(f"{path} cannot be read ({error.strerror}): see who may read it.") from error
        start = file.read(512)
        file.seek(0)
        with reading(path):
            is_zip = zipfile.is_zipfile(file)
        file.seek(0)
        if is_zip:
            with reading(path):
                zipped = stack.enter_context(zipfile.ZipFile(_Bounded(file)))  # type: ignore[call-overload]
            members = _zip_members(path, zipped)
        else:
            stream, packed = _decompressed(path, file, start)
            bounded = _Bounded(stream, limits.unpacked + _SLACK)
            try:
                tarred = stack.enter_context(tarfile.open(fileobj=bounded, mode="r:"))  # type: ignore[call-overload]
            except tarfile.ReadError as error:
                raise _no_archive(path, start) from error
            except _DAMAGED as error:
                with reading(path):
                    raise error
            members = _tar_members(path, tarred, bounded, packed)
        yield members


def _decompressed(path: Path, file: IO[bytes], start: bytes) -> tuple[IO[bytes], bool]:
    with reading(path):
        for magic, opener in ((b"\x1f\x8b", gzip.GzipFile), (b"BZh", bz2.BZ2File), (b"\xfd7zXZ\x00", lzma.LZMAFile)):
            if start.startswith(magic):
                return opener(filename="", fileobj=file) if opener is gzip.GzipFile else opener(file), True  # type: ignore
    return file, False


def _no_archive(path: Path, start: bytes) -> CosegError:
    head = start.lstrip()[:14].lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return CosegError(
            f"{path} is a web page, not an archive: open its address in a browser, and download it again."
        )
    if start.startswith(b"PK"):
        return CosegError(f"{path} is a zip archive that is damaged or cut off: download it again.")
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            return CosegError(
                f"{path} is {what}, not zip or tar: unpack it with its own program, and give the folder to --root or "
                "dataset.root."
            )
    return CosegError(f"{path} is no zip or tar archive, or is damaged or cut off: download it again.")


class _Bounded:
    """A file that is never read in one large piece, nor beyond `most` bytes."""

    def __init__(self, file: IO[bytes], most: int | None = None) -> None:
        self._file, self._most = file, most
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        self.last = self._file.read(_HEADER + 1 if size < 0 else min(size, _HEADER + 1))
        if len(self.last) > _HEADER:
            raise tarfile.TarError("its table of contents has too many bytes")
        self._check(self._file.tell())
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0:
            self._check(offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()

    def _check(self, position: int) -> None:
        if self._most is not None and position > self._most:
            raise tarfile.TarError(f"it unpacks to more than {self._most:,} bytes")


def _zip_members(path: Path, zipped: zipfile.ZipFile) -> Iterator[tuple[Member, Opened]]:
    """Those of a zip archive; a link in it becomes a file that holds where it led, as `zipfile` has it."""
    for info in zipped.infolist():
        if info.flag_bits & 1:
            raise CosegError(f"{path} is encrypted, which published archives are not: unpack it with its own program.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CosegError(
                f"{path} is packed in a way that only few programs know (method {info.compress_type}): unpack it with "
                "its own program, and give the folder to --root or dataset.root."
            )
        mode = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0
        if mode not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise _neither(path, info.filename)
        name = info.filename.replace("\\", "/")
        if info.is_dir() or name.endswith("/"):
            yield Member(name, "folder"), _nothing
        else:
            yield Member(name, "file", info.file_size), lambda info=info: zipped.open(info)  # type: ignore[misc]


def _tar_members(
    path: Path, tarred: tarfile.TarFile, bounded: _Bounded, packed: bool
) -> Iterator[tuple[Member, Opened]]:
    while (info := tarred.next()) is not None:
        tarred.members = []  # type: ignore[attr-defined]  # it would keep them all
        if info.isdir():
            yield Member(info.name, "folder"), _nothing
        elif info.issym() or info.islnk():
            yield Member(info.name, "symlink" if info.issym() else "hardlink", 0, info.linkname), _nothing
        elif info.isfile():
            yield Member(info.name, "file", info.size), lambda info=info: tarred.extractfile(info)  # type: ignore
        else:
            raise _neither(path, info.name)
    if bounded.last != bytes(
        512
    ):  # tarfile takes a damaged header, and the end of the file, for the end of the archive
        raise EOFError("it has no end, or a damaged header")
    while packed and bounded.read(2**16):  # to its checksum
        pass


def _nothing() -> IO[bytes]:
    raise AssertionError("only files have content")


def _neither(path: Path, name: str) -> CosegError:
    return refused(path, name, "which is neither a file nor a folder")


def refused(path: Path, name: str, reason: str) -> CosegError:
    """The error for an archive with the member `name`; `reason` is a relative clause."""
    return CosegError(
        f"{path} has the member {shown(name)}, {reason}: nothing was unpacked. It is not the published archive."
    )


def shown(name: str) -> str:
    """A member's name for a message, quoted and at most 80 characters long."""
    return repr(name if len(name) <= 80 else f"{name[:60]}…{name[-19:]}")
