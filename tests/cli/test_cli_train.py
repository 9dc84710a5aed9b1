"""coseg-train: what goes together with ``resume=``, and that a job's processes are those that the trainer counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facts import mentions


def test_a_resumed_run_takes_no_other_settings(command: Callable[..., Any], tmp_path: Path) -> None:
    outcome = command("train", "resume=somewhere", "seed=3", "optimizer.lr=0.5")
    assert outcome.code == 2 and mentions(outcome.err, "seed=3", "optimizer.lr=0.5")
    assert not list(tmp_path.iterdir())


def test_processes_of_a_launcher_have_to_be_counted(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "1"), ("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("coseg.cli.run_folder.tell_folder", lambda *_: None)  # no other process asks
    outcome = command("train", "trainer.devices=1", "trainer.accelerator=cpu", "trainer.fast_dev_run=true")
    assert outcome.code == 2 and mentions(outcome.err, "torchrun", "2", "trainer.devices=2")
