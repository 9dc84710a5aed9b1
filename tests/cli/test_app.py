from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from coseg.cli.app import Multirun, found_stop, leave_stop
from coseg.sweeps.processes import write_failure


@pytest.fixture
def config(tmp_path: Path) -> object:
    launcher = {"_target_": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"}
    return OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}, "launcher": launcher}})


@pytest.fixture(autouse=True)
def nothing_of_before() -> None:
    Multirun.codes.clear()
    Multirun.stopped = 0


def test_signals_are_taken_over_while_jobs_run_and_given_back(config: object) -> None:
    before = signal.getsignal(signal.SIGTERM)
    jobs = Multirun()
    jobs.on_multirun_start(config)  # type: ignore[arg-type]
    assert signal.getsignal(signal.SIGTERM) == jobs._pass_on
    with pytest.raises(SystemExit) as leaving:  # nobody to pass it on to
        os.kill(os.getpid(), signal.SIGTERM)
    assert leaving.value.code == 143
    jobs.on_multirun_end(config)  # type: ignore[arg-type]
    assert signal.getsignal(signal.SIGTERM) == before


def test_codes_and_a_stop_are_collected_and_what_was_before_is_forgotten(config: object, tmp_path: Path) -> None:
    for job, code in (("0", 2), ("3", 1)):
        write_failure(tmp_path / job, code, "no.", [])
    leave_stop(tmp_path, 130)
    jobs = Multirun()
    jobs.on_multirun_start(config)  # type: ignore[arg-type]
    assert found_stop(tmp_path) == 0 and not list(tmp_path.glob("*/failed.json"))

    write_failure(tmp_path / "1", 2, "no.", [])
    (tmp_path / "2").mkdir()
    leave_stop(tmp_path, 143)
    jobs.on_multirun_end(config)  # type: ignore[arg-type]
    assert (jobs.codes, Multirun.stopped) == ([2], 143)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1"]  # empty folders, and the stop, are gone


def test_what_is_no_job_is_left_alone(config: object, tmp_path: Path) -> None:
    write_failure(tmp_path / "first", 2, "no.", [])
    (tmp_path / "empty").mkdir()
    jobs = Multirun()
    jobs.on_multirun_start(config)  # type: ignore[arg-type]
    jobs.on_multirun_end(config)  # type: ignore[arg-type]
    assert jobs.codes == []
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "failed.json", "first"]


SENT = """
import pickle, sys
from coseg.cli.app import Multirun
jobs = pickle.loads(bytes.fromhex(sys.argv[1]))
print(jobs._handlers._previous)
"""


def test_it_can_be_sent_to_the_processes_of_the_jobs(config: object) -> None:
    import pickle

    jobs = Multirun()
    jobs.on_multirun_start(config)  # type: ignore[arg-type]
    try:
        told = subprocess.run(
            [sys.executable, "-c", SENT, pickle.dumps(jobs).hex()], capture_output=True, text=True, check=True
        )
    finally:
        jobs.on_multirun_end(config)  # type: ignore[arg-type]
    assert told.stdout == "{}\n"
