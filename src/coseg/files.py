"""Files that are whole or not there: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
