"""Downloading an archive and unpacking it, so that what is there is whole.

Everything happens in ``<folder>.partial`` beside the folder, which becomes the folder at the very end: an interrupted
download never looks complete, and the next one goes on where it stopped.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from coseg.data.sources import Archive
from coseg.data.unpack import unpack
from coseg.errors import CosegError
from coseg.files import write_text_atomically

CHECKSUMS = "checksums.json"
"""Beside the folder: the checksums of archives whose publishers give none, as they were at the first download."""

_CHUNK = 1 << 16  # bytes; the last, unfinished one is lost when a connection breaks off
_TIMEOUT = 30  # seconds without an answer


def download(archive: Archive, folder: Path, local: Path | None = None) -> None:
    """Make `folder` from an archive.

    Args:
        archive: what to fetch.
        folder: the folder to make; it must not exist.
        local: the archive, fetched by hand, instead of a download; it stays.

    Raises:
        CosegError: the folder exists, the archive can't be fetched, is not the one it was, is damaged, or would write
            outside the folder; the disk is full.
    """
    if folder.exists():
        raise CosegError(f"{folder} exists already: check it with `coseg-data check`, or remove it to download anew.")
    partial = folder.with_name(f"{folder.name}.partial")
    with _told_when_full(folder), _without_empty_folders(partial):
        path = _checked(local, archive, folder) if local is not None else _fetched(archive, folder, partial)
        unpacked = partial / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)  # of an attempt that broke off
        try:
            unpack(path, unpacked)
        except (CosegError, OSError) as error:
            shutil.rmtree(unpacked, ignore_errors=True)
            if local is None and isinstance(error, CosegError):
                path.unlink(missing_ok=True)  # or the next attempt would find the same damaged file
            raise
        _record(folder, archive, path)  # not before: nobody should be held to a damaged file
        unpacked.rename(folder)
        shutil.rmtree(partial, ignore_errors=True)


def _fetched(archive: Archive, folder: Path, partial: Path) -> Path:
    """The archive in `partial`, its checksum right."""
    import pooch
    import requests

    known = archive.checksum or _recorded(folder, archive)
    pooch.get_logger().setLevel(logging.ERROR)  # it would print the checksum to put into a program
    partial.mkdir(parents=True, exist_ok=True)
    try:
        path = pooch.retrieve(
            archive.url, known, fname=archive.file, path=partial, downloader=_go_on(partial / f"{archive.file}.part")
        )
    except (requests.RequestException, TimeoutError) as error:
        raise CosegError(
            f"{archive.url} cannot be fetched ({_short(error)}). Run the command again to go on, or fetch the archive "
            f"by hand (see {archive.page}) and give it: --archive {archive.file}."
        ) from error
    except ValueError as error:
        (partial / f"{archive.file}.part").unlink(missing_ok=True)
        raise _changed(archive, archive.url, known, folder) from error
    return Path(path)


def _checked(local: Path, archive: Archive, folder: Path) -> Path:
    """An archive that was fetched by hand, its checksum right."""
    import pooch

    if not local.is_file():
        raise CosegError(f"{local} is not a file: give the archive that you fetched, {archive.file}.")
    known = archive.checksum or _recorded(folder, archive)
    if known is not None:
        kind, _, wanted = known.rpartition(":")
        if pooch.file_hash(str(local), alg=kind or "sha256") != wanted:
            raise _changed(archive, str(local), known, folder)
    return local


def _changed(archive: Archive, where: str, known: str | None, folder: Path) -> CosegError:
    source = "published" if archive.checksum else f"recorded in {folder.parent / CHECKSUMS} at the first download"
    return CosegError(
        f"{where} has another checksum than the one {source} ({known}): it is damaged or was changed. Try again later, "
        f"or fetch it by hand from {archive.page} and give it as --archive."
    )


def _recorded(folder: Path, archive: Archive) -> str | None:
    path = folder.parent / CHECKSUMS
    if not path.is_file():
        return None
    try:
        checksums: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CosegError(f"{path} is damaged ({error}): correct it, or remove it to record checksums anew.") from error
    return checksums.get(archive.file)


def _record(folder: Path, archive: Archive, path: Path) -> None:
    """Remember the checksum of an archive whose publisher gives none."""
    if archive.checksum is not None or _recorded(folder, archive) is not None:
        return
    import pooch

    checksum = f"sha256:{pooch.file_hash(str(path))}"
    place = folder.parent / CHECKSUMS
    earlier = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    write_text_atomically(place, json.dumps(earlier | {archive.file: checksum}, indent=2) + "\n")
    print(
        f"nobody published a checksum of {archive.file}: {checksum} is recorded in {place}, and another one will be "
        "refused",
        file=sys.stderr,
    )


def _go_on(part: Path) -> Any:
    """A downloader for pooch that goes on with `part` where an earlier one broke off, if the file is still the same."""

    def fetch(url: str, output: str, _: Any) -> None:
        import requests
        from tqdm import tqdm

        tag = part.with_name(f"{part.name}.etag")
        have = part.stat().st_size if part.exists() and tag.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": tag.read_text()}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            response.raise_for_status()
            going_on = response.status_code == 206
            have = have if going_on else 0
            version = response.headers.get("ETag") or response.headers.get("Last-Modified")
            if version is not None and not version.startswith("W/"):  # a weak one says nothing of the bytes
                write_text_atomically(tag, version)
            else:
                tag.unlink(missing_ok=True)
            length = response.headers.get("Content-Length")
            total = have + int(length) if length is not None else None
            with (
                part.open("ab" if going_on else "wb") as file,
                tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
            ):
                for chunk in response.iter_content(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
        if total is not None and part.stat().st_size != total:
            raise requests.ConnectionError(f"the connection broke off at {part.stat().st_size} of {total} bytes")
        os.replace(part, output)
        tag.unlink(missing_ok=True)

    return fetch


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
def _told_when_full(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CosegError(
                f"The disk of {folder} is full: make room and run the command again, it goes on where it stopped."
            ) from error
        raise CosegError(
            f"{error.filename or folder} can't be written ({error.strerror or error}): choose another folder with "
            "--root."
        ) from error
