"""coseg-test: without a checkpoint it takes the newest best one, and says so where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facts import mentions


def test_without_a_run_there_is_nothing_to_test(command: Callable[..., Any], tmp_path: Path) -> None:
    outcome = command("test", "dataset=shapes")
    assert outcome.code == 2 and mentions(outcome.err, "best.ckpt", "ckpt=PATH")
    assert not list(tmp_path.rglob("results.json"))


def test_processes_of_a_launcher_have_to_be_counted(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "1"), ("RANK", "0"), ("WORLD_SIZE", "3"), ("LOCAL_WORLD_SIZE", "3")):
        monkeypatch.setenv(name, value)
    outcome = command("test", "dataset=shapes", "trainer.devices=1", "trainer.accelerator=cpu")
    assert outcome.code == 2 and mentions(outcome.err, "torchrun", "3", "trainer.devices=3")


def test_masks_that_are_missing_are_counted(
    command: Callable[..., Any], tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    (tmp_path / "theirs").mkdir()
    outcome = command("test", *tiny_overrides["test"], "split=unseen", "predictions=theirs")
    assert outcome.code == 2 and mentions(outcome.err, "theirs", "masks", "unseen_000000", ".png", "data.pairs")
    assert "Traceback" not in outcome.err and not list(tmp_path.rglob("results.json"))
    outcome = command("test", *tiny_overrides["test"], "data.pairs=gone.csv", "predictions=theirs")
    assert outcome.code == 2 and mentions(outcome.err, "gone.csv", "coseg-data")
