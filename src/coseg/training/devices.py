"""Devices, precision and processes: what is asked for, what the machine has, and how processes of a training meet.

All of it is checked before data are read or processes are started.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch

from coseg.errors import CosegError

PROCESSES_PER_CORE = 4
"""Processes on the CPU for each core, at most: each holds the network and a share of the batch."""

MIN_PROCESSES = 8
"""Processes that any machine may start, to try out a training on several."""

LAUNCHER_VARIABLES = (
    "TORCHELASTIC_RUN_ID",  # torchrun
    "SLURM_NTASKS",  # srun
    "JSM_NAMESPACE_SIZE",  # jsrun
    "OMPI_COMM_WORLD_SIZE",  # mpirun
    "PMI_SIZE",
    "NODE_RANK",  # by hand, with MASTER_ADDR
    "GROUP_RANK",
)
"""Environment variables that a launcher sets: something that starts a process on each machine."""

AUTO = "auto"
"""The setting of the precision that leaves it to the machine."""

FLOAT32, BFLOAT16 = "32-true", "bf16-mixed"
"""Lightning's names."""

MEETING_SECONDS = 600.0
"""How long processes wait for each other: one may read its data from a slower disk."""

REPORT_SECONDS = 30.0
"""How long a process that has failed tries to report it to the others, which may not have begun."""

OpenStore = Callable[[float], Any]
"""Connects to a store of torch's within so many seconds, or raises an error."""

_POLL_SECONDS = 0.1


def device_of(name: str) -> torch.device:
    """The device `name`; ``auto`` is an NVIDIA GPU, Apple's, or the CPU, whichever is available.

    Raises:
        CosegError: it is not available.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise CosegError(f"The device '{name}' can't be used ({first}): choose auto, cpu, cuda or mps.") from None
    return device


def require_launcher(trainer: Mapping[str, Any]) -> None:
    """Refuse several machines where nothing starts this process on each: it would wait for ever.

    Args:
        trainer: the settings of `Trainer`. Those with ``plugins``, which may know the machines, pass.

    Raises:
        CosegError: ``num_nodes`` is above 1, and the environment is of no launcher.
    """
    nodes = trainer.get("num_nodes") or 1
    if nodes == 1 or trainer.get("plugins") or _is_launched():
        return
    raise CosegError(
        f"trainer.num_nodes={nodes}, but this process was started by itself, and would wait for ever for the other "
        f"machines. Start the command on each with a launcher: srun in a SLURM job of {nodes} nodes, or torchrun "
        f"--nnodes={nodes} --nproc-per-node=N --rdzv-backend=c10d --rdzv-endpoint=HOST:PORT. For one machine leave "
        "trainer.num_nodes out."
    )


def _is_launched() -> bool:
    return any(name in os.environ for name in LAUNCHER_VARIABLES)


def require_devices(trainer: Mapping[str, Any]) -> None:
    """Refuse devices that the machine lacks, and more processes on the CPU than it has any use for.

    Args:
        trainer: the settings of `Trainer`, whose ``devices`` have their type. Accelerators other than CPU and GPU are
            Lightning's to check.

    Raises:
        CosegError: a device does not exist, or there are too many processes.
    """
    accelerator = str(trainer.get("accelerator") or "auto")
    gpus = torch.cuda.device_count()
    if accelerator == "auto":
        accelerator = "cuda" if gpus else "cpu"  # coseg takes no other by itself
    devices = trainer.get("devices")
    if isinstance(devices, str) and "," not in devices and devices.strip().lstrip("-").isdecimal():
        devices = int(devices)  # as Lightning reads it
    elif isinstance(devices, str) and "," in devices:
        devices = [int(entry) for entry in devices.split(",") if entry.strip()]
    if accelerator == "cpu":
        _require_processes(devices)
    elif accelerator == "cuda" or (accelerator == "gpu" and not torch.backends.mps.is_available()):
        _require_gpus(devices, gpus)


def _require_processes(devices: Any) -> None:
    cores = os.cpu_count() or 1
    limit = max(MIN_PROCESSES, PROCESSES_PER_CORE * cores)
    if isinstance(devices, int) and not 1 <= devices <= limit:
        raise CosegError(
            f"trainer.devices={devices}, but on the CPU these are processes, from 1 to {limit} on this machine, which "
            f"has {cores} cores: give fewer, or use several machines."
        )
    if devices is not None and devices != "auto" and not isinstance(devices, int):
        raise CosegError(
            f"trainer.devices={_shortened(devices)}, but on the CPU it is the number of processes, from 1 to {limit}: "
            "a list means GPUs."
        )


def _require_gpus(devices: Any, gpus: int) -> None:
    if gpus == 1 and _is_launched():
        return  # a launcher may show each process its own GPU only
    available = f"this machine has {gpus} GPUs that can be used" if gpus else "no GPU can be used on this machine"
    if isinstance(devices, int):
        if devices > gpus:
            raise CosegError(
                f"trainer.devices={devices}, but {available}: "
                + (f"give 1 to {gpus}, or -1 for all." if gpus else "give trainer.accelerator=cpu.")
            )
    elif isinstance(devices, list | tuple):
        missing = [device for device in devices if device >= gpus]
        if missing:
            raise CosegError(
                f"trainer.devices={_shortened(devices)} names GPU {missing[0]}, but {available}"
                + (f", numbered from 0 to {gpus - 1}." if gpus else ": give trainer.accelerator=cpu.")
            )
        if len(set(devices)) < len(devices):
            raise CosegError(f"trainer.devices={_shortened(devices)} names a GPU twice: name each once.")


def _shortened(devices: Any) -> str:
    text = str(list(devices)) if isinstance(devices, list | tuple) else str(devices)
    return text if len(text) <= 60 else f"{text[:60]}…"


def native_precision(device: str) -> str:
    """bfloat16 where a device computes it, float32 where it would only be imitated, at more than twice the time.

    Args:
        device: ``cpu``, ``cuda`` or another of torch's device types, for which float32 is the answer.
    """
    if device == "cuda":
        return BFLOAT16 if torch.cuda.is_bf16_supported(including_emulation=False) else FLOAT32
    if device == "cpu":
        # Torch has no public functions for this; versions without these compute in float32.
        checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return BFLOAT16 if any(getattr(torch.cpu, name, bool)() for name in checks) else FLOAT32
    return FLOAT32


def chosen_precision(setting: object, accelerator: object) -> object:
    """The value of ``trainer.precision``, and for `AUTO` what suits ``trainer.accelerator``."""
    if setting != AUTO:
        return setting
    cuda = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return native_precision("cuda" if cuda else "cpu" if accelerator in ("auto", "cpu") else str(accelerator))


@contextmanager
def meeting(seconds: float = MEETING_SECONDS) -> Iterator[Callable[[], None]]:
    """Let the processes that ``torchrun`` started meet before they train: where one fails, the others end at once.

    Torch itself would have them wait for half an hour. They meet in the store of ``torchrun``. With other launchers
    nothing is done here: Lightning ends the processes that it started, and ``srun`` has ``--kill-on-bad-exit``.

    Within the context, call what it yields once this process is ready; the call returns when all are. An error that
    leaves the context before that is reported to the other processes.

    Raises:
        CosegError: another process has failed, or did not come in time.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield lambda: None
        return
    with meeting_in(_store, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), seconds) as meet:
        yield meet


