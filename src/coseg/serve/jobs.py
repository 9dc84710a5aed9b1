"""The queue of the service: a bounded number of requests at once, of which a few are computed, within limits of time.

A request takes a `Slot` before its body is read, and gives it back when its answer is sent and nothing is computed for
it any longer. So the memory of all requests is bounded by the number of slots.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

Answer = TypeVar("Answer")


class Limits(NamedTuple):
    """Bounds of the service.

    Attributes:
        workers: requests that are computed at the same time.
        waiting: further requests that may wait or be received at the same time.
        images: of one request.
        request_bytes: of the body of one request.
        megapixels: of one image, by its header.
        seconds: from the end of the upload to the answer, waiting included; and again to send the answer.
        upload_seconds: to receive the body of a request.
    """

    workers: int = 1
    waiting: int = 16
    images: int = 20
    request_bytes: int = 100 * 2**20
    megapixels: float = 50.0
    seconds: int = 120
    upload_seconds: int = 60


class Refused(Exception):
    """A request that is not answered: a status of HTTP, a sentence, and after how many seconds to try again."""

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after


class Gone(Exception):
    """The client closed its connection, so nobody waits for the answer."""


class Slot:
    """The place of a request, given back when all its holders have released it; a call by any thread."""

    def __init__(self, free: Callable[[], None]) -> None:
        self._free, self._holders, self._lock = free, 1, threading.Lock()

    def hold(self) -> None:
        """One more holder."""
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        """One holder less."""
        with self._lock:
            self._holders -= 1
            last = self._holders == 0
        if last:
            self._free()


class Job:
    """What a thread computes, and asks between two images whether it shall go on."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.started = False
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Have `check` raise an error from now on."""
        self._stopped.set()

    def check(self) -> None:
        """Go on, or not.

        Raises:
            Gone: nobody waits for the answer any longer.
        """
        if self._stopped.is_set() or time.monotonic() > self.deadline:
            raise Gone


class Jobs:
    """All requests in work.

    Args:
        limits: of their number and time.

    Attributes:
        taken: slots in use.
        running: of these, those that are computed.
        stopping: no further one is accepted.
        computed: jobs that were computed.
        seconds: that they took in total.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.taken = self.running = self.computed = 0
        self.seconds = 0.0
        self.stopping = False
        self._refused: deque[float] = deque()
        self._chance = random.random
        self._lock = threading.Lock()
        self._pending: set[Future[Any]] = set()
        self._threads = ThreadPoolExecutor(limits.workers, thread_name_prefix="coseg-serve")

    @property
    def slots(self) -> int:
        """Requests at once, at most."""
        return self.limits.workers + self.limits.waiting

    def take(self) -> Slot:
        """A slot for a request.

        Where requests were refused a moment ago, slots that become free are given by chance: otherwise clients that ask
        again as soon as they are answered would have them all, and those that have to wait none.

        Raises:
            Refused: all are taken, or this one has to wait, or the service is stopping.
        """
        with self._lock:
            if self.stopping:
                raise _stopping()
            if self.taken >= self.slots or self._is_unlucky():
                self._refused.append(time.monotonic())
                raise Refused(
                    503,
                    f"The service is busy with {self.taken} requests of {self.slots} at most: try again in a moment.",
                    self._retry_after(),
                )
            self.taken += 1
        return Slot(self._free)

    async def run(
        self, slot: Slot, work: Callable[[Job], Answer], closed: Coroutine[Any, Any, None], done: Callable[[], None]
    ) -> Answer:
        """Compute in a thread, in the order of the calls.

        Args:
            slot: of the request, held as long as the thread computes.
            work: is called in the thread.
            closed: returns when the client has closed the connection.
            done: is called in any case, when nothing is computed any longer.

        Raises:
            Refused: it takes too long, or the service is stopping.
            Gone: the client closed the connection.
        """
        job = Job(time.monotonic() + self.limits.seconds)
        slot.hold()
        try:
            future = self._threads.submit(self._compute, job, work)
        except RuntimeError:  # the threads are shut down
            closed.close()
            done()
            slot.release()
            raise _stopping() from None

        def finish(ended: Future[Answer]) -> None:
            self._pending.discard(ended)
            done()
            slot.release()

        self._pending.add(future)
        future.add_done_callback(finish)
        answer = asyncio.wrap_future(future)
        leaving = asyncio.create_task(closed)
        try:
            futures: set[asyncio.Future[Any]] = {answer, leaving}
            await asyncio.wait(futures, timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if answer.cancelled():
                raise _stopping()
            if answer.done() and not isinstance(answer.exception(), Gone):
                return answer.result()
            raise Gone if leaving.done() else self._late(job)
        finally:
            job.stop()
            leaving.cancel()
            answer.cancel()

    def stop(self) -> None:
        """Refuse what comes and what waits; what is computed is finished."""
        with self._lock:
            self.stopping = True
        for future in tuple(self._pending):
            future.cancel()
        self._threads.shutdown(wait=False)

    def _compute(self, job: Job, work: Callable[[Job], Answer]) -> Answer:
        job.check()
        began = time.monotonic()
        with self._lock:
            job.started = True
            self.running += 1
        try:
            return work(job)
        finally:
            with self._lock:
                self.running -= 1
                self.computed += 1
                self.seconds += time.monotonic() - began

    def _late(self, job: Job) -> Refused:
        limit = self.limits.seconds
        if job.started:
            return Refused(
                504, f"This request takes more than {limit} seconds to compute: send fewer or smaller images."
            )
        with self._lock:
            return Refused(503, f"The request waited for {limit} seconds: try again later.", self._retry_after())

    def _retry_after(self) -> int:
        """Seconds until a slot is free, by the mean of the jobs so far."""
        mean = self.seconds / self.computed if self.computed else 1.0
        waiting = max(1, self.taken - self.limits.workers)
        return min(max(1, math.ceil(mean * waiting / self.limits.workers / 2)), self.limits.seconds)

    def _is_unlucky(self) -> bool:
        """Whether a request leaves a free slot to one that was refused and is about to come back."""
        before = time.monotonic() - self._retry_after()
        while self._refused and self._refused[0] < before:
            self._refused.popleft()
        absent = len(self._refused)
        return self.taken > self.slots // 2 and self._chance() * (self.slots + absent) < absent

    def _free(self) -> None:
        with self._lock:
            self.taken -= 1


def _stopping() -> Refused:
    return Refused(503, "The service is stopping: try again in a moment, or at another one.", 5)
