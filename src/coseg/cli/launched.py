"""The processes that ``torchrun`` or ``srun`` has started have to be those that the trainer counts on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from coseg.cli.ranks import this_job
from coseg.errors import CosegError

_STARTERS = ("ddp_spawn", "ddp_fork", "ddp_notebook")
"""How the strategies of Lightning are named that start processes within a process."""


def require_launched(trainer: Mapping[str, Any]) -> None:
    """Refuse a launcher's processes that the trainer does not count: each would take itself for the only one.

    All would then train by themselves and write the same files, or wait for others that nobody starts.

    Args:
        trainer: the settings of `Trainer`. Those with ``plugins``, which may know the processes, are let through.

    Raises:
        CosegError: the launcher started another number of processes, or each is to start more.
    """
    job = this_job()
    if job is None or trainer.get("plugins"):
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
        own, machines = (os.environ.get(name, "N") for name in names)
        raise CosegError(
            f"{launcher} has started {job.size} processes, but trainer.devices={trainer.get('devices')} and "
            f"trainer.num_nodes={nodes} make {devices * nodes}: set trainer.devices={own} (those of each machine), "
            f"+trainer.num_nodes={machines} and trainer.strategy=ddp."
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
