"""Who runs which trial: locks on files in the study's folder, which any machine that shares it sees.

A lock ends with the last process that holds it, however that one ends, so that nobody waits for a clock to say that
another one is dead. A training inherits the lock of its trial, and keeps it should it outlive who started it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def claim(path: Path) -> int | None:
    """The file descriptor of the lock at `path`, to be closed by the caller; None while another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait for the lock at `path`, and hold it inside the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
