"""Ctrl-C, SIGTERM and the like: a request to stop, who takes it over, and how it reaches the processes of this one.

Without torch, so that the commands start quickly.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker, util
from pathlib import Path
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""The last two are what SLURM sends ahead of a time limit: with ``--signal=USR1@300``, and with submitit."""

Handler = Callable[[int, FrameType | None], None]


class Stopped(Exception):
    """A signal stopped training, which left a checkpoint to resume from, or a test, which left what it finished.

    Attributes:
        path: the checkpoint, or the folder of what is finished.
        code: the exit code, 128 + the signal's number.
    """

    def __init__(self, path: Path, number: int = signal.SIGTERM) -> None:
        super().__init__(path, number)
        self.path = path
        self.code = 128 + number

    def __str__(self) -> str:
        return f"{self.code - 128} {self.path}"

    @classmethod
    def find(cls, error: BaseException) -> Stopped | None:
        """`error` where it is one, or the one that a spawned process handed over as the text of its traceback."""
        if isinstance(error, cls):
            return error
        match = re.search(rf"^{cls.__module__}\.{cls.__name__}: (\d+) (.+)", str(error), re.MULTILINE)
        return cls(Path(match[2]), int(match[1])) if match else None


class StopSignal(KeyboardInterrupt):
    """A stop signal that ends work at once, as Ctrl-C does: what is finished is on disk, the rest has to be repeated.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class SignalHandlers:
    """Handlers that a process sets for a while, and gives back."""

    def __init__(self) -> None:
        self._previous: dict[int, Any] = {}

    def set(self, handler: Handler, numbers: Sequence[int] = STOP_SIGNALS) -> None:
        """Call `handler` on these signals. Outside the main thread, where none can be set, they keep their meaning."""
        with suppress(ValueError):
            for number in numbers:
                previous = signal.signal(number, handler)
                self._previous.setdefault(number, previous)

    def restore(self) -> None:
        """Give all of them back, as they were before the first `set`."""
        while self._previous:
            signal.signal(*self._previous.popitem())


@contextmanager
def handled(handler: Handler, numbers: Sequence[int] = STOP_SIGNALS) -> Iterator[None]:
    """Call `handler` on these signals, for as long as the context lasts."""
    handlers = SignalHandlers()
    handlers.set(handler, numbers)
    try:
        yield
    finally:
        handlers.restore()


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Inside the block SIGTERM, SIGUSR1 and SIGUSR2 raise `StopSignal`, once: SLURM repeats them while it ends."""
    numbers = [number for number in STOP_SIGNALS if number != signal.SIGINT]

    def stop(number: int, frame: FrameType | None) -> None:
        for ignored in numbers:
            signal.signal(ignored, signal.SIG_IGN)
        raise StopSignal(number)

    with handled(stop, numbers):
        yield


@contextmanager
def handlers_kept() -> Iterator[None]:
    """The handlers of stop signals are after the block what they were before, whatever has set others."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        with suppress(ValueError, TypeError):  # not in the main thread, or not one of Python's
            for number, handler in before.items():
                signal.signal(number, handler)


class StopRequest:
    """Remembers the first stop signal, so that work ends where it can be resumed. A second Ctrl-C interrupts at once.

    Args:
        message: written to standard error when the first signal comes.

    Attributes:
        number: of the signal; None: none came.
    """

    def __init__(self, message: str) -> None:
        self.message = f"\n{message}\n".encode()
        self.number: int | None = None
        self._handlers = SignalHandlers()

    def listen(self, quiet: bool = False) -> None:
        """Take over the signals; `quiet`: without the message, which another process writes."""
        if quiet:
            self.message = b""
        self._handlers.set(self._receive)

    def restore(self) -> None:
        """Give the signals back."""
        self._handlers.restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.number is None:
            self.number = number
            os.write(2, self.message)  # handlers of logging may hold a lock here


def stop_children(number: int = signal.SIGTERM) -> list[int]:
    """Send a signal to the processes that `multiprocessing` started here; their ids."""
    children = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, number)
    return children


def ignore_stop_signals() -> None:
    """In a worker: a signal to the whole process group is for its main process, which needs the worker's batches."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # see `workers_started`


@contextmanager
def workers_started() -> Iterator[None]:
    """Inside the block this process starts workers that call `ignore_stop_signals`, and are killed when it exits.

    Stop signals wait until the block ends, in the workers until they ignore them: none is lost, or ends a worker that
    has only begun. The workers end by themselves when this process dies; when it exits, `multiprocessing` would wait
    for those that are left after SIGTERM, which they ignore.
    """
    resource_tracker.ensure_running()  # started within the block, it would let the signals through
    _kill_at_exit()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_exits: dict[int, util.Finalize] = {}
"""By the process, since a forked one has those of its parent."""


def _kill_at_exit() -> None:
    if os.getpid() not in _exits:
        _exits[os.getpid()] = util.Finalize(None, _kill_workers, exitpriority=0)


def _kill_workers() -> None:
    """Kill the processes of `multiprocessing` that are not to outlive this one."""
    workers = [child for child in multiprocessing.active_children() if child.daemon]
    if workers:
        with suppress(ValueError):  # outside the main thread
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch raises an error when a worker is killed
    for worker in workers:
        worker.kill()
