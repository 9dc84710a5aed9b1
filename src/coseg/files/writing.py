"""Files that are written completely or not at all, places that can be written to, and folders in use by one process."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from coseg.errors import CosegError

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


def json_text(document: Any, indent: int | None = 2) -> str:
    """`document` as JSON, with a line end.

    >>> json_text({"a": float("nan"), "b": [1.5, float("-inf")]}, indent=None)
    '{"a": null, "b": [1.5, null]}\\n'
    """
    return json.dumps(_finite(document), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


ROOM = 65536
"""Bytes that are written on trial: a full disk takes an empty file."""

_TRIES = 3


def require_writable(folder: Path, advice: str = "choose another folder, or make room", keep: bool = False) -> None:
    """See that files can be written into `folder`, which need not be there yet.

    Args:
        folder: is made on trial, with those above it.
        advice: what to do otherwise.
        keep: leave the folder there, where the work begins at once; otherwise everything is left as it was.

    Raises:
        CosegError: nothing can be written there; everything is as it was.
    """
    new = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    done = False
    try:
        for left in reversed(range(_TRIES)):
            try:
                _try(folder)
                break
            except FileNotFoundError:  # another process has just removed a folder that it had made on trial
                if not left:
                    raise
        done = True
    except (OSError, ValueError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        raise CosegError(f"Nothing can be written to {short_path(folder)} ({reason}): {advice}.") from None
    finally:
        if not (done and keep):
            for path in new:
                with suppress(OSError, ValueError):  # another process writes there by now
                    path.rmdir()


def _try(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(ROOM))
        file.flush()


def short_path(path: object) -> str:
    """A path whose names of hundreds of letters are cut."""
    text = str(path)
    return text if len(text) <= 200 else f"{text[:160]}…{text[-30:]}"


fcntl: Any
try:
    fcntl = importlib.import_module("fcntl")
except ImportError:  # not on Windows, where there is no lock
    fcntl = None

NAME = ".in-use"
"""In the folder, while it is in use: the process's number. Alone, without a process, it locks nothing."""

_ours: set[str] = set()
"""Folders that this process has locked: the system's locks are those of a process."""


@contextmanager
def in_use(folder: Path, what: str) -> Iterator[None]:
    """While the block runs, `folder` is this process's.

    The lock is the system's (POSIX record lock): it is not handed to workers, and a killed process leaves none. Where
    the file system knows no locks, there is none.

    Args:
        folder: is made if needed, and taken away again if it stays empty.
        what: goes on in it, for the sentence: ``a training``.

    Raises:
        CosegError: another process has it.
    """
    if fcntl is None:
        yield
        return
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path, key = folder / NAME, str(folder.resolve())
    if key in _ours:
        raise _taken(folder, what, str(os.getpid()))  # not by its file: to close that gives the lock back
    descriptor = _locked(path, folder, what)
    if descriptor is None:
        yield
        return
    _ours.add(key)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        _ours.discard(key)
        with suppress(OSError):
            path.unlink(missing_ok=True)  # before the lock goes: who waits for it sees that the file is another
        os.close(descriptor)
        if new:
            with suppress(OSError):  # not empty
                folder.rmdir()


def _locked(path: Path, folder: Path, what: str) -> int | None:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        except OSError:  # the work itself will tell what can't be written there
            return None
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            raise _taken(folder, what, _process(path)) from None
        except OSError:  # a file system without locks
            os.close(descriptor)
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)  # the process before has just taken its file away


def _process(path: Path) -> str:
    try:
        return path.read_text()[:20].strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _taken(folder: Path, what: str, process: str) -> CosegError:
    by = f" by process {process}" if process.isdecimal() else ""
    return CosegError(f"{folder} is in use{by}: {what} runs in it. Wait for its end, or stop it, and start again.")
