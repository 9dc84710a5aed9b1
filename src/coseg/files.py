"""Files that are whole or not there: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TEMPORARY = re.compile(r"\..*\.(\d{1,10})-[0-9a-f]{8}(\.[^.]*)?", re.DOTALL)
"""The names that `atomic_path` and exports give: the process is the first number."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, with the same suffix, which becomes `path` when the block ends well.

    When the block raises, the temporary file is removed and what stood at `path` stays. The folder is made if needed.
    Several processes may write the same `path`: the last one wins, and no reader sees a half-written file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, with line ends as they are in `text`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def remove_leftovers(folder: str | Path) -> None:
    """Remove from `folder` the temporary files and folders of `atomic_path` whose process was killed.

    A process counts as such that is not there on this machine. What is not of the form of those names stays, and so
    does what can't be removed.
    """
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            match = _TEMPORARY.fullmatch(entry.name)
            if match is None or _is_alive(int(match[1])):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with suppress(OSError):
                    os.unlink(entry.path)


def _is_alive(process: int) -> bool:
    if process in (0, os.getpid()):
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True
