"""How many devices a training asks for, and how many there are: told before data are read or processes started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from coseg.errors import CosegError
from coseg.training.nodes import STARTED

PROCESSES_PER_CORE = 4
"""Processes on the CPU for each core, at most: each holds the network and a share of the batch."""

LEAST = 8
"""Processes that any machine may start, for trials of several."""


def require_devices(trainer: Mapping[str, Any]) -> None:
    """Refuse devices that are not there, and more processes on the CPU than it has any use for.

    Args:
        trainer: the settings of `Trainer`, whose ``devices`` have their type. Accelerators other than CPU and GPU are
            Lightning's to check.

    Raises:
        CosegError: a device is not there, or there are too many processes.
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
    most = max(LEAST, PROCESSES_PER_CORE * cores)
    if isinstance(devices, int) and not 1 <= devices <= most:
        raise CosegError(
            f"trainer.devices={devices}, but on the CPU these are processes, from 1 to {most} on this machine, which "
            f"has {cores} cores: give fewer, and take more machines for more."
        )
    if devices is not None and devices != "auto" and not isinstance(devices, int):
        raise CosegError(
            f"trainer.devices={_shown(devices)}, but on the CPU it is the number of processes, from 1 to {most}: a "
            "list means GPUs."
        )


def _require_gpus(devices: Any, gpus: int) -> None:
    if gpus == 1 and any(name in os.environ for name in STARTED):
        return  # a launcher may show each process its own GPU only
    there = f"this machine has {gpus} GPUs that can be used" if gpus else "no GPU can be used on this machine"
    if isinstance(devices, int):
        if devices > gpus:
            raise CosegError(
                f"trainer.devices={devices}, but {there}: "
                + (f"give 1 to {gpus}, or -1 for all." if gpus else "give trainer.accelerator=cpu.")
            )
    elif isinstance(devices, list | tuple):
        wrong = [entry for entry in devices if entry >= gpus]
        if wrong:
            raise CosegError(
                f"trainer.devices={_shown(devices)} names GPU {wrong[0]}, but {there}"
                + (f", numbered from 0 to {gpus - 1}." if gpus else ": give trainer.accelerator=cpu.")
            )
        if len(set(devices)) < len(devices):
            raise CosegError(f"trainer.devices={_shown(devices)} names a GPU twice: name each once.")


def _shown(devices: Any) -> str:
    text = str(list(devices)) if isinstance(devices, list | tuple) else str(devices)
    return text if len(text) <= 60 else f"{text[:60]}…"
