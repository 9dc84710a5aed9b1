"""Downloading and unpacking an archive, so that a data set is complete or absent.

Everything happens in ``<folder>.partial`` beside the folder, which becomes the folder at the very end: an interrupted
download never looks complete, and the next one resumes it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from coseg.data.archive import Member, check_file
from coseg.data.sources import Archive, known_checksum, record_checksum, wrong_archive, wrong_checksum
from coseg.data.unpack import list_members, unpack
from coseg.errors import CosegError
from coseg.files.writing import remove_leftovers, write_text_atomically

if TYPE_CHECKING:
    import requests

_CHUNK = 1 << 16  # bytes; the last, unfinished one is lost when a connection breaks off
_TIMEOUT = 30  # seconds without an answer
_BLOCK = 4096  # bytes that a file takes beyond its content, at most
_REDIRECTS = 5


def download(archive: Archive, folder: Path, local: Path | None = None, name: str = "") -> None:
    """Make `folder` from an archive.

    Args:
        archive: what to fetch.
        folder: the folder to make; it must not exist.
        local: the archive, fetched by hand, instead of a download; it stays.
        name: the data set, whose layout the archive must have; empty for any.

    Raises:
        CosegError: the folder exists or is being made, the archive can't be fetched, is not the one it was, is that of
            another data set, is damaged, too large, or would write outside the folder; the disk is full.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    unpacked = partial / "unpacked"
    with _disk_errors_reported(folder), _without_empty_folders(partial), _locked(partial):
        shutil.rmtree(unpacked, ignore_errors=True)  # of an attempt that was killed
        remove_leftovers(folder.parent)
        if folder.exists():
            raise CosegError(
                f"{folder} exists already: check it with `coseg-data check`, or remove it to download anew."
            )
        members = None
        if local is not None:
            # Its content explains more than a checksum that differs, so it is checked first.
            members = _listed(local, archive, name)
            path = _checked(local, archive, folder)
        else:
            path = _fetched(archive, folder, partial)
        try:
            members = members if members is not None else _listed(path, archive, name)
            _check_room(folder, sum(member.size for member in members), len(members))
            unpack(path, unpacked, archive.limits, members)
        except BaseException as error:
            shutil.rmtree(unpacked, ignore_errors=True)
            if local is None and isinstance(error, CosegError) and not isinstance(error, NoRoomError):
                path.unlink(missing_ok=True)  # or the next attempt would find the same damaged file
            raise
        record_checksum(archive, folder, path)  # not before: nobody should be held to a damaged file
        unpacked.rename(folder)
        shutil.rmtree(partial, ignore_errors=True)


class NoRoomError(CosegError):
    """The disk has too little room: nothing is wrong with the archive."""


def _listed(path: Path, archive: Archive, name: str) -> list[Member]:
    members = list_members(path, archive.limits)
    wrong = wrong_archive(name, members)
    if wrong is not None:
        raise CosegError(f"{path} is not the archive of {name} ({archive.file}): {wrong} Nothing was unpacked.")
    return members


def _check_room(folder: Path, size: int, files: int = 1) -> None:
    place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    if size + _BLOCK * files > free:
        raise NoRoomError(
            f"The disk of {folder} has room for {free / 2**20:,.0f} MiB, and {size / 2**20:,.0f} MiB are needed: make "
            "room, or choose another folder with --root."
        )


def _fetched(archive: Archive, folder: Path, partial: Path) -> Path:
    """The archive in `partial`, its checksum right."""
    import pooch
    import requests

    known = known_checksum(archive, folder)
    pooch.get_logger().setLevel(logging.ERROR)  # it would print the checksum to put into a program
    partial.mkdir(parents=True, exist_ok=True)
    try:
        path = pooch.retrieve(
            archive.url,
            known,
            fname=archive.file,
            path=partial,
            downloader=_resuming(partial / f"{archive.file}.part", archive.limits.archive),
        )
    except (requests.RequestException, TimeoutError) as error:
        raise CosegError(
            f"{archive.url} cannot be fetched ({_short(error)}). Run the command again to resume, or fetch the archive "
            f"by hand (see {archive.page}) and give it: --archive {archive.file}."
        ) from error
    except ValueError as error:
        (partial / f"{archive.file}.part").unlink(missing_ok=True)
        raise wrong_checksum(archive, archive.url, known, folder) from error
    return Path(path)


def _checked(local: Path, archive: Archive, folder: Path) -> Path:
    """An archive that was fetched by hand, its checksum right."""
    import pooch

    check_file(local, archive.limits)
    known = known_checksum(archive, folder)
    if known is not None:
        algorithm, _, wanted = known.rpartition(":")
        if pooch.file_hash(str(local), alg=algorithm or "sha256") != wanted:
            raise wrong_checksum(archive, str(local), known, folder)
    return local