@contextmanager
def meeting_in(open_store: OpenStore, rank: int, size: int, seconds: float) -> Iterator[Callable[[], None]]:
    """As `meeting`, in any store that all processes reach.

    Args:
        open_store: connects to it within so many seconds, each time to the same one.
        rank: of this process.
        size: how many processes there are.
        seconds: for which they wait for each other.

    Raises:
        CosegError: as `meeting`.
    """
    met = False

    def meet() -> None:
        nonlocal met
        _wait(rank, size, seconds, open_store)
        met = True

    try:
        yield meet
    except BaseException:
        if not met:
            with suppress(Exception):  # where the store has gone, the other processes have too
                open_store(min(seconds, REPORT_SECONDS)).set("failed", str(rank))
        raise


def _store(seconds: float) -> Any:
    from torch.distributed import PrefixStore, TCPStore

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=seconds))
    return PrefixStore(f"coseg/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _wait(rank: int, size: int, seconds: float, open_store: OpenStore = _store) -> None:
    end = time.monotonic() + seconds
    try:
        store = open_store(seconds)
        store.set(f"ready/{rank}", "")
        while not store.check([f"ready/{process}" for process in range(size)]):
            if store.check(["failed"]):
                failed = store.get("failed").decode()
                raise CosegError(
                    f"Another process of this job, rank {failed}, has failed, so this one ends as well: look at its "
                    "output."
                )
            if time.monotonic() > end:
                raise CosegError(
                    f"The {size} processes of this job can't reach each other: not all were ready within "
                    f"{seconds:.0f} seconds. See that all were started, and look at their output."
                )
            time.sleep(_POLL_SECONDS)
    except RuntimeError as error:  # torch's, where the store has gone
        reason = " ".join(str(error).split())[:160]
        raise CosegError(
            f"Another process of this job has ended ({reason}), so this one ends as well: look at its output."
        ) from error
