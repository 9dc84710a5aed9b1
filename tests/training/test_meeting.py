"""Processes meet before they train; one that fails until then ends the others at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from torch.distributed import TCPStore

from coseg.errors import CosegError
from coseg.training.meeting import _wait, meeting


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
    with pytest.raises(CosegError, match="rank 1, has failed"):
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
    with meeting() as meet:
        meet()
