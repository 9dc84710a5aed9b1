"""What each visitor holds on the machine that serves the page: results in memory, uploads on disk; both bounded."""

from __future__ import annotations

import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from coseg.page.look import Look

AGE = 1800
"""Seconds without a request after which what a visitor has is removed."""


class Quota(NamedTuple):
    """What uploads may take: a file, a visitor and all together, in bytes, and their numbers of files."""

    file_bytes: int = 50 * 2**20
    visitor_bytes: int = 500 * 2**20
    visitor_files: int = 200
    total_bytes: int = 4 * 2**30
    total_files: int = 2000


class Held(NamedTuple):
    """Results that are kept: of so many sessions, with so many bytes, at most."""

    sessions: int = 20
    bytes: int = 2**30


@dataclass
class _Visitor:
    uploads: dict[Path, int] = field(default_factory=dict)
    coming: int = 0  # bytes and files of requests that are under way
    coming_files: int = 0
    sessions: set[str] = field(default_factory=set)
    seen: float = 0.0


class Visits:
    """Results by session (a page that is open) and uploads by visitor (a browser, which may have several).

    Args:
        folder: where uploads and results lie; nothing outside of it is removed.
        quota: of the uploads.
        held: of the results.
        age: seconds.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        folder: Path,
        quota: Quota | None = None,
        held: Held | None = None,
        age: float = AGE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.quota, self.held, self.age = folder.resolve(), quota or Quota(), held or Held(), age
        self._clock, self._lock = clock, threading.Lock()
        self._looks: OrderedDict[str, tuple[Look, int, float]] = OrderedDict()
        self._visitors: dict[str, _Visitor] = {}

    def keep(self, session: str, look: Look | None) -> None:
        """Keep the result of a session in place of its earlier one, and drop the oldest ones where it gets too much."""
        with self._lock:
            self._looks.pop(session, None)
            if look is None:
                return
            self._looks[session] = (look, look_bytes(look), self._clock())
            while len(self._looks) > 1 and (
                len(self._looks) > self.held.sessions or sum(item[1] for item in self._looks.values()) > self.held.bytes
            ):
                self._looks.popitem(last=False)

    def look(self, session: str | None) -> Look | None:
        """The result of a session, None where there is none (any more)."""
        with self._lock:
            kept = self._looks.pop(session or "", None)
            if session is None or kept is None:
                return None
            self._looks[session] = (kept[0], kept[1], self._clock())
            return kept[0]

    def begin(self, session: str, visitor: str) -> None:
        """A visitor opened the page."""
        with self._lock:
            known = self._visitor(visitor)
            known.sessions.add(session)

    def end(self, session: str, visitor: str) -> None:
        """The page was closed: its result goes, and the visitor's uploads with the last page."""
        with self._lock:
            self._looks.pop(session, None)
            known = self._visitors.get(visitor)
            if known is not None:
                known.sessions.discard(session)
                if not known.sessions:
                    self._remove(visitor)

    def start_upload(self, visitor: str, size: int) -> str | None:
        """Reserve room for an upload of `size` bytes; a sentence where there is none."""
        with self._lock:
            known = self._visitor(visitor)
            files = len(known.uploads) + known.coming_files
            total = sum(sum(other.uploads.values()) + other.coming for other in self._visitors.values())
            count = sum(len(other.uploads) + other.coming_files for other in self._visitors.values())
            mine = sum(known.uploads.values()) + known.coming
            if mine + size > self.quota.visitor_bytes or files >= self.quota.visitor_files:
                return (
                    f"Your photographs on this page would take more than {self.quota.visitor_bytes // 2**20} MB or "
                    f"{self.quota.visitor_files} files: close the page and open it anew, or take fewer or smaller ones."
                )
            if total + size > self.quota.total_bytes or count >= self.quota.total_files:
                return "The page is full of other visitors' photographs: come back in half an hour."
            known.coming += size
            known.coming_files += 1
            return None

    def finish_upload(self, visitor: str, size: int, files: list[Path]) -> str | None:
        """Give back what `start_upload` reserved, and count the files that came.

        Returns:
            A sentence where they are too many: then they are removed.
        """
        with self._lock:
            known = self._visitor(visitor)
            known.coming -= size
            known.coming_files -= 1
            for path in files:
                with suppress(OSError):
                    known.uploads[path] = path.stat().st_size
            if len(known.uploads) <= self.quota.visitor_files:
                return None
            for path in files:
                known.uploads.pop(path, None)
                self._unlink(path)
            return f"The page takes {self.quota.visitor_files} files of a visitor: take fewer."

    def sweep(self) -> None:
        """Remove what nobody asked for during `age`."""
        now = self._clock()
        with self._lock:
            for session in [key for key, kept in self._looks.items() if now - kept[2] > self.age]:
                del self._looks[session]
            for visitor, known in list(self._visitors.items()):
                known.uploads = {path: size for path, size in known.uploads.items() if path.exists()}
                if now - known.seen > self.age and not known.coming_files:
                    self._remove(visitor)

    def counts(self) -> dict[str, Any]:
        """Numbers of results and uploads, and their bytes."""
        with self._lock:
            uploads = [size for known in self._visitors.values() for size in known.uploads.values()]
            kept = [item[1] for item in self._looks.values()]
            return {"results": len(kept), "result_bytes": sum(kept), "files": len(uploads), "bytes": sum(uploads)}

    def _visitor(self, visitor: str) -> _Visitor:
        known = self._visitors.setdefault(visitor, _Visitor())
        known.seen = self._clock()
        return known

    def _remove(self, visitor: str) -> None:
        known = self._visitors.pop(visitor)
        kept = {path for other in self._visitors.values() for path in other.uploads}  # equal files lie at one place
        for path in set(known.uploads) - kept:
            self._unlink(path)

    def _unlink(self, path: Path) -> None:
        if path.parent.parent == self.folder:  # as gradio lays uploads: <folder>/<checksum>/<name>
            shutil.rmtree(path.parent, ignore_errors=True)


def look_bytes(look: Look) -> int:
    """Bytes of the arrays and tensors of a look, roughly."""
    return sum(_bytes(part) for part in (look.previews, look.encoded, look.result.segments))


def _bytes(value: Any) -> int:
    if isinstance(value, list | tuple):
        return sum(_bytes(part) for part in value)
    if isinstance(value, dict):
        return sum(_bytes(part) for part in value.values())
    if isinstance(size := getattr(value, "nbytes", None), int):
        return size
    return sum(_bytes(part) for part in vars(value).values()) if hasattr(value, "__dict__") else 0
