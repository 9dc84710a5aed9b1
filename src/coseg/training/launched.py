"""The processes that ``torchrun`` or ``srun`` started: one run folder for all, as many as the trainer counts on."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from coseg.errors import CosegError
from coseg.files.writing import write_text_atomically

FOLDER = ".jobs"
"""Under ``runs``: there while the processes of a job look for each other."""

SECONDS = 120.0
"""For which they wait for each other."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Master addresses that each machine has: all processes of the job are on this one."""

SHELLS = ("bash", "interactive")
"""Names of SLURM's jobs in which a user types commands: one process, however many tasks were reserved. So Lightning,
also for what ``srun`` starts in such a job."""

RESERVED_STEPS = 0xFFFFFFF0
"""From here on SLURM numbers what is no step of ``srun``: the script of a job, the shell of ``salloc``."""

_PAUSE = 0.05


class Job(NamedTuple):
    """What a launcher says of this process.

    Attributes:
        rank: 0 for the process that writes.
        size: processes of the job.
        key: the same for all of them, and for few other jobs.
    """

    rank: int
    size: int
    key: str


def this_job() -> Job | None:
    """The job of several processes that this one belongs to, by the variables of ``torchrun`` and ``srun``.

    None: there is one process alone, or Lightning starts the others.
    """
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        rank, size = environment.get("RANK", ""), environment.get("WORLD_SIZE", "")
        names: tuple[str, ...] = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")
    elif _is_step() and not _is_typed():
        rank, size = environment.get("SLURM_PROCID", ""), environment.get("SLURM_NTASKS", "")
        names = ("SLURM_JOB_ID", "SLURM_STEP_ID")
    else:
        return None
    if not (rank.isdecimal() and size.isdecimal()) or int(size) < 2:
        return None
    values = [environment.get(name, "") for name in names]
    if environment.get("MASTER_ADDR", "") in LOOPBACK:  # two machines may each run a job of its own, all else equal
        values.append(socket.gethostname())
    text = "\n".join(values)
    return Job(int(rank), int(size), hashlib.sha256(text.encode()).hexdigest()[:16])


def _is_step() -> bool:
    """Whether ``srun`` has started this, and not the shell of ``salloc``, which is a step, too, on many clusters."""
    step = os.environ.get("SLURM_STEP_ID", "")
    return step.isdecimal() and int(step) < RESERVED_STEPS


def _is_typed() -> bool:
    """Whether this is a command in a user's shell in a SLURM job, and not of a task that ``srun`` started there."""
    environment = os.environ
    if environment.get("SLURM_JOB_NAME") not in SHELLS or environment.get("SLURM_TASK_PID") == str(os.getpid()):
        return False
    try:
        os.close(os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY))
    except (OSError, AttributeError):  # a script of srun's has no terminal; srun bash gives its job that name, too
        return False
    return True


def tell_folder(job: Job, runs: Path, folder: Path, seconds: float = SECONDS) -> None:
    """Answer each of the other ranks, once all have asked or have their answer.

    Raises:
        CosegError: one did not ask in time.
    """
    place = runs / FOLDER
    waiting = set(range(1, job.size))
    asked: dict[int, str] = {}
    end = time.monotonic() + seconds
    try:
        while waiting:
            for rank in sorted(waiting):
                number = _read(_question(place, job, rank))
                if isinstance(number, str) and asked.get(rank) != number:
                    asked[rank] = number
                    write_text_atomically(_answer(place, job, rank), json.dumps([number, str(folder)]))
                elif number is None and rank in asked:  # it has taken its answer
                    waiting.remove(rank)
            if waiting and time.monotonic() > end:
                raise CosegError(
                    f"Of the {job.size} processes of this job, {len(waiting)} did not come to {runs} within "
                    f"{seconds:.0f} seconds (rank {min(waiting)}, say): look at what they print, and see that all of "
                    "them see that folder."
                )
            time.sleep(_PAUSE if waiting else 0)
    finally:
        for rank in range(1, job.size):
            _answer(place, job, rank).unlink(missing_ok=True)
        with suppress(OSError):  # another job is about to start
            place.rmdir()


