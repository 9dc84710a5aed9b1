"""A command of coseg as a process of its own, which gets the signals that come here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, NamedTuple

POLL = 0.5
"""Seconds between two looks at the process."""


class Ended(NamedTuple):
    """How a process ended.

    Attributes:
        code: its exit code; -n: killed by signal n.
        received: the signal that came here and was passed on; None: none did.
    """

    code: int
    received: int | None


def run_child(
    command: str,
    overrides: Sequence[str],
    output: Path | None = None,
    stop: Callable[[], bool] | None = None,
    keep: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run ``coseg-<command>`` and wait for its end.

    SIGINT, SIGTERM and SIGHUP are passed on as SIGTERM, on which training leaves a checkpoint; a further SIGINT as it
    is, on which it leaves at once. The process does not get those of the terminal besides.

    Args:
        command: such as ``train``.
        overrides: its arguments.
        output: the file to whose end it writes; None: where this process writes.
        stop: is called every `POLL` seconds; once it says True, the process gets SIGTERM.
        keep: file descriptors that it inherits.
        environment: variables that are set besides.
    """
    words = [*program(command), *overrides]
    variables = {**os.environ, **(environment or {})}
    with _output(output) as file, _passed_on() as (received, processes):
        process = subprocess.Popen(
            words, stdout=file, stderr=file, stdin=subprocess.DEVNULL, pass_fds=keep, env=variables,
            start_new_session=True,
        )  # fmt: skip
        processes.append(process)
        try:
            code = _wait(process, stop if stop is not None else lambda: False, received)
        except BaseException:
            process.terminate()
            raise
    return Ended(code, received[0] if received else None)


def program(command: str) -> list[str]:
    """What starts a command with this Python, wherever its script is installed."""
    return [sys.executable, "-m", f"coseg.cli.{command}"]


def _wait(process: subprocess.Popen[bytes], stop: Callable[[], bool], received: Sequence[int]) -> int:
    """The exit code of `process`."""
    asked = False
    while (code := process.poll()) is None:
        if not asked and (received or stop()):
            process.send_signal(signal.SIGTERM)
            asked = True
        time.sleep(POLL)
    return code


@contextmanager
def _passed_on() -> Iterator[tuple[list[int], list[subprocess.Popen[bytes]]]]:
    """The signals that came, in a list that grows; those after the first go to the processes at once."""
    received: list[int] = []
    processes: list[subprocess.Popen[bytes]] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if received:
            for process in processes:
                process.send_signal(number)
        received.append(number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield received, processes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _output(path: Path | None) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        yield file
