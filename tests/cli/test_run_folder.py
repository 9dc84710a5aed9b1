"""Run directories are each process's own, and one for all processes of a job."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from facts import naming

from coseg.cli import run_folder
from coseg.cli.run_folder import claim_directory, forget_places, remove_empty_folders, run_directory, sweep_directory
from coseg.errors import CosegError
from coseg.training.launched import FOLDER, Job, ask_folder, tell_folder, this_job


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(run_folder, "_chosen", {})
    monkeypatch.setattr(run_folder, "_new_folders", [])
    monkeypatch.delenv(run_folder.SWEEP, raising=False)


class Clock:
    """A second that does not pass."""

    class datetime:
        @staticmethod
        def now() -> object:
            import datetime

            return datetime.datetime(2026, 1, 31, 12)


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "_chosen", {})
    monkeypatch.setattr(run_folder, "_new_folders", [])


def test_runs_of_one_second_have_directories_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "datetime", Clock)
    chosen, claimed = [], []
    for _ in range(3):  # all choose before any makes its own
        another_process(monkeypatch)
        chosen.append(Path(run_directory(str(tmp_path / "runs"), "a", None)))
    assert len(set(chosen)) == 1 and not chosen[0].exists()
    for folder in chosen:
        another_process(monkeypatch)
        assert run_directory(str(tmp_path / "runs"), "a", None) is not None
        run_folder._chosen[str(tmp_path / "runs"), "a", None] = folder  # as it was before the others made theirs
        claimed.append(claim_directory(folder))
        assert run_directory(str(tmp_path / "runs"), "a", None) == str(claimed[-1])
    assert [path.name for path in claimed] == [f"2026-01-31_12-00-00{end}" for end in ("", "_2", "_3")]
    assert all(path.is_dir() for path in claimed)


CLAIM = """
import datetime, sys
from coseg.cli import run_folder
class Clock(datetime.datetime):
    @classmethod
    def now(cls):
        return cls(2026, 1, 31, 12)
run_folder.datetime.datetime = Clock
from pathlib import Path
folder = Path(run_folder.run_directory(sys.argv[1], "a", None))
print("chosen", flush=True)
sys.stdin.readline()
made = run_folder.claim_directory(folder)
assert run_folder.run_directory(sys.argv[1], "a", None) == str(made)
print(folder.name, made.name)
"""


def test_processes_that_choose_at_once_get_one_each(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLAIM, str(tmp_path / "runs")]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        for _ in range(3)
    ]
    for process in started:  # all have chosen before any makes its own
        assert process.stdout is not None and process.stdout.readline() == "chosen\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate()[0].split() for process in started]
    assert {chosen for chosen, _ in told} == {"2026-01-31_12-00-00"}
    names = [f"2026-01-31_12-00-00{end}" for end in ("", "_2", "_3")]
    assert sorted(made for _, made in told) == names
    assert sorted(path.name for path in (tmp_path / "runs" / "a").iterdir()) == names


def test_a_directory_that_is_only_shown_is_not_made(tmp_path: Path) -> None:
    folder = Path(run_directory(str(tmp_path / "runs"), "a", None))
    assert run_directory(str(tmp_path / "runs"), "a", None) == str(folder)
    assert not (tmp_path / "runs").exists()


def test_a_resumed_or_chosen_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "earlier"
    folder.mkdir()
    assert run_directory("runs", "a", str(folder)) == str(folder)
    assert claim_directory(folder) == folder
    assert claim_directory(tmp_path / "mine") == tmp_path / "mine"


def test_what_stays_empty_is_taken_away(tmp_path: Path) -> None:
    folder = claim_directory(Path(run_directory(str(tmp_path / "runs"), "a", None)))
    remove_empty_folders(folder)
    assert not (tmp_path / "runs").exists()


def test_a_sweep_that_has_to_move_tells_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "datetime", Clock)
    folder = Path(sweep_directory(str(tmp_path), "a"))
    folder.mkdir(parents=True)  # another one's, of the same second
    assert claim_directory(folder).name == f"{folder.name}_2"
    assert os.environ[run_folder.SWEEP] == str(folder.with_name(f"{folder.name}_2"))
    forget_places()
    assert run_folder.SWEEP not in os.environ


def test_ranks_agree_on_the_directory_of_the_first(tmp_path: Path) -> None:
    key, told = "abc", {}
    stale = tmp_path / FOLDER
    stale.mkdir()
    (stale / f"{key}-1-answer").write_text('["of an earlier job", "/wrong"]')
    (stale / f"{key}-2-asks").write_text('"of an earlier job"')

    def ask(rank: int) -> None:
        told[rank] = ask_folder(Job(rank, 3, key), tmp_path, 20)

    threads = [threading.Thread(target=ask, args=(rank,)) for rank in (1, 2)]
    for thread in threads:
        thread.start()
    tell_folder(Job(0, 3, key), tmp_path, tmp_path / "run", 20)
    for thread in threads:
        thread.join()
    assert told == {1: tmp_path / "run", 2: tmp_path / "run"}
    assert not list(tmp_path.iterdir())


def test_ranks_that_do_not_come_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CosegError, match=naming("3 processes", 2, tmp_path)):
        tell_folder(Job(0, 3, "abc"), tmp_path, tmp_path / "run", 0.2)
    with pytest.raises(CosegError, match=naming("rank 0")):
        ask_folder(Job(1, 3, "abc"), tmp_path, 0.2)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("variables", "rank", "size"),
    [
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "3", "MASTER_PORT": "1"}, 1, 3),
        ({"SLURM_STEP_ID": "0", "SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, 0, 2),
    ],
)
def test_launchers_are_known_by_their_variables(
    variables: dict[str, str], rank: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    job = this_job()
    assert job is not None and (job.rank, job.size) == (rank, size)
    monkeypatch.setenv("WORLD_SIZE" if "RANK" in variables else "SLURM_NTASKS", "1")
    assert this_job() is None


def test_jobs_of_two_machines_that_name_only_themselves_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address and the port that ``torchrun`` takes by itself are the same on each, and they may share ``runs``."""
    variables = {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "2", "MASTER_PORT": "29500"}
    keys = {}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for address in ("127.0.0.1", "first.example"):
        monkeypatch.setenv("MASTER_ADDR", address)
        for host in ("first", "second"):
            monkeypatch.setattr(socket, "gethostname", lambda host=host: host)
            job = this_job()
            assert job is not None
            keys[address, host] = job.key
    assert keys["127.0.0.1", "first"] != keys["127.0.0.1", "second"]
    assert keys["first.example", "first"] == keys["first.example", "second"]


def test_two_runs_in_one_second(tmp_path: Path) -> None:
    made = []
    for _ in range(3):
        forget_places()
        folder = Path(run_directory(str(tmp_path / "runs"), "a", None))
        assert str(folder) == run_directory(str(tmp_path / "runs"), "a", None)
        folder.mkdir(parents=True)
        made.append(folder)
    assert len(set(made)) == 3
