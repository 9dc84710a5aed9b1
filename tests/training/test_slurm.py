"""A job that is queued again, with a program in the place of SLURM's `scontrol`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coseg.cli import run_folder
from coseg.run_dir import STUDY
from coseg.signals import handlers_kept
from coseg.training.slurm import PATIENCE, RANKS, folder_name, is_restarted, requeue

Scontrol = Callable[..., list[str]]

SHOWN = "JobId=12 JobName=x\n   StartTime=2026-01-02T10:00:00 EndTime=Unknown\n   PreemptTime={} SuspendTime=None\n"


@pytest.fixture(autouse=True)
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch job, on its first start."""
    gone = ("SLURM_RESTART_COUNT", "SUBMITIT_EXECUTOR", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", STUDY, *RANKS)
    for name in gone:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    monkeypatch.setattr(sys, "argv", ["coseg-train", "seed=0"])


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scontrol:
    """``scontrol(preempted, code)`` puts the program there; the lines that it was called with."""
    calls = tmp_path / "calls"

    def install(preempted: str = "None", code: int = 0) -> list[str]:
        program = tmp_path / "bin" / "scontrol"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {calls}\n'
            f"[ $1 = show ] && printf '{SHOWN.format(preempted)}' && exit 0\nexit {code}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return []

    def called(*arguments: object) -> list[str]:
        if arguments:
            install(*arguments)  # type: ignore[arg-type]
        return calls.read_text().splitlines() if calls.exists() else []

    install()
    return called


def test_a_signal_ahead_of_the_time_limit(scontrol: Scontrol, capsys: pytest.CaptureFixture[str]) -> None:
    requeue(signal.SIGUSR1)
    assert scontrol() == ["requeue 12"]
    assert "12" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("preempted", "queued"),
    [("2026-01-02T10:05:00", True), ("None", False), ("2026-01-02T09:00:00", False)],  # the last before this start
)
def test_sigterm_is_of_a_preemption_or_of_a_user(scontrol: Scontrol, preempted: str, queued: bool) -> None:
    scontrol(preempted)
    requeue(signal.SIGTERM)
    assert scontrol() == ["show job 12", *(["requeue 12"] if queued else [])]


@pytest.mark.parametrize(
    ("name", "value"),
    [("SLURM_JOB_ID", ""), ("SLURM_JOB_ID", "12; rm"), ("SLURM_JOB_NAME", "bash"), (STUDY, "a")],
)
def test_where_nothing_is_queued(
    scontrol: Scontrol, monkeypatch: pytest.MonkeyPatch, name: str, value: str, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, value)
    requeue(signal.SIGUSR1)
    assert scontrol() == []


@pytest.mark.parametrize("rank", RANKS)
def test_other_ranks_wait_for_the_first(scontrol: Scontrol, monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    waited: list[float] = []
    monkeypatch.setattr("coseg.training.slurm.time.sleep", waited.append)
    monkeypatch.setenv(rank, "1")
    with handlers_kept():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        requeue(signal.SIGUSR1)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "it comes when the job is queued again"
    assert scontrol() == [] and waited == [PATIENCE]


def test_of_an_array_one_task_is_queued(scontrol: Scontrol, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    scontrol("2026-01-02T10:05:00")
    requeue(signal.SIGTERM)
    assert scontrol() == ["show job 12_3", "requeue 12_3"]


def test_ctrl_c_does_not_queue(scontrol: Scontrol) -> None:
    requeue(signal.SIGINT)
    assert scontrol() == []


def test_a_refusal_is_said(
    scontrol: Scontrol, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("coseg.training.slurm.time.sleep", lambda _: None)
    scontrol("None", 1)
    requeue(signal.SIGUSR1)
    assert "--requeue" in capsys.readouterr().err


def test_submitit_queues_its_jobs_itself(scontrol: Scontrol, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[int] = []
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    before = signal.signal(signal.SIGUSR2, lambda number, _: received.append(number))
    try:
        requeue(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert received == [signal.SIGUSR2] and scontrol() == []


def test_a_job_that_is_started_again_has_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started() -> Path:
        run_folder.forget_places()
        return run_folder.claim_directory(Path(run_folder.run_directory(str(tmp_path), "a", None)))

    first = started()
    assert first.is_dir() and first.name == folder_name() and "12" in first.name
    assert started() == first.with_name(f"{first.name}_2"), "another command of the first start"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert is_restarted() and started() == first
    monkeypatch.setattr(sys, "argv", ["coseg-train", "seed=1"])
    assert started() not in (first, first.with_name(f"{first.name}_2"))
    monkeypatch.delenv("SLURM_JOB_ID")
    assert not is_restarted() and folder_name() is None
