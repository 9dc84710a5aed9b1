"""Photographs that arrive one after the other: each is segmented once its file is complete."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from coseg.errors import CosegError
from coseg.inference.cosegmentation import Cosegmentation, Segment
from coseg.inference.encoded_images import Encoded
from coseg.inference.segmenter import CoSegmenter

PARTNERS = 30
"""The latest photographs with which a new one is segmented; and how many are segmented at once, at most."""

PATIENCE = 10.0
"""Seconds without a change after which a file that can't be read is no longer a copy that goes on."""


class _State(NamedTuple):
    size: int
    changed: int  # nanoseconds, of the file's clock


class Arrivals:
    """New photographs, segmented as a group with the latest before them.

    A file is complete when it is the same in two looks and can be decoded. One that can't is waited for while it
    changes and `PATIENCE` longer, and reported once; when it changes again, it is tried again.

    Args:
        segmenter: the network.
        listed: gives the files that are present now.
        problem: called with a sentence for each problem.
        known: files that are finished, in their order.
        clock: seconds.
    """

    def __init__(
        self,
        segmenter: CoSegmenter,
        listed: Callable[[], Iterable[Path]],
        problem: Callable[[str], None],
        known: Sequence[Path] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._segmenter = segmenter
        self._listed = listed
        self._problem = problem
        self._clock = clock
        self._known = {os.path.realpath(path) for path in known}
        self._seen: dict[Path, tuple[_State, float]] = {}
        self._broken: dict[Path, _State | None] = {}
        self._waiting: list[tuple[Path, Encoded]] = []
        self._partners: deque[Encoded] = deque(maxlen=PARTNERS)
        for path in known[-PARTNERS:]:
            try:
                self._partners.append(segmenter.encode(path))
            except CosegError:  # it has been reported; perhaps it is a copy that goes on
                self._known.discard(os.path.realpath(path))
                self._broken[path] = _state(path)

    def look(self) -> list[tuple[Path, Segment]]:
        """The photographs that have become complete, with their segments; none where there is no other yet."""
        for path in self._complete():
            try:
                image = self._segmenter.encode(path)
            except CosegError as error:
                state, since = self._seen[path]
                if self._clock() - since >= PATIENCE:
                    self._broken[path] = state
                    self._problem(str(error))
                continue
            self._known.add(os.path.realpath(path))
            self._seen.pop(path, None)
            self._waiting.append((path, image))
        if not self._waiting or len(self._waiting) + len(self._partners) < 2:
            return []
        images = [image for _, image in self._waiting]
        result: Cosegmentation = self._segmenter.cosegment([*images, *self._partners])
        arrived = [(path, result[k]) for k, (path, _) in enumerate(self._waiting)]
        self._partners.extend(images)
        self._waiting = []
        return arrived

    def _complete(self) -> list[Path]:
        """New files that have not changed since the last look."""
        complete: list[Path] = []
        for path in self._listed():
            if os.path.realpath(path) in self._known:
                continue
            state = _state(path)
            if state is None:
                continue
            before = self._seen.get(path)
            if before is None or before[0] != state:
                self._seen[path] = state, self._clock()
            elif state.size and self._broken.get(path) != state and len(complete) < PARTNERS:
                complete.append(path)
        return complete


def _state(path: Path) -> _State | None:
    """What changes with a file; None: it has gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return _State(status.st_size, status.st_mtime_ns)
