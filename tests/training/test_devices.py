"""Devices that are not there are refused before data are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coseg.errors import CosegError
from coseg.training import fit as fit_module
from coseg.training.devices import require_devices
from coseg.training.nodes import STARTED


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """``machine(gpus)``: how many GPUs there are; none at first. Nothing has started this process."""
    for name in STARTED:
        monkeypatch.delenv(name, raising=False)

    def have(gpus: int) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    have(0)
    return have


@pytest.mark.parametrize("value", ["99999", "0", "-5", "x", "[0,1]", "[99]", "-1", "2.5", "99999999999999999999"])
@pytest.mark.parametrize("name", ["train", "check", "test"])
def test_commands_refuse_devices_at_once(
    name: str,
    value: str,
    command: Callable[..., tuple[int, str, str]],
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("data were read")

    monkeypatch.setattr(fit_module, "make_datamodule", read)
    monkeypatch.setattr("coseg.training.score.make_datamodule", read)
    words = {
        "train": ["runs=runs"],
        "check": ["runs=runs", "check=true"],
        "test": [f"ckpt={trained}/checkpoints/best.ckpt"],
    }[name]
    if name == "check":
        monkeypatch.setattr("coseg.training.check.make_datamodule", read)
    code, _, err = command(
        "test" if name == "test" else "train", "trainer.accelerator=cpu", f"trainer.devices={value}", *words
    )
    assert code == 2 and "trainer.devices" in err and "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_processes_are_some_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    for good in (1, 12, "12", "auto", None):
        require_devices({"accelerator": "cpu", "devices": good})
    require_devices({})
    for bad in (13, "13", -1, "-1", "0,1", [0]):
        for accelerator in ("cpu", "auto"):
            with pytest.raises(CosegError, match="from 1 to 12"):
                require_devices({"accelerator": accelerator, "devices": bad})
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    require_devices({"accelerator": "cpu", "devices": 8})


@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda"])
def test_gpus_are_those_that_are_there(accelerator: str, machine: Callable[[int], None]) -> None:
    machine(2)
    for good in (1, 2, -1, "auto", "2", "0,1", "1,", [1], [0, 1], None):
        require_devices({"accelerator": accelerator, "devices": good})
    for bad in (3, "99999", [2], "0,2", [1, 1]):
        with pytest.raises(CosegError, match=r"2 GPUs|twice"):
            require_devices({"accelerator": accelerator, "devices": bad})


def test_a_machine_without_gpus_has_none(machine: Callable[[int], None]) -> None:
    for bad in (1, 99999, [0]):
        with pytest.raises(CosegError, match="accelerator=cpu"):
            require_devices({"accelerator": "gpu", "devices": bad})


def test_a_launcher_may_show_each_process_one(machine: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    machine(1)
    with pytest.raises(CosegError):
        require_devices({"accelerator": "gpu", "devices": 4})
    monkeypatch.setenv("SLURM_NTASKS", "4")
    require_devices({"accelerator": "gpu", "devices": 4})
