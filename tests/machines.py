"""Commands on several machines, all of them here: what ``torchrun`` starts, one process on each."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SECONDS = 240
APART = 1.5
"""Seconds from the start of one machine to that of the next: the clock shows another second."""


class Ended(NamedTuple):
    """What a launcher printed.

    Attributes:
        text: its output.
        code: of the process that it started, which it tells, where it failed itself; its own where it was killed.
    """

    text: str
    code: int


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def wait_for(what: Callable[[], object], launchers: list[subprocess.Popen[bytes]]) -> None:
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end and all(launcher.poll() is None for launcher in launchers)
        time.sleep(0.02)


def torchrun(
    folder: Path,
    machines: int,
    *words: str,
    meanwhile: Callable[[list[subprocess.Popen[bytes]]], None] | None = None,
    last: tuple[str, ...] = (),
    command: str = "train",
) -> list[Ended]:
    """Run a command as that many machines of one process each would, all of them here, started one after the other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launchers, logs = [], [folder / f"machine{k}.txt" for k in range(machines)]
    try:
        for k, log in enumerate(logs):
            start = (
                *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={machines}", "--nproc-per-node=1"),
                *(f"--node-rank={k}", "--master-addr=127.0.0.1", f"--master-port={port}", "-m", f"coseg.cli.{command}"),
            )
            with log.open("wb") as file:
                launchers.append(
                    subprocess.Popen(
                        (*start, *words, *(last if k == machines - 1 else ())),
                        cwd=folder,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        env=os.environ | {"OMP_NUM_THREADS": "1"},
                    )
                )
            time.sleep(APART)
        if meanwhile is not None:
            meanwhile(launchers)
        end = time.monotonic() + SECONDS
        codes = [launcher.wait(max(1.0, end - time.monotonic())) for launcher in launchers]
    finally:
        for launcher in launchers:
            for pid in (*children(launcher.pid), launcher.pid):
                if launcher.poll() is None:
                    os.kill(pid, signal.SIGKILL)
    ended = []
    for code, log in zip(codes, logs, strict=True):
        text = log.read_text(errors="replace")
        told = re.findall(r"exitcode *: (-?\d+)", text)
        assert code < 0 or bool(told) == bool(code), text
        ended.append(Ended(text, int(told[-1]) if told else code))
    return ended
