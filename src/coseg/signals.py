"""Ctrl-C and SIGTERM: a request to stop, who takes it over, and how it reaches the processes that work for this one.

Without torch, so that the commands start quickly.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

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


class StopRequest:
    """Remembers the first stop signal, so that work ends where it can be resumed. A second Ctrl-C interrupts at once.

    Args:
        message: written to standard error when the signal comes.

    Attributes:
        number: of the signal; None: none came.
    """

    def __init__(self, message: str) -> None:
        self.message = f"\n{message}\n".encode()
        self.number: int | None = None
        self._handlers = SignalHandlers()

    def listen(self) -> None:
        """Take over the signals."""
        self._handlers.set(self._receive)

    def restore(self) -> None:
        """Give the signals back."""
        self._handlers.restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
        os.write(2, self.message)  # handlers of logging may hold a lock here


def stop_children() -> list[int]:
    """Send SIGTERM to the processes that `multiprocessing` started here; their ids."""
    children = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
    for child in children:
        os.kill(child, signal.SIGTERM)
    return children


def ignore_interrupt() -> None:
    """Ctrl-C reaches the workers of a process too, but it is for the main process, which needs their batches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