def _resuming(part: Path, most: int) -> Any:
    """A downloader for pooch that resumes the download of `part` if the file is the same; at most `most` bytes."""

    def fetch(url: str, output: str, _: Any) -> None:
        import requests
        from tqdm import tqdm

        tag = part.with_name(f"{part.name}.etag")
        have = part.stat().st_size if part.exists() and tag.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        resume = {"Range": f"bytes={have}-", "If-Range": tag.read_text()} if have else {}
        with requests.Session() as session:
            response = _answer(session, url, headers | resume)
            if resume and not _continues(response, have, resume["If-Range"]):
                response.close()
                response = _answer(session, url, headers)
            with response:
                response.raise_for_status()
                resumed = bool(resume) and response.status_code == 206
                if response.status_code not in (200, 206) or (response.status_code == 206 and not resumed):
                    raise requests.ConnectionError(f"the server answers {response.status_code}")
                have = have if resumed else 0
                version = response.headers.get("ETag") or response.headers.get("Last-Modified")
                if version is not None and not version.startswith("W/"):  # a weak one says nothing of the bytes
                    write_text_atomically(tag, version)
                else:
                    tag.unlink(missing_ok=True)
                length = response.headers.get("Content-Length", "")
                total = have + int(length) if length.isdecimal() else None
                if total is not None:
                    _check_size(url, total, most, part)
                    _check_room(part, total - have)
                with (
                    part.open("ab" if resumed else "wb") as file,
                    tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
                ):
                    for chunk in response.iter_content(_CHUNK):
                        have += len(chunk)
                        _check_size(url, have, most, part)
                        file.write(chunk)
                        bar.update(len(chunk))
        if total is not None and part.stat().st_size != total:
            raise requests.ConnectionError(f"the connection broke off at {part.stat().st_size} of {total} bytes")
        os.replace(part, output)
        tag.unlink(missing_ok=True)

    return fetch


def _answer(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """The answer to a request, followed where the server sends it on, but never from https to something else."""
    import requests

    for _ in range(_REDIRECTS + 1):
        response = session.get(url, headers=headers, stream=True, timeout=_TIMEOUT, allow_redirects=False)
        if not response.is_redirect:
            return response
        target = urljoin(url, response.headers["location"])
        response.close()
        if urlsplit(target).scheme not in (("https",) if urlsplit(url).scheme == "https" else ("http", "https")):
            raise requests.ConnectionError(f"the server sends on to {target!r}, which is not followed")
        url = target
    raise requests.TooManyRedirects(f"the server sends on more than {_REDIRECTS} times")


def _continues(response: requests.Response, have: int, version: str) -> bool:
    """Whether the answer is the rest of the file after `have` bytes, or the whole file."""
    if response.status_code == 416:  # there are no bytes after those
        return False
    if response.status_code != 206:
        return True
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", f"bytes {have}-"))
    now = response.headers.get("ETag") or response.headers.get("Last-Modified") or version
    return start is not None and int(start[1]) == have and now == version


def _check_size(url: str, size: int, most: int, part: Path) -> None:
    if size > most:
        for path in (part, part.with_name(f"{part.name}.etag")):
            path.unlink(missing_ok=True)
        raise CosegError(
            f"{url} has more than the {most:,} bytes that an archive of a data set may have: it is not the published "
            "archive, so nothing was kept."
        )


def _short(error: BaseException) -> str:
    """The innermost reason: requests' own words are a page long."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error).strip() or type(error).__name__


@contextmanager
def _without_empty_folders(partial: Path) -> Iterator[None]:
    """Take away, of `partial` and the folders above it, what this attempt made and left empty."""
    new = [path for path in (partial, *partial.parents) if not path.exists()]
    try:
        yield
    finally:
        for path in new:
            with suppress(OSError):  # not there any more, or not empty
                path.rmdir()


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """Keep `partial` for this process, and take what belongs to it away once more when nothing else is in it."""
    partial.mkdir(parents=True, exist_ok=True)
    path = partial / ".lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CosegError(f"{partial} is in use: another process downloads or unpacks it. Wait for it.") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty, or a data set by now
                partial.rmdir()


@contextmanager
def _disk_errors_reported(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CosegError(
                f"The disk of {folder} is full: make room and run the command again, which resumes the download."
            ) from error
        raise CosegError(
            f"{error.filename or folder} can't be written ({error.strerror or error}): choose another folder with "
            "--root."
        ) from error
