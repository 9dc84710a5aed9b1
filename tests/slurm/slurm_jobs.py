"""Jobs of a SLURM: submitted from a folder, waited for, and what they printed."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 500.0
UNFINISHED = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "PREEMPTED", "REQUEUED")


class Slurm:
    """Submits jobs from a folder, and waits for them."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self.folder = folder

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command that reaches the cluster, or is started by it."""
        return subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=SECONDS
        )

    def call(self, *words: str) -> str:
        """What a command prints that ends well."""
        ran = self.run(*words)
        assert ran.returncode == 0, (words, ran.stdout, ran.stderr)
        return ran.stdout

    def submit(self, line: str, *options: str) -> str:
        """The id of a job that runs a line of shell."""
        return self.submit_script(f"#!/bin/bash\n{line}\n", *options)

    def submit_script(self, text: str, *options: str) -> str:
        """The id of a job that runs a script; `options` come before those in it."""
        script = self.folder / "job.sh"
        script.write_text(text)
        return self.call("sbatch", "--parsable", "--open-mode=append", "--output=%j.out", *options, str(script)).strip()

    def state(self, job: str) -> str:
        return self.call("scontrol", "show", "job", job).partition("JobState=")[2].split()[0]

    def restarts(self, job: str) -> int:
        return int(self.call("scontrol", "show", "job", job).partition("Restarts=")[2].split()[0])

    def wait(self, job: str, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not ready():
            assert time.monotonic() < end, (self.state(job), self.output(job))
            time.sleep(0.2)

    def ended(self, job: str) -> str:
        """The state in which a job has ended."""
        self.wait(job, lambda: self.state(job) not in UNFINISHED)
        return self.state(job)

    def finish(self, job: str) -> str:
        """What a job printed, once it has ended well."""
        assert self.ended(job) == "COMPLETED", self.output(job)
        return self.output(job)

    def output(self, job: str) -> str:
        path = self.folder / f"{job}.out"
        return path.read_text() if path.exists() else ""


def command(name: str, *words: str) -> str:
    """A line of shell that runs one of coseg's commands."""
    return shlex.join([sys.executable, "-m", f"coseg.cli.{name}", *words])
