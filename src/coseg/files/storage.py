"""Where the files of a data set are: in a folder, or behind a URL by fsspec (``s3://``, ``gs://``, ``https://``, …).

Nothing is written. Behind a URL the listing of a folder is kept for the life of the process, as the images of a data
set don't change under a training. A web server has no folders: a name is one whose link, or whose address after
redirects, ends with a slash, and so is a name without a dot whose page links to files.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import quote, unquote

from coseg.errors import MOST_SHOWN, CosegError

TAR = "tar::"
"""Before the URL of shards: a tar file in a folder behind a URL is no more than a file."""

URL = re.compile(rf"({TAR})?((?:simplecache|filecache)::)?[a-zA-Z][a-zA-Z0-9+.-]+://")
"""What a URL begins with; its second part keeps what fsspec has fetched in files."""

BUFFER = 2**16
"""Bytes of a file in a folder that are read at once."""

INSTALL = "pip install 'coseg[cloud]'"

_STATE = (
    *("ETag", "etag", "Content-MD5", "Digest", "md5Hash", "generation", "sha", "blob_id", "created"),
    *("Last-Modified", "LastModified", "last_modified", "modified", "modify", "updated", "mtime"),
)
"""What file systems of fsspec say of a file that changes with it."""

PAUSES = (0.5, 2.0, None)
"""Seconds after a try that broke off."""

MAX_WHOLE = 2**24
"""Bytes of a file from a web server that gives no parts of files."""

MAX_PAGE = 2**26
"""Bytes of a page of links: a link to each of COCO's 118,287 images takes 13 MB."""

Result = TypeVar("Result")


class Status(NamedTuple):
    """What is known of a name in a `Storage`.

    Attributes:
        size: bytes of a file; None: a folder.
        state: a number that changes with the file, of shards that of the shard; None: nothing is known that does.
    """

    size: int | None
    state: int | None = None


_NOT_THERE = (FileNotFoundError, NotADirectoryError)

_UNKNOWN = Status(-1)
"""Of a file to which a page links: it has not been asked for yet."""


class Storage(Protocol):
    """Files by names with ``/``; the empty name is the root. Threads may read at once."""

    buffer: int
    """Bytes that are best read at once, of a small file all."""

    def status(self, name: str) -> Status | None:
        """Of a file or folder; None: there is none."""
        ...

    def names(self, folder: str) -> list[str]:
        """What is in a folder, by its last parts."""
        ...

    def read(self, name: str, start: int, length: int) -> bytes:
        """Bytes of a file; fewer than `length` where it ends.

        Raises:
            OSError: they can't be read.
        """
        ...


def is_url(text: object) -> bool:
    """Whether a root is a URL; ``file://`` is one."""
    return URL.match(str(text)) is not None


def is_web(url: str) -> bool:
    """Whether a URL is that of a web server."""
    return "http" in url.partition("://")[0]


class Window(io.RawIOBase):
    """A file of `size` bytes that a function reads: ``read(start, length)``."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read, self._size, self._at = read, size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The place."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(22, "a place before the beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read as much as there is and `buffer` holds.

        Raises:
            OSError: the file ends before its size.
        """
        length = max(0, min(len(buffer), self._size - self._at))
        data = self._read(self._at, length) if length else b""
        if len(data) != length:
            raise OSError(f"it ends after {self._at + len(data):,} of {self._size:,} bytes")
        buffer[:length] = data
        self._at += length
        return length


