"""How training and tests end early. Without torch, so that the commands start quickly."""

from __future__ import annotations

import re
import signal
from pathlib import Path


class Stopped(Exception):
    """A signal stopped training, which left a checkpoint to go on from, or a test, which left what it finished.

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
        found = re.search(rf"^{cls.__module__}\.{cls.__name__}: (\d+) (.+)", str(error), re.MULTILINE)
        return cls(Path(found[2]), int(found[1])) if found else None

    @property
    def sentence(self) -> str:
        """What to tell the user."""
        if self.path.suffix != ".ckpt":
            return f"Stopped; {self.path} holds what is finished. Go on with the same command."
        from coseg.overrides import quoted, shell_word

        run = str(self.path.parent.parent)
        value = run if re.fullmatch(r"[A-Za-z0-9_./+@%-]+", run) else quoted(run)
        return f"Stopped; {self.path} holds the state. Go on with: coseg-train {shell_word(f'resume={value}')}"
