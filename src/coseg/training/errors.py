"""How training ends early. Without torch, so that the commands start quickly."""

from __future__ import annotations

import signal
from pathlib import Path


class Stopped(Exception):
    """Training was stopped by a signal and left a checkpoint to go on from.

    Attributes:
        path: the checkpoint.
        code: the exit code, 128 + the signal's number.
    """

    def __init__(self, path: Path, number: int = signal.SIGTERM) -> None:
        super().__init__(path, number)
        self.path = path
        self.code = 128 + number

    @property
    def sentence(self) -> str:
        """What to tell the user."""
        run = self.path.parent.parent
        return f"Stopped; {self.path} holds the state. Go on with: coseg-train resume={run}"
