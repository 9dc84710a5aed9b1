"""What torchrun or srun starts has to be what the trainer counts on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facts import mentions, naming
from omegaconf import OmegaConf

from coseg.cli import run_folder
from coseg.errors import CosegError
from coseg.training.launched import require_launched, this_job

LAUNCHERS = {
    "torchrun": {
        "TORCHELASTIC_RUN_ID": "none", "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0", "WORLD_SIZE": "6",
        "LOCAL_WORLD_SIZE": "3", "GROUP_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
    },
    "srun": {
        "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "coseg", "SLURM_PROCID": "0", "SLURM_NTASKS": "6",
        "SLURM_NTASKS_PER_NODE": "3", "SLURM_NNODES": "2",
    },
}  # fmt: skip


@pytest.fixture(params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its name; this is rank 0 of its 2 x 3 processes."""
    for name, value in LAUNCHERS[request.param].items():
        monkeypatch.setenv(name, value)
    return str(request.param)


FITTING: tuple[dict[str, Any], ...] = (
    {"devices": 3, "num_nodes": 2, "strategy": "ddp"},
    {"devices": "3", "num_nodes": 2},
    {"devices": [0, 1, 2], "num_nodes": 2},
    {"devices": "0,1,2", "num_nodes": 2},
    {"devices": 6},
    {"devices": 1, "plugins": ["a cluster of one's own"]},
)


@pytest.mark.parametrize("settings", FITTING)
def test_fitting_settings(launcher: str, settings: dict[str, Any]) -> None:
    require_launched({"accelerator": "cpu", **settings})
    if "plugins" not in settings:  # the same on more machines does not fit
        with pytest.raises(CosegError, match=naming(launcher, 6)):
            require_launched({"accelerator": "cpu", **settings, "num_nodes": 7})


@pytest.mark.parametrize(
    "settings",
    [{}, {"devices": "auto"}, {"devices": 1}, {"devices": 3}, {"devices": 2, "num_nodes": 2}, {"devices": [0, 1]}],
)
def test_other_numbers_are_refused(launcher: str, settings: dict[str, Any]) -> None:
    with pytest.raises(CosegError, match=naming(launcher, 6, "devices=3", "num_nodes=2")):
        require_launched({"accelerator": "cpu", **settings})


@pytest.mark.parametrize(
    ("missing", "named"), [("SLURM_STEP_ID", "srun"), ("SLURM_NTASKS_PER_NODE", "--ntasks-per-node")]
)
def test_tasks_of_slurm_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, missing: str, named: str) -> None:
    for name, value in LAUNCHERS["srun"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(CosegError, match=naming(named, 6)):
        require_launched({"devices": 3, "num_nodes": 2, "strategy": "ddp"})
    monkeypatch.setenv("SLURM_NTASKS", "1")
    require_launched({"accelerator": "cpu", "devices": 1})


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork_find_unused_parameters_true", {"start_method": "spawn"}])
def test_processes_that_start_more_are_refused(launcher: str, strategy: object) -> None:
    with pytest.raises(CosegError, match=naming(launcher, 6, "strategy=ddp")):
        require_launched({"devices": 6, "strategy": strategy})


def test_a_process_alone_may_have_any() -> None:
    assert this_job() is None
    require_launched({"devices": 2, "strategy": "ddp_spawn"})


@pytest.mark.parametrize("name", ["bash", "interactive"])
def test_a_shell_of_slurm_is_one_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a training there would wait for processes that nobody starts."""
    for key, value in LAUNCHERS["srun"].items():
        monkeypatch.setenv(key, value)
    assert this_job() is not None
    monkeypatch.setenv("SLURM_JOB_NAME", name)
    monkeypatch.setenv("SLURM_TASK_PID", str(os.getppid()))
    monkeypatch.setattr(os, "ctermid", lambda: os.devnull)
    assert this_job() is None
    require_launched({"accelerator": "cpu", "devices": 1})
    monkeypatch.setattr(os, "ctermid", lambda: "nowhere")
    assert this_job() is not None, "a script that srun has started, without a terminal"
    with pytest.raises(CosegError, match=naming("--job-name")):
        require_launched({"accelerator": "cpu", "devices": 1})
    monkeypatch.delenv("SLURM_STEP_ID")  # the script of a job of that name
    assert this_job() is None
    require_launched({"accelerator": "cpu", "devices": 1})


def test_a_step_that_is_the_shell_of_salloc_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its job is called. Lightning would wait for the other tasks: a training is refused."""
    for key, value in LAUNCHERS["srun"].items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("SLURM_STEP_ID", "4294967290")  # slurm.h: SLURM_INTERACTIVE_STEP
    assert this_job() is None
    with pytest.raises(CosegError, match=naming("srun", 6)):
        require_launched({"devices": 3, "num_nodes": 2, "strategy": "ddp"})


@pytest.mark.parametrize("name", ["bash", "interactive"])
def test_what_srun_starts_beside_a_shell_is_a_task(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each would take itself for the only one, and all write the same files. Lightning does: that is refused."""
    for key, value in LAUNCHERS["srun"].items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("SLURM_JOB_NAME", name)
    monkeypatch.setenv("SLURM_TASK_PID", str(os.getpid()))
    job = this_job()
    assert job is not None and (job.rank, job.size) == (0, 6)
    with pytest.raises(CosegError, match=naming("--job-name")):
        require_launched({"devices": 3, "num_nodes": 2, "strategy": "ddp"})


@pytest.mark.parametrize("name", ["train", "test"])
def test_commands_refuse_before_they_read(
    name: str,
    launcher: str,
    command: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_folder, "tell_folder", lambda *_: None)  # nobody asks
    place = "runs=runs" if name == "train" else "ckpt=none.ckpt"  # the next to be missed
    code, _, err = command(name, "trainer.accelerator=cpu", "dataset=voc", "dataset.root=none", place)
    assert code == 2 and mentions(err, launcher, "6 processes") and "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("chosen", "started"), [("ddp", "torchrun"), ("slurm", "srun")])
def test_the_configurations_of_launchers_take_their_numbers(
    compose: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, chosen: str, started: str
) -> None:
    for name, value in LAUNCHERS[started].items():
        monkeypatch.setenv(name, value)
    trainer = OmegaConf.to_container(compose("train", f"trainer={chosen}").trainer, resolve=True)
    assert isinstance(trainer, dict)
    assert (trainer["devices"], trainer["num_nodes"], trainer["strategy"]) == (3, 2, "ddp")
    require_launched(trainer)
