"""Tar shards written from a folder, which `coseg.files.shards` reads: few large files instead of many small ones."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from coseg.data.catalog import Catalog
from coseg.errors import CosegError
from coseg.files.shards import MAX_MEMBERS
from coseg.files.writing import remove_leftovers, temporary_name

SHARDS = "shards-{}.tar"


def write_shards(root: Path, out: Path, megabytes: float, below: str = "") -> list[str]:
    """Write all files below a folder, hidden ones aside, into tar files of about a size; links are followed.

    Equal files give equal bytes: members are in the order of their names, without times and owners. `out` is there
    only when all are written. A folder that several links lead to is written for each, but never within itself.

    Args:
        root: the folder.
        out: the folder of the shards, which is made; it must not be there, or be empty.
        megabytes: of a shard; a larger file is one alone.
        below: the folder in the tar files that the files are in.

    Returns:
        The names of the shards.

    Raises:
        CosegError: there are no files or too many, one can't be read, a link leads nowhere, or `out` holds some files
            or is the current folder.
        OSError: `out` can't be written.
    """
    out = Path(os.path.abspath(out))
    if out.is_dir() and any(out.iterdir()):
        raise CosegError(f"{out} is not empty: choose another folder.")
    if out.is_dir() and out.samefile(os.curdir):  # it would be replaced below whoever is in it
        raise CosegError(f"{out} is the current folder: choose another one, such as {out / 'shards'}.")
    files = sorted(islice(_files_below(root, out), MAX_MEMBERS + 1))
    if not files:
        raise CosegError(f"{root} holds no files.")
    if len(files) > MAX_MEMBERS:
        raise CosegError(f"{root} holds more than {MAX_MEMBERS:,} files, which is the most that shards may hold.")
    parts: list[list[tuple[str, Path]]] = [[]]
    filled = 0
    for name, path in files:
        with _reading(path):
            size = path.stat().st_size + 1024
        if parts[-1] and filled + size > megabytes * 1e6:
            parts.append([])
            filled = 0
        parts[-1].append((name, path))
        filled += size
    remove_leftovers(out.parent, out.name)
    temporary = out.with_name(temporary_name(out.name))
    temporary.mkdir(parents=True)
    names = [SHARDS.format(f"{k:06d}") for k in range(len(parts))]
    try:
        for shard, members in zip(names, parts, strict=True):
            with tarfile.open(temporary / shard, "w", format=tarfile.PAX_FORMAT) as tarred:
                for name, path in members:
                    with _reading(path):
                        file = path.open("rb")
                    with file:
                        info = tarfile.TarInfo(f"{below}/{name}" if below else name)
                        info.size = os.fstat(file.fileno()).st_size
                        tarred.addfile(info, _Source(path, file))  # type: ignore[arg-type]
        os.replace(temporary, out)
    finally:
        if temporary.is_dir():
            for path in temporary.iterdir():
                path.unlink()
            temporary.rmdir()
    return names


def same_catalog(first: Catalog, second: Catalog) -> None:
    """Refuse a catalog that has other images than another, or other objects in them.

    Raises:
        CosegError: it has.
    """
    same = first.ids == second.ids and first.class_names == second.class_names
    if not same or not np.array_equal(first.presence, second.presence):
        raise CosegError(
            f"The shards of {first.name}/{first.split} have other images or classes than its folder: the folder has "
            "changed meanwhile. Write them anew."
        )


def remove_shards(out: Path, names: list[str]) -> None:
    """Remove shards, and their folder if it holds nothing else."""
    with suppress(OSError):
        for name in names:
            (out / name).unlink(missing_ok=True)
        out.rmdir()


def _files_below(root: Path, out: Path) -> Iterator[tuple[str, Path]]:
    without = os.path.realpath(out)
    folders: list[tuple[Path, frozenset[str]]] = [(root, frozenset())]
    while folders:
        folder, above = folders.pop()
        real = os.path.realpath(folder)
        if real in above or real == without:  # a link into what it is in: a circle
            continue
        with _reading(folder):
            entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        for entry in entries:
            path = folder / entry.name
            with _reading(path):
                is_folder, is_file = entry.is_dir(), entry.is_file()
            if is_folder:
                folders.append((path, above | {real}))
            elif is_file:
                yield path.relative_to(root).as_posix(), path
            elif entry.is_symlink() and not path.exists():
                raise CosegError(
                    f"{path} is a link to {os.readlink(path)}, which is not there: remove the link, or bring that back."
                )


class _Source:
    """A file as `tarfile` reads it: an error of reading names it, and is not taken for one of writing."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file

    def read(self, size: int) -> bytes:
        with _reading(self.path):
            block = self.file.read(size)
        if len(block) < size:
            raise CosegError(f"{self.path} became shorter while it was read: start anew when nothing writes to it.")
        return block


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CosegError(
            f"{path} can't be read ({error.strerror or error}): see to its rights, or take it out of the folder."
        ) from error
