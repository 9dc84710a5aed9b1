"""Results in memory and uploads on disk of the visitors of the page, both limited in number and size.

`coseg.page.calls` counts uploads here, `coseg.page.events` keeps and reads results, and `coseg.page.server` removes old
ones.
"""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from coseg.page.results import PageResult

AGE = 1800
"""Seconds without a request after which the results and uploads of a visitor are removed."""


class Quota(NamedTuple):
    """Limits of uploads, in bytes and in files: of one file, of a visitor, and of all visitors together."""

    file_bytes: int = 50 * 2**20
    visitor_bytes: int = 500 * 2**20
    visitor_files: int = 200
    total_bytes: int = 4 * 2**30
    total_files: int = 2000


class ResultQuota(NamedTuple):
    """Limits of the results that are kept: of how many tabs, and in bytes."""

    tabs: int = 20
    bytes: int = 2**30


@dataclass
class _Visitor:
    uploads: dict[Path, int] = field(default_factory=dict)
    pending_bytes: int = 0  # bytes and files of requests in progress
    pending_files: int = 0
    tabs: set[str] = field(default_factory=set)
    seen: float = 0.0


class Visitors:
    """Results by tab (an open page) and uploads by visitor (a browser, which may have several tabs).

    Args:
        folder: of the uploads; nothing outside of it is removed.
        quota: limits of the uploads.
        result_quota: limits of the results.
        age: seconds without a request after which results and uploads are removed.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        folder: Path,
        quota: Quota | None = None,
        result_quota: ResultQuota | None = None,
        age: float = AGE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.age = folder.resolve(), age
        self.quota, self.result_quota = quota or Quota(), result_quota or ResultQuota()
        self._clock, self._lock = clock, threading.Lock()
        self._results: OrderedDict[str, tuple[PageResult, int, float]] = OrderedDict()
        self._drawings: dict[str, int] = {}
        self._numbers = itertools.count()
        self._visitors: dict[str, _Visitor] = {}

    def keep_result(self, tab: str, result: PageResult | None) -> None:
        """Keep the result of a tab in place of its earlier one, and drop the oldest results above the limits."""
        with self._lock:
            self._drawings.pop(tab, None)
            self._keep(tab, result)

    def exchange_result(self, tab: str, before: PageResult, after: PageResult) -> bool:
        """Keep `after` in place of `before`, unless the visitor has cleared or replaced it in the meantime.

        Returns:
            Whether it is kept.
        """
        with self._lock:
            kept = self._results.get(tab)
            if kept is None or kept[0] is not before:
                return False
            self._keep(tab, after)
            return True

    def result(self, tab: str | None) -> PageResult | None:
        """The result of a tab; None: it has none, or it was removed."""
        with self._lock:
            kept = self._results.pop(tab or "", None)
            if tab is None or kept is None:
                return None
            self._results[tab] = (kept[0], kept[1], self._clock())
            return kept[0]

    def start_drawing(self, tab: str) -> int:
        """A number for a drawing of the result of a tab that starts now."""
        with self._lock:
            number = next(self._numbers)
            if tab in self._results:
                self._drawings[tab] = number
            return number

    def is_last_drawing(self, tab: str, number: int) -> bool:
        """Whether no later drawing of the tab has started, and its result was neither cleared nor replaced since."""
        with self._lock:
            return self._drawings.get(tab) == number

    def open_tab(self, tab: str, visitor: str) -> None:
        """A visitor opened the page in a tab."""
        with self._lock:
            known = self._visitor(visitor)
            known.tabs.add(tab)

    def close_tab(self, tab: str, visitor: str) -> None:
        """A tab was closed: remove its result, and with the last tab of a visitor the uploads."""
        with self._lock:
            self._drop(tab)
            known = self._visitors.get(visitor)
            if known is not None:
                known.tabs.discard(tab)
                if not known.tabs:
                    self._remove(visitor)

    def start_upload(self, visitor: str, size: int) -> str | None:
        """Reserve space for an upload of `size` bytes.

        Returns:
            A sentence where there is no space; None: it is reserved.
        """
        with self._lock:
            known = self._visitor(visitor)
            files = len(known.uploads) + known.pending_files
            total = sum(sum(other.uploads.values()) + other.pending_bytes for other in self._visitors.values())
            count = sum(len(other.uploads) + other.pending_files for other in self._visitors.values())
            mine = sum(known.uploads.values()) + known.pending_bytes
            if mine + size > self.quota.visitor_bytes or files >= self.quota.visitor_files:
                return (
                    f"Your photographs on this page would take more than {self.quota.visitor_bytes // 2**20} MB or "
                    f"{self.quota.visitor_files} files: close the page and open it anew, or take fewer or smaller ones."
                )
            if total + size > self.quota.total_bytes or count >= self.quota.total_files:
                return "The page is full of other visitors' photographs: come back in half an hour."
            known.pending_bytes += size
            known.pending_files += 1
            return None

    def finish_upload(self, visitor: str, size: int, files: list[Path]) -> str | None:
        """Release the space that `start_upload` reserved, and count the files that arrived.

        Returns:
            A sentence where they are too many: then they are removed. Else None.
        """
        with self._lock:
            known = self._visitor(visitor)
            known.pending_bytes -= size
            known.pending_files -= 1
            for path in files:
                with suppress(OSError):
                    known.uploads[path] = path.stat().st_size
            if len(known.uploads) <= self.quota.visitor_files:
                return None
            for path in files:
                known.uploads.pop(path, None)
                self._unlink(path)
            return f"The page takes {self.quota.visitor_files} files of a visitor: take fewer."

    def remove_idle(self) -> None:
        """Remove results and uploads without a request for `age` seconds."""
        now = self._clock()
        with self._lock:
            for tab in [key for key, kept in self._results.items() if now - kept[2] > self.age]:
                self._drop(tab)
            for visitor, known in list(self._visitors.items()):
                known.uploads = {path: size for path, size in known.uploads.items() if path.exists()}
                if now - known.seen > self.age and not known.pending_files:
                    self._remove(visitor)

    def counts(self) -> dict[str, Any]:
        """The numbers of results and uploaded files, and their bytes."""
        with self._lock:
            uploads = [size for known in self._visitors.values() for size in known.uploads.values()]
            kept = [item[1] for item in self._results.values()]
            return {"results": len(kept), "result_bytes": sum(kept), "files": len(uploads), "bytes": sum(uploads)}

    def _is_above_limits(self) -> bool:
        size = sum(item[1] for item in self._results.values())
        return len(self._results) > self.result_quota.tabs or size > self.result_quota.bytes

    def _visitor(self, visitor: str) -> _Visitor:
        known = self._visitors.setdefault(visitor, _Visitor())
        known.seen = self._clock()
        return known

    def _keep(self, tab: str, result: PageResult | None) -> None:
        self._results.pop(tab, None)
        if result is None:
            return
        self._results[tab] = (result, result_bytes(result), self._clock())
        while len(self._results) > 1 and self._is_above_limits():
            self._drop(next(iter(self._results)))

    def _drop(self, tab: str) -> None:
        self._results.pop(tab, None)
        self._drawings.pop(tab, None)

    def _remove(self, visitor: str) -> None:
        known = self._visitors.pop(visitor)
        kept = {path for other in self._visitors.values() for path in other.uploads}  # equal files have one path
        for path in set(known.uploads) - kept:
            self._unlink(path)

    def _unlink(self, path: Path) -> None:
        if path.parent.parent == self.folder:  # gradio's path of an upload: <folder>/<checksum>/<name>
            shutil.rmtree(path.parent, ignore_errors=True)


def result_bytes(result: PageResult) -> int:
    """Bytes of the arrays and tensors of a result, approximately."""
    return sum(
        _bytes(part) for part in (result.previews, result.encoded, result.cosegmentation.segments, result.showing)
    )


def _bytes(value: Any) -> int:
    if isinstance(value, list | tuple):
        return sum(_bytes(part) for part in value)
    if isinstance(value, dict):
        return sum(_bytes(part) for part in value.values())
    if isinstance(size := getattr(value, "nbytes", None), int):
        return size
    return sum(_bytes(part) for part in vars(value).values()) if hasattr(value, "__dict__") else 0
