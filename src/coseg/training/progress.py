"""How far a test is: a bar on a terminal, a line now and then in a file."""

from __future__ import annotations

import logging
import math
import time

from tqdm import tqdm

log = logging.getLogger(__name__)


class ScoreProgress:
    """Counts what one process of a test has scored.

    Args:
        total: how much there is for this process.
        unit: what is counted: ``pair`` or ``mask``.
        bar: draw a bar rather than log a line.
        quiet: show neither: one process of several tells it.
        seconds: between two lines.
    """

    def __init__(self, total: int, unit: str, bar: bool, quiet: bool = False, seconds: float = 30.0) -> None:
        self.total = total
        self.unit = unit
        self.seconds = math.inf if quiet else seconds
        self.done = 0
        self._began = self._last = time.monotonic()
        self._bar = tqdm(total=total, desc="Testing", unit=unit, dynamic_ncols=True) if bar and not quiet else None

    def add(self, count: int) -> None:
        """Tell that so many more were scored."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
            return
        now = time.monotonic()
        if now - self._last >= self.seconds:
            self._last = now
            left = (now - self._began) / self.done * (self.total - self.done)
            log.info(f"{self.unit} {self.done} of {self.total}, about {left / 60:.0f} min left")

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