class Remote:
    """The files of a bucket, or of a host; see `Storage`.

    Args:
        root: a URL with one part after ``://``.

    Raises:
        CosegError: a package is missing for this type of URL, or there is no such type.
    """

    buffer = 2**20

    def __init__(self, root: str) -> None:
        self.root = root
        self._is_web = is_web(root)
        self._listings: dict[str, dict[str, Status]] = {}
        _file_system(root, os.getpid())

    def status(self, name: str) -> Status | None:
        """See `Storage.status`."""
        folder, _, last = name.rpartition("/")
        known = self._listings.get(folder, {}).get(last)
        if known not in (None, _UNKNOWN) or (folder in self._listings and not self._is_web):
            return known
        if name in self._listings or (self._is_web and "." not in last):
            if self._listed(name):
                return Status(None)
            if known is None:
                return None
        try:
            status = _status(self._asked(name, lambda files, path: files.info(path)))
        except _NOT_THERE:
            return None if name else Status(None)
        if known is not None:
            self._listings[folder][last] = status
        return status

    def names(self, folder: str) -> list[str]:
        """See `Storage.names`."""
        return list(self._listed(folder))

    def _listed(self, folder: str) -> dict[str, Status]:
        if folder not in self._listings:
            try:
                entries = self._asked(folder, _inside)
            except _NOT_THERE:
                entries = []
            listing: dict[str, Status] = {}
            for entry in entries:
                path = str(entry["name"]).rstrip("/")
                name = path.rpartition("/")[2]
                if self._is_web:
                    name = "" if "?" in name or "#" in name else unquote(name)  # that is the same page in another order
                if name in ("", ".", "..") or "/" in name or "\0" in name:
                    continue
                if self._is_web and entry.get("type") != "directory":
                    listing.setdefault(name, _UNKNOWN)
                else:
                    listing[name] = _status(entry)
            self._listings[folder] = listing
        return self._listings[folder]

    def read(self, name: str, start: int, length: int) -> bytes:
        """See `Storage.read`."""
        data: bytes = self._asked(name, lambda files, path: files.cat_file(path, start=start, end=start + length))
        return data if len(data) <= length else data[start : start + length]  # a server may give all, see `_client`

    def _asked(self, name: str, question: Callable[[Any, str], Result]) -> Result:
        """The answer of the file system; `OSError` for what is not there, else a sentence."""
        files, base = _file_system(self.root, os.getpid())
        path = f"{base.rstrip('/')}/{quote(name) if self._is_web else name}" if name else base
        for pause in PAUSES:
            try:
                return question(files, path)
            except CosegError:
                raise
            except ImportError as error:  # some are imported when they connect
                raise _not_installed(self.root, error) from None
            except Exception as error:  # each type has its own: no credentials, no host, forbidden
                reason = error
                if isinstance(error, _NOT_THERE):  # or there is no connection, so nothing is known of the file
                    cause = error.__cause__
                    if not isinstance(cause, Exception) or isinstance(cause, _NOT_THERE):
                        raise
                    if not (isinstance(cause, OSError) or _may_pass(cause)):
                        raise
                    reason = cause
                if pause is None or not _may_pass(reason):
                    raise self._unreadable(name, reason) from error
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _unreadable(self, name: str, error: Exception) -> CosegError:
        reason = str(error)[:MOST_SHOWN] or type(error).__name__
        return CosegError(
            f"{self.root}/{name} can't be read ({reason}): check the address, the network and the credentials."
        )


def _may_pass(error: Exception) -> bool:
    """Whether another try may do better: the connection broke off, or the server is busy."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status in (408, 429) or status >= 500
    web = sys.modules.get("aiohttp")
    broken_off: tuple[type[Exception], ...] = (OSError,) if web is None else (OSError, web.ClientError)
    return isinstance(error, broken_off) and not isinstance(error, PermissionError | ValueError)


def _inside(files: Any, path: str) -> list[Any]:
    """What is in a folder, without the empty file by which a bucket may stand for it."""
    return [entry for entry in files.ls(path, detail=True) if str(entry["name"]).strip("/") != path.strip("/")]


def _status(entry: Any) -> Status:
    if entry.get("type") == "directory" or str(entry.get("url", "")).endswith("/"):  # of a web server after redirects
        return Status(None)
    if entry.get("size") is None:
        raise CosegError(f"{entry.get('name')} can't be read: its server does not report how large it is.")
    stamps = [str(entry[key]) for key in _STATE if entry.get(key) is not None]
    digest = hashlib.sha256(repr(stamps).encode()).digest()[:7]
    return Status(int(entry["size"]), int.from_bytes(digest, "big") if stamps else None)


async def _client(**settings: Any) -> Any:
    """The client of a web server for fsspec, which would read an answer of any size."""
    import aiohttp

    class Answer(aiohttp.ClientResponse):
        async def read(self) -> bytes:
            if self._body is None:
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.request_info.headers.get("Range", ""))
                part = int(asked[2]) - int(asked[1]) + 1 if asked and self.status == 206 else None
                most = part if part is not None else MAX_WHOLE if asked else MAX_PAGE
                pieces, size = [], 0
                async for piece in self.content.iter_any():
                    size += len(piece)
                    if size > most:
                        self.close()
                        reason = "gives no parts of files" if asked else "gives no shorter page of links"
                        reason = reason if part is None else "gives more than it was asked for"
                        raise CosegError(
                            f"{self.url} has more than {most:,} bytes, and its server {reason}: download it, or use "
                            "shards on another server."
                        )
                    pieces.append(piece)
                self._body = b"".join(pieces)
            return self._body

    return aiohttp.ClientSession(response_class=Answer, **settings)


@lru_cache(64)
def _file_system(root: str, process: int) -> tuple[Any, str]:
    """The file system and the path of a root; a forked worker connects for itself."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise _not_installed(root, error) from None
    try:
        first = root.partition("://")[0].rpartition(":")[2]
        files, path = url_to_fs(root, **({first: {"get_client": _client}} if is_web(root) else {}))
    except ImportError as error:
        raise _not_installed(root, error) from None
    except Exception as error:
        raise CosegError(
            f"dataset.root={root} is no URL that can be read ({str(error)[:MOST_SHOWN]}): give a folder, tar shards, "
            "or a URL such as s3://bucket/folder."
        ) from error
    return files, path


def _not_installed(root: str, error: ImportError) -> CosegError:
    reason = str(error)[:MOST_SHOWN].rstrip(".")
    return CosegError(f"{root} needs a package that is not installed ({reason}): {INSTALL}.")
