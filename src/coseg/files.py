"""Files that are whole or not there: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

OLD = 24 * 3600.0
"""Seconds without a change after which a temporary file is nobody's, whichever machine wrote it."""

_TEMPORARY = re.compile(r"\..+\.([1-9]\d{0,6})-([0-9a-f]{4})[0-9a-f]{4}(\.[^.]*)?", re.DOTALL)
"""What `temporary_name` gives: the process (Linux numbers them below 2^22), the machine."""


def temporary_name(stem: str, suffix: str = "") -> str:
    """A hidden name of this process's own, by which `remove_leftovers` knows whose it is."""
    return f".{stem}.{os.getpid()}-{_machine()}{secrets.token_hex(2)}{suffix}"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same suffix, which becomes `path` when the block ends well.

    When the block raises, the temporary file is removed and what stood at `path` stays. The folder is made if needed.
    Several processes may write the same `path`: the last one wins, and no reader sees a half-written file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_name(path.stem, path.suffix))
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, with line ends as they are in `text`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def temporary_folder(stem: str) -> tempfile.TemporaryDirectory[str]:
    """A folder in the system's temporary one that goes with this process; those of killed processes go now."""
    remove_leftovers(tempfile.gettempdir(), stem)
    return tempfile.TemporaryDirectory(prefix=temporary_name(stem, "."))


def remove_leftovers(folder: str | Path, stem: str = "") -> None:
    """Remove from `folder` the temporary files and folders of `atomic_path` whose process was killed.

    Args:
        folder: whose files are looked at, those in folders in it aside.
        stem: of the names, where others than coseg write to the folder; empty: any.

    That is one that is not there on the machine which wrote the file. Of another machine that shares the folder, and
    of a number that the system has given to a new process, nothing is known: such a file goes when it is `OLD`. What is
    not of the form of `temporary_name` stays, and so does what can't be removed.
    """
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            match = _TEMPORARY.fullmatch(entry.name)
            if match is None or int(match[1]) == os.getpid() or not entry.name.startswith(f".{stem}"):
                continue
            if (match[2] != _machine() or _is_alive(int(match[1]))) and not _is_old(entry):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with suppress(OSError):
                    os.unlink(entry.path)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def _is_old(entry: os.DirEntry[str]) -> bool:
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > OLD
    except OSError:  # just removed
        return False


@cache
def _machine() -> str:
    """Four digits for where process numbers mean the same: the machine, and the container in it."""
    try:
        numbers = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # not Linux
        numbers = 0
    return hashlib.sha256(f"{socket.gethostname()} {numbers}".encode()).hexdigest()[:4]
