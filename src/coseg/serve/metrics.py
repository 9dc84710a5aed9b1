"""Counts, times, the queue and memory of the service, in the text format of Prometheus.

Written by hand: a dozen lines need no package. Prometheus computes rates and means from the sums.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from coseg.serve.guard import App, Message, Receive, Scope, Send
from coseg.serve.jobs import Jobs


class Measured:
    """Wraps the app of the service: counts its answers, by path and status.

    Args:
        app: of the service.
        jobs: its queue.
        paths: that it has; all others are counted as ``other``, so that strangers make no new series.
    """

    def __init__(self, app: App, jobs: Jobs, paths: Iterable[str]) -> None:
        self._app, self._jobs, self.paths = app, jobs, set(paths)
        self._answers: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            path = scope["path"] if scope["path"] in self.paths else "other"
            with self._lock:
                self._answers[path, status] += 1
                self._seconds[path] += time.monotonic() - began  # type: ignore[assignment]

    def text(self) -> str:
        """All figures."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        jobs = self._jobs
        with self._lock:
            answers, seconds = dict(self._answers), dict(self._seconds)
        yield from _head("coseg_requests_total", "counter", "Answers by path and status.")
        for (path, status), count in sorted(answers.items()):
            yield f'coseg_requests_total{{path="{path}",status="{status}"}} {count}'
        yield from _head("coseg_request_seconds_total", "counter", "Seconds from request to answer, by path.")
        for path, total in sorted(seconds.items()):
            yield f'coseg_request_seconds_total{{path="{path}"}} {total:.6f}'
        resident, peak = memory()
        for name, sort, words, value in (
            ("coseg_jobs_total", "counter", "Requests that were computed.", jobs.computed),
            ("coseg_job_seconds_total", "counter", "Seconds that computing them took.", round(jobs.seconds, 6)),
            ("coseg_requests_running", "gauge", "Requests that are computed.", jobs.running),
            (
                "coseg_requests_waiting",
                "gauge",
                "Requests that wait, arrive or are answered.",
                jobs.taken - jobs.running,
            ),
            ("coseg_requests_limit", "gauge", "Requests at once, at most.", jobs.slots),
            ("process_resident_memory_bytes", "gauge", "Memory of the process.", resident),
            ("coseg_peak_memory_bytes", "gauge", "The largest memory of the process so far.", peak),
        ):
            yield from _head(name, sort, words)
            yield f"{name} {value}"


def memory() -> tuple[int, int]:
    """The memory of this process in bytes, now and at most; now is 0 where the system does not say."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0, peak
    return pages * os.sysconf("SC_PAGE_SIZE"), peak


def _head(name: str, sort: str, words: str) -> tuple[str, str]:
    return f"# HELP {name} {words}", f"# TYPE {name} {sort}"