def ask_folder(job: Job, runs: Path, seconds: float = SECONDS) -> Path:
    """The run folder that rank 0 has chosen and made.

    Raises:
        CosegError: no answer came in time.
    """
    place, number = runs / FOLDER, secrets.token_hex(8)
    question = _question(place, job, job.rank)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            if _read(question) != number:  # not there yet, or that of an earlier job
                write_text_atomically(question, json.dumps(number))
            answer = _read(_answer(place, job, job.rank))
            if isinstance(answer, list) and len(answer) == 2 and answer[0] == number:
                return Path(str(answer[1]))
            time.sleep(_PAUSE)
    finally:
        question.unlink(missing_ok=True)
    raise CosegError(
        f"Rank 0 of this job did not tell its run folder within {seconds:.0f} seconds: look at what it prints, and see "
        f"that all processes see {runs}."
    )


def _question(place: Path, job: Job, rank: int) -> Path:
    return place / f"{job.key}-{rank}-asks"


def _answer(place: Path, job: Job, rank: int) -> Path:
    return place / f"{job.key}-{rank}-answer"


def _read(path: Path) -> Any:
    """What a file of ours holds; None where there is none, or it is none of ours."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


_STARTERS = ("ddp_spawn", "ddp_fork", "ddp_notebook")
"""How the strategies of Lightning are named that start processes within a process."""


def require_launched(trainer: Mapping[str, Any]) -> None:
    """Refuse a launcher's processes that the trainer does not count: each would take itself for the only one.

    All would then train by themselves and write the same files, or wait for others that nobody starts.

    Args:
        trainer: the settings of `Trainer`. Those with ``plugins``, which may know the processes, are let through.

    Raises:
        CosegError: the launcher started another number of processes, or each is to start more; the tasks of a SLURM
            job are not those of each node, or were not started by ``srun``.
    """
    if trainer.get("plugins"):
        return
    _require_tasks()
    job = this_job()
    if job is None:
        return
    torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    launcher = "torchrun" if torchrun else "srun"
    strategy = trainer.get("strategy")
    method = strategy.get("start_method", "popen") if isinstance(strategy, Mapping) else "popen"
    if method != "popen" or str(strategy).startswith(_STARTERS):
        raise CosegError(
            f"{launcher} has started {job.size} processes, and trainer.strategy would have each of them start more: "
            "set trainer.strategy=ddp."
        )
    devices, nodes = _count(trainer), trainer.get("num_nodes") or 1
    if devices is not None and devices * nodes != job.size:
        names = ("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE") if torchrun else ("SLURM_NTASKS_PER_NODE", "SLURM_NNODES")
        devices_each, machines = (os.environ.get(name, "N") for name in names)
        raise CosegError(
            f"{launcher} has started {job.size} processes, but trainer.devices={trainer.get('devices')} and "
            f"trainer.num_nodes={nodes} make {devices * nodes}: set trainer.devices={devices_each} (those of each "
            f"machine), +trainer.num_nodes={machines} and trainer.strategy=ddp."
        )


def _require_tasks() -> None:
    """Refuse what Lightning, by SLURM's variables, takes for one of several processes where it is none.

    Raises:
        CosegError: see `require_launched`.
    """
    tasks = os.environ.get("SLURM_NTASKS", "")
    if not tasks.isdecimal() or int(tasks) < 2 or "TORCHELASTIC_RUN_ID" in os.environ:
        return
    name = os.environ.get("SLURM_JOB_NAME")
    if name in SHELLS and (not _is_step() or _is_typed()):
        return
    if name in SHELLS:
        raise CosegError(
            f"srun has started {tasks} tasks in a SLURM job called '{name}', where Lightning takes each for the only "
            "one: name them, srun --job-name=coseg."
        )
    if not _is_step():
        raise CosegError(
            f"This SLURM job has {tasks} tasks, but the command was started once: put srun before it (with "
            "trainer.strategy=ddp), or submit the job with --ntasks=1."
        )
    if "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise CosegError(
            f"This SLURM job was given --ntasks={tasks}, which does not say how many are on each node: give "
            "--ntasks-per-node=N (and --nodes) in its place."
        )


def _count(trainer: Mapping[str, Any]) -> int | None:
    """The processes on this machine that ``trainer.devices`` stands for; None where that is not to be seen here."""
    devices = trainer.get("devices")
    if isinstance(devices, str) and "," in devices:
        return len([word for word in devices.split(",") if word.strip()])
    if devices in (None, "auto", -1, "-1"):
        if trainer.get("accelerator") not in (None, "auto", "cpu", "gpu", "cuda"):
            return None
        import torch

        gpus = torch.cuda.device_count() if trainer.get("accelerator") != "cpu" else 0
        return gpus or (1 if devices in (None, "auto") else None)
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        return len(devices)
    text = str(devices).strip()
    return int(text) if text.isascii() and text.isdecimal() else None  # all else is refused elsewhere
