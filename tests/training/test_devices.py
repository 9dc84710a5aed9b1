"""Devices, precision, launchers, and processes that meet before they train."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch.distributed import TCPStore

from coseg.errors import CosegError
from coseg.training import fit as fit_module
from coseg.training.devices import (
    LAUNCHER_VARIABLES,
    _wait,
    chosen_precision,
    device_of,
    meeting,
    native_precision,
    require_devices,
    require_launcher,
)
from coseg.training.fit import make_trainer


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """``machine(gpus)``: how many GPUs there are; none at first. Nothing has started this process."""
    for name in LAUNCHER_VARIABLES:
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

    monkeypatch.setattr("coseg.evaluation.score.make_datamodule", read)  # first: its import takes that of `fit`
    words = {
        "train": ["runs=runs"],
        "check": ["runs=runs", "check=true"],
        "test": [f"ckpt={trained}/checkpoints/best.ckpt"],
    }[name]
    if name == "check":
        monkeypatch.setattr("coseg.training.check.make_datamodule", read)
    monkeypatch.setattr(fit_module, "make_datamodule", read)
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
            with pytest.raises(CosegError, match=r"\b1\b.*\b12\b"):
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


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has started this process."""
    for name in LAUNCHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_several_machines_need_a_launcher(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, err = command("train", "+trainer.num_nodes=2", "runs=runs")
    assert code == 2
    assert "torchrun" in err and "srun" in err and "num_nodes=2" in err and "Traceback" not in err
    assert not list(tmp_path.rglob("metrics.csv"))


@pytest.mark.parametrize("name", LAUNCHER_VARIABLES)
def test_a_launcher_is_known_by_its_variables(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_launcher({"num_nodes": 1})
    require_launcher({})
    with pytest.raises(CosegError, match="launcher"):
        require_launcher({"num_nodes": 2})
    monkeypatch.setenv(name, "1")
    require_launcher({"num_nodes": 2})


@pytest.mark.parametrize(
    ("amx", "avx", "expected"),
    [(True, False, "bf16-mixed"), (False, True, "bf16-mixed"), (False, False, "32-true"), (None, None, "32-true")],
)
def test_a_cpu_that_only_imitates_bfloat16_computes_in_float32(
    amx: bool | None, avx: bool | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, supported in (("_is_amx_tile_supported", amx), ("_is_avx512_bf16_supported", avx)):
        if supported is None:
            monkeypatch.delattr(torch.cpu, name, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, name, lambda supported=supported: supported, raising=False)
    assert native_precision("cpu") == expected
    assert chosen_precision("auto", "cpu") == expected
    assert chosen_precision("bf16-mixed", "cpu") == "bf16-mixed"


@pytest.mark.parametrize(("supported", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_is_asked_for_what_it_computes_itself(
    supported: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **words: asked.append(words) or supported)
    assert chosen_precision("auto", "auto") == chosen_precision("auto", "gpu") == expected
    assert asked == [{"including_emulation": False}] * 2
    assert chosen_precision("auto", "mps") == "32-true"


def test_the_trainer_gets_it(tiny: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    assert make_trainer(tiny("trainer.precision=auto"), [], False).precision == "32-true"
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert make_trainer(tiny("trainer.precision=auto"), [], False).precision == "bf16-mixed"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[TCPStore]:
    """That of a launcher whose job has two processes, of which this one is rank 1."""
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    variables = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0", "RANK": "1"}
    variables |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.port)}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield server


def test_all_are_ready(store: TCPStore) -> None:
    first = threading.Thread(target=_wait, args=(0, 2, 20.0))
    first.start()
    with meeting(20.0) as meet:
        meet()
    first.join(20)
    assert not first.is_alive()


def test_one_fails_and_the_other_ends_at_once(store: TCPStore) -> None:
    with pytest.raises(ZeroDivisionError), meeting(20.0):
        raise ZeroDivisionError
    began = time.monotonic()
    with pytest.raises(CosegError, match=r"rank 1\b.*failed"):
        _wait(0, 2, 20.0)
    assert time.monotonic() - began < 5


def test_one_that_does_not_come_is_a_sentence(store: TCPStore) -> None:
    with pytest.raises(CosegError, match="ready within"), meeting(0.5) as meet:
        meet()


def test_a_restarted_job_does_not_see_the_failure_before(store: TCPStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError), meeting(20.0):
        raise ZeroDivisionError
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(CosegError, match="ready within"):
        _wait(0, 2, 0.5)


def test_a_single_process_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    began = time.monotonic()
    with meeting(60.0) as meet:
        meet()
    assert time.monotonic() - began < 5


def test_devices_by_name() -> None:
    assert device_of("cpu") == torch.device("cpu") and device_of("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(CosegError, match="abacus"):
        device_of("abacus")
