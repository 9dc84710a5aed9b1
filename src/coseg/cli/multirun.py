"""What happens around the jobs of ``-m``, in whatever processes Hydra's launcher runs them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from coseg.files import write_text_atomically
from coseg.sweeps.failed import FILE, read_failure

_STOP = ".stopped"
"""In the sweep's folder: a signal came, so no further job begins."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Multirun(Callback):
    """A part of Hydra: passes signals on to jobs in processes of their own, and tells how the jobs ended.

    Attributes:
        codes: of the failed jobs, the exit code that each would have had alone.
        stopped: 128 + the number of the signal that ended the sweep; 0: none did.
    """

    codes: ClassVar[list[int]] = []
    stopped: ClassVar[int] = 0

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Forget what an earlier sweep in the same folder left."""
        folder = Path(config.hydra.sweep.dir)
        for path in (*(job / FILE for job in _jobs(folder)), folder / _STOP):
            path.unlink(missing_ok=True)
        if is_parallel(config.hydra):
            self._before = {number: signal.signal(number, self._pass_on) for number in _SIGNALS}

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Collect the codes."""
        while self._before:
            signal.signal(*self._before.popitem())
        folder = Path(config.hydra.sweep.dir)
        for job in _jobs(folder):
            if (failure := read_failure(job)) is not None:
                self.codes.append(failure.code)
            with suppress(OSError):  # one that did not begin, or left nothing: Hydra makes its folder before
                job.rmdir()
        Multirun.stopped = found_stop(folder)
        (folder / _STOP).unlink(missing_ok=True)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """Have the jobs on this machine stop after their step, and wait; a second Ctrl-C ends everything at once."""
        children = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
        if not children:  # jobs on a cluster are not ours to stop
            raise SystemExit(128 + number)
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)
        for child in children:
            os.kill(child, signal.SIGTERM)

    def __getstate__(self) -> dict[str, Any]:
        """A launcher sends it to the processes of the jobs, where there are no signals to give back."""
        return {"_before": {}}


def _jobs(folder: Path) -> list[Path]:
    """The folders of jobs in that of a sweep; none, where it is not there yet."""
    return [path for path in folder.glob("*/") if path.name.isdecimal()]


def is_parallel(hydra: Any) -> bool:
    """Whether the launcher runs jobs in processes of their own."""
    return not str(hydra.launcher.get("_target_", "")).endswith(".BasicLauncher")


def leave_stop(folder: Path, code: int) -> None:
    """Have no further job of the sweep in `folder` begin."""
    write_text_atomically(folder / _STOP, str(code))


def found_stop(folder: Path) -> int:
    """What `leave_stop` said; 0: nothing."""
    path = folder / _STOP
    return int(path.read_text()) if path.is_file() else 0
