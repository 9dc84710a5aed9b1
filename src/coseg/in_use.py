"""A folder that one process alone may write to: a lock that goes with the process, however it ends."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from coseg.errors import CosegError

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
