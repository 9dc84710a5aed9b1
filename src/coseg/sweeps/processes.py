"""Processes of a sweep: a command as a child process, locks between processes, and the reason that a failed job leaves.

The commands import this module when they start, so it must not import torch or Optuna.
"""

from __future__ import annotations

import fcntl
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

from coseg.errors import CosegError
from coseg.files.plain_data import read_json
from coseg.files.writing import json_text, write_text_atomically
from coseg.run_dir import FAILED
from coseg.signals import STOP_SIGNALS, handled

POLL = 0.5
"""Seconds between two checks of a child process."""


class ChildResult(NamedTuple):
    """How a child process ended.

    Attributes:
        code: its exit code; -n: signal n ended it.
        received: the first signal that this process received and passed on; None: it received none.
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
) -> ChildResult:
    """Run ``coseg-<command>`` as a child process and wait for its end.

    The first SIGINT, SIGTERM or SIGHUP that this process receives is passed on as SIGTERM, on which training writes a
    checkpoint and ends. Later ones are passed on as they are: on SIGINT training ends at once. The child is not in the
    process group of the terminal, so it receives no signal twice.

    Args:
        command: such as ``train``.
        overrides: its arguments.
        output: a file to which its output is appended; None: the output of this process.
        stop: called every `POLL` seconds; when it returns True, the child receives SIGTERM.
        keep: file descriptors that the child inherits.
        environment: variables that are set in addition to those of this process.
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
    return ChildResult(code, received[0] if received else None)


def program(command: str) -> list[str]:
    """The words that start a command with this Python, wherever its script is installed."""
    return [sys.executable, "-m", f"coseg.cli.{command}"]


def _wait(process: subprocess.Popen[bytes], stop: Callable[[], bool], received: Sequence[int]) -> int:
    """Wait for `process`, and return its exit code."""
    asked = False
    while (code := process.poll()) is None:
        if not asked and (received or stop()):
            process.send_signal(signal.SIGTERM)
            asked = True
        time.sleep(POLL)
    return code


@contextmanager
def _passed_on() -> Iterator[tuple[list[int], list[subprocess.Popen[bytes]]]]:
    """The signals received inside the block, and a list of processes to which all after the first are sent at once."""
    received: list[int] = []
    processes: list[subprocess.Popen[bytes]] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if received:
            for process in processes:
                process.send_signal(number)
        received.append(number)

    with handled(receive, (*STOP_SIGNALS, signal.SIGHUP)):
        yield received, processes


@contextmanager
def _output(path: Path | None) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        yield file


def try_lock(path: Path) -> int | None:
    """Lock the file at `path`, which any machine that shares the folder sees.

    A lock ends with the last process that holds it, however that process ends, so that no time limit is needed. A
    training inherits the lock of its trial, and keeps it when it outlives the process that started it.

    Returns:
        A file descriptor, which the caller closes; None while another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the lock of `try_lock` at `path`, and hold it inside the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Failure(NamedTuple):
    """Why a job failed.

    Attributes:
        code: the exit code that it would have as a single run: 2 for bad input, 1 for a defect of the program.
        error: a sentence, or the last line of a traceback.
        overrides: all overrides of the configuration.
    """

    code: int
    error: str
    overrides: list[str]


def write_failure(folder: Path, code: int, error: str, overrides: Sequence[str]) -> None:
    """Leave `FAILED` in the job's `folder`."""
    failure = Failure(code, error, list(overrides))
    write_text_atomically(folder / FAILED, json_text(failure._asdict()))


def read_failure(folder: Path) -> Failure | None:
    """Why the job in `folder` failed; None: it did not.

    Raises:
        CosegError: the file is damaged.
    """
    path = folder / FAILED
    advice = "remove it, or the job's folder"
    try:
        values = read_json(path, advice, verbatim=True)
        return Failure(int(values["code"]), str(values["error"]), [str(word) for word in values["overrides"]])
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise CosegError(f"{path} is damaged ({type(error).__name__}: {error}): {advice}.") from None
