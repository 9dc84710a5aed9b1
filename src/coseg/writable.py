"""Whether files can be written to a place, told before the work whose results go there."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from coseg.errors import CosegError

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
