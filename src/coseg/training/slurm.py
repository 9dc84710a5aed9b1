"""A SLURM job that is queued again: it goes on in its own run folder. Without torch.

SLURM starts the script of such a job once more, with the same job id. What it had is saved before, at the signal that
SLURM sends: SIGUSR1 ahead of the time limit (``#SBATCH --signal=USR1@300``), or SIGTERM when the job is preempted. A
job that ends within the grace time of its preemption counts as complete, so it has to ask for the queue itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

from coseg.run_dir import STUDY
from coseg.training.launched import SHELLS

SECONDS = 30.0
"""After which an answer of SLURM's commands is not waited for any more."""

ATTEMPTS = 3
"""To be queued again: the controller may be busy."""

PATIENCE = 20.0
"""Seconds that the other processes of a job wait, after they have saved, for it to be queued again."""

RANKS = ("SLURM_PROCID", "RANK", "LOCAL_RANK")
"""Environment variables of srun, torchrun and Lightning: 0 in the process that asks."""

SUBMITIT = "SUBMITIT_EXECUTOR"
"""Environment variable of the jobs of submitit, which has signals and a queue of its own."""


def job_id() -> str | None:
    """The id of the batch job that this process belongs to; None outside of one, or where a user types commands."""
    number = os.environ.get("SLURM_JOB_ID", "")
    interactive = os.environ.get("SLURM_JOB_NAME") in SHELLS
    return number if number.isascii() and number.isdecimal() and not interactive else None


def is_restarted() -> bool:
    """Whether SLURM has started this job before."""
    count = os.environ.get("SLURM_RESTART_COUNT", "")
    return job_id() is not None and count.isascii() and count.isdecimal() and int(count) > 0


def folder_name() -> str | None:
    """The name of a run of this job and this command, the same each time that the job is started; None outside of one.

    Commands of one job that are not alike have folders of their own.
    """
    number = job_id()
    if number is None:
        return None
    words = "\n".join(sys.argv[1:])
    return f"slurm-{number}-{hashlib.sha256(words.encode()).hexdigest()[:6]}"


def requeue(number: int) -> None:
    """Have SLURM queue this job again, if the signal `number` asks for it; called when the work is saved.

    One process of a job does it, and of a study not its trials. It is refused where the job was submitted with
    ``--no-requeue``, which standard error then tells.
    """
    job = job_id()
    if job is None or STUDY in os.environ or not _asks(number, job):
        return
    if any(os.environ.get(rank, "0") != "0" for rank in RANKS):
        if number != signal.SIGTERM:
            with suppress(ValueError):  # not in the main thread
                signal.signal(signal.SIGTERM, signal.SIG_DFL)  # it comes when the job is queued again: no need to wait
        time.sleep(PATIENCE)  # where this process ends first, srun --kill-on-bad-exit ends the one that asks
        return
    if SUBMITIT in os.environ and callable(signal.getsignal(signal.SIGUSR2)):
        signal.raise_signal(signal.SIGUSR2)  # submitit queues the job again, with what it keeps, and exits
        return
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(1)
        if _scontrol("requeue", _address(job)) is not None:
            print(f"SLURM has queued job {_address(job)} again: it goes on from there.", file=sys.stderr)
            return
    print(
        f"SLURM does not queue job {job} again (scontrol requeue {_address(job)} fails): submit it with --requeue.",
        file=sys.stderr,
    )


def _address(job: str) -> str:
    """What names this job alone: the id of an array's first task, by itself, stands for the whole array."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID", ""), os.environ.get("SLURM_ARRAY_TASK_ID", "")
    return f"{array}_{task}" if array.isdecimal() and task.isdecimal() else job


def _asks(number: int, job: str) -> bool:
    """Whether a signal means that the job is to be queued again; a user who cancels it does not want that."""
    return number in (signal.SIGUSR1, signal.SIGUSR2) or (number == signal.SIGTERM and _is_preempted(job))


def _is_preempted(job: str) -> bool:
    """Whether SLURM takes the job's resources away for another one."""
    shown = _scontrol("show", "job", _address(job)) or ""
    times = dict(re.findall(r"\b(PreemptTime|StartTime)=(\d\S*)", shown))  # as 2020-01-31T12:00:00
    return "PreemptTime" in times and times["PreemptTime"] >= times.get("StartTime", "")


def _scontrol(*words: str) -> str | None:
    """What ``scontrol`` prints; None where it fails, or is not there."""
    path = shutil.which("scontrol")
    if path is None:
        return None
    try:
        ran = subprocess.run(
            [path, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout if ran.returncode == 0 else None
