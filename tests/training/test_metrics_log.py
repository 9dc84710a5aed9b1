from __future__ import annotations

import csv
import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger
from metrics_file import read_losses, read_rows
from omegaconf import DictConfig

from coseg.errors import CosegError
from coseg.training.fit import fit
from coseg.training.metrics_log import continue_metrics, read_metrics, with_pending_row
from coseg.training.run import resumed_config
from coseg.training.run_checkpoints import StopOnSignal
from coseg.training.task import CosegTask


class Killed(BaseException):
    """The process ends here."""


def logger_of(folder: Path, rows: list[dict[str, str]]) -> CSVLogger:
    logger = CSVLogger(folder, name="", version="")
    continue_metrics(logger, rows)
    return logger


def test_a_new_column_takes_the_place_of_the_table_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logger_of(tmp_path, [])
    for step in range(3):
        logger.log_metrics({"train/loss": 1.0 + step}, step)
    logger.save()
    table = tmp_path / "metrics.csv"
    before = table.read_text()
    logger.log_metrics({"val/jaccard": 0.5}, 2)

    def kill(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", kill)
        logger.save()
    assert table.read_text() == before
    logger.save()
    rows = read_metrics(tmp_path, 9)
    assert [row["train/loss"] for row in rows] == ["1.0", "2.0", "3.0", ""] and rows[3]["val/jaccard"] == "0.5"
    pickle.dumps(logger)  # as spawned processes get it


def test_a_row_that_is_cut_by_a_full_disk_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logger_of(tmp_path, [])
    logger.log_metrics({"train/loss": 1.0}, 0)
    logger.save()
    table = tmp_path / "metrics.csv"
    before = table.read_bytes()
    logger.log_metrics({"train/loss": 2.0}, 1)

    def full(self: Any, rows: Any) -> None:
        table.write_bytes(before + b"2.")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(csv.DictWriter, "writerows", full)
        logger.save()
    assert table.read_bytes() == before
    logger.save()
    assert [row["train/loss"] for row in read_metrics(tmp_path, 9)] == ["1.0", "2.0"]


@pytest.mark.parametrize("killed_at", [1, 2])
def test_the_rows_of_before_survive_a_kill_while_they_are_put_back(
    killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logger_of(tmp_path, [])
    for step in range(5):
        logger.log_metrics({"train/loss": 1.0 + step}, step)
    logger.save()
    rows = read_metrics(tmp_path, 4)
    replace, count = os.replace, 0

    def kill(*paths: Any) -> None:
        nonlocal count
        count += 1
        if count == killed_at:
            raise Killed
        replace(*paths)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", kill)
        logger_of(tmp_path, rows)
    assert read_metrics(tmp_path, 4) == rows
    logger_of(tmp_path, rows)
    assert read_metrics(tmp_path, 9) == rows
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_rows_are_on_disk_with_their_checkpoint(
    tiny: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a killed process leaves them: nothing is written when it ends."""
    original = CosegTask.training_step

    def step(self: CosegTask, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 6:
            monkeypatch.setattr(CSVLogger, "finalize", lambda *_: None)
            raise Killed
        return original(self, batch, batch_idx)

    monkeypatch.setattr(CosegTask, "training_step", step)
    with pytest.raises(Killed):
        fit(tiny("checkpoint_minutes=1e-9"), tmp_path)
    assert [step for step, _ in read_losses(tmp_path)] == list(range(6))
    assert [row["step"] for row in read_rows(tmp_path) if row["val/jaccard"]] == ["3"]


def test_a_row_that_was_not_written_before_the_kill_comes_from_the_checkpoint(
    tiny: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning logs a step after its checkpoint is written: killed between the two, the run loses no row."""
    fit(tiny(), tmp_path / "whole")
    original = StopOnSignal.on_train_batch_end
    for at in (2, 6):  # of 8 steps
        folder = tmp_path / str(at)

        def end(self: StopOnSignal, trainer: Any, *rest: Any, at: int = at) -> None:
            original(self, trainer, *rest)
            if trainer.global_step == at:
                raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(StopOnSignal, "on_train_batch_end", end)
            patch.setattr(CSVLogger, "finalize", lambda *_: None)
            fit(tiny("checkpoint_minutes=1e-9"), folder)
        assert max(step for step, _ in read_losses(folder)) == at - 2  # that of the checkpoint's own step is not there
        fit(resumed_config(folder), folder, resume=True)
        assert read_rows(folder) == read_rows(tmp_path / "whole")


def test_a_pending_row_of_another_form_is_passed_over() -> None:
    rows = [{"step": "0", "epoch": "0", "train/loss": "1.5"}]
    for pending in (None, [], {"step": "1"}, {"step": 1, "x": "a"}, {"step": 0, "train/loss": 2.0}, {1: 2, "step": 1}):
        assert with_pending_row(rows, pending) == rows
    assert with_pending_row(rows, {"step": 1, "epoch": 0, "train/loss": 0.25})[1:] == [
        {"step": "1", "epoch": "0", "train/loss": "0.25"}
    ]


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    table = tmp_path / "metrics.csv"
    for text, words in (("a,step\n1,2\nx,3\n", "line 3"), ("a,step\n1,2,3\n", "line 2"), ("", "empty")):
        table.write_text(text)
        with pytest.raises(CosegError, match=rf"metrics\.csv.*{words}"):
            read_metrics(tmp_path, 9)
    table.write_text("a,step\n1,2\nnan,3\n1e-3,")
    assert [row["step"] for row in read_metrics(tmp_path, 9)] == ["2", "3"]
