"""How far long work is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TextIO

log = logging.getLogger(__name__)


class Progress:
    """Counts what is finished. A context manager, which takes the bar away.

    Args:
        what: the work, such as "Testing".
        total: how much there is.
        unit: what is counted, such as "pair".
        bar: draw a bar; None: where standard error is a terminal.
        quiet: show nothing.
        seconds: between two lines, where there is no bar.
        line: takes such a line.
        leave: the bar stays when it is closed.
    """

    def __init__(
        self,
        what: str,
        total: int,
        unit: str,
        bar: bool | None = None,
        quiet: bool = False,
        seconds: float = 30.0,
        line: Callable[[str], None] = log.info,
        leave: bool = True,
    ) -> None:
        self.what, self.total, self.done = what, total, 0
        self._seconds, self._quiet, self._line = seconds, quiet, line
        self._began = self._last = time.monotonic()
        self._bar = None
        if not quiet and (sys.stderr.isatty() if bar is None else bar):
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=what, unit=unit, leave=leave, dynamic_ncols=True)

    def add(self, count: int = 1) -> None:
        """So many more are finished."""
        self.reach(self.done + count)

    def reach(self, done: int, total: int | None = None) -> None:
        """`done` are finished, of `total`, where that has become known only now."""
        step, self.done = done - self.done, done
        self.total = self.total if total is None else total
        if self._bar is not None:
            self._bar.total = self.total
            self._bar.update(step)
            return
        now = time.monotonic()
        if not self._quiet and done and now - self._last >= self._seconds:
            self._last = now
            minutes = (now - self._began) / done * (self.total - done) / 60
            self._line(f"{self.what}: {done} of {self.total}, about {minutes:.0f} min left")

    def write(self, text: str, stream: TextIO) -> None:
        """Print a line without spoiling the bar."""
        if self._bar is not None:
            self._bar.write(text, file=stream)
        else:
            print(text, file=stream, flush=True)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
