"""The folder of an export: whole or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coseg.errors import CosegError
from coseg.files import remove_leftovers, temporary_name

GRAPHS = tuple(f"{name}{suffix}" for name in ("encode", "cosegment") for suffix in (".onnx", ".int8.onnx", ".pt2"))
"""The files of graphs that an export may write."""

WEIGHTS = "model.safetensors"


@contextmanager
def export_folder(out: Path, overwrite: bool, weights: bool) -> Iterator[Path]:
    """An empty folder beside `out`, whose files come to be `out` when the block ends well, and is removed otherwise.

    With `overwrite`, files of other names in `out` stay, but graphs of an earlier export are removed.

    Args:
        out: made if needed.
        overwrite: into a folder that holds something.
        weights: whether the export writes `WEIGHTS`, which otherwise must not be in `out`: ``config.json`` is of one
            model.

    Raises:
        CosegError: `out` can't be written, or holds what must stay.
    """
    check_folder(out, overwrite, weights)
    missing = [folder for folder in out.parents if not folder.exists()]
    remove_leftovers(out.parent)
    temporary = out.with_name(temporary_name(out.name))
    try:
        try:
            temporary.mkdir(parents=True)
        except OSError as error:
            raise _unwritable(out, error) from error
        yield temporary
        try:
            _put(temporary, out)
        except OSError as error:
            raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in missing:  # those that stay empty, the innermost first
            with suppress(OSError):
                folder.rmdir()


def check_folder(out: Path, overwrite: bool, weights: bool) -> None:
    """Refuse before any work what `export_folder` would.

    Raises:
        CosegError: `out` holds what must stay, or is a file.
    """
    if out.exists() and not out.is_dir():
        raise CosegError(f"{out} is a file: choose a folder for --out.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise CosegError(f"{out} is not empty: choose another --out, or write into it by --overwrite.")
    if not weights and (out / WEIGHTS).exists():
        raise CosegError(
            f"{out} holds {WEIGHTS}, whose config.json would be that of the graphs: add safetensors to --format, or "
            "choose another --out."
        )


def _put(temporary: Path, out: Path) -> None:
    if not out.exists():
        os.replace(temporary, out)
        return
    new = {file.name for file in temporary.iterdir()}
    for name in GRAPHS:
        if name not in new:
            (out / name).unlink(missing_ok=True)
    for file in temporary.iterdir():
        os.replace(file, out / file.name)


def _unwritable(out: Path, error: OSError) -> CosegError:
    return CosegError(f"{out} can't be written ({error.strerror or error}): choose another --out, or make room.")
