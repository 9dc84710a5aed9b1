"""What `coseg-train check=true` measures and writes."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from omegaconf import DictConfig

from coseg.training import check as check_module
from coseg.training.check import FILE, check
from coseg.training.fit import make_trainer

Tiny = Callable[..., DictConfig]


def test_an_estimate_is_written_and_no_run(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    estimate = check(tiny("panels=1", "trainer.accumulate_grad_batches=2"), tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == [FILE]
    assert json.loads((tmp_path / FILE).read_text()) == asdict(estimate)
    assert estimate.batch == 8  # 4 pairs, accumulated twice
    assert estimate.parameters > 1000 and estimate.checkpoint_mb > 0 and estimate.peak_gb > 0
    # 2 epochs of 4 batches, each with a validation of 3 pairs
    expected = 2 * 4 * estimate.step_seconds / 2 + 2 * 3 * estimate.pair_seconds
    assert estimate.seconds == pytest.approx(expected)
    assert "2 epochs of 4 batches" in capsys.readouterr().out
    assert logging.getLogger("coseg.training.callbacks").level == logging.NOTSET


def test_the_median_gap() -> None:
    assert check_module._median_gap([1.0, 2.0, 4.0, 5.0]) == 1.0
    assert math.isnan(check_module._median_gap([1.0]))


@pytest.mark.parametrize(
    ("overrides", "epochs"),
    [
        (["trainer.max_epochs=3"], 3),
        (["trainer.max_epochs=3", "trainer.max_steps=4"], 1),
        (["trainer.max_epochs=-1", "trainer.max_steps=4", "trainer.accumulate_grad_batches=3"], 3),
        (["trainer.max_epochs=-1"], math.inf),
    ],
)
def test_epochs_of_the_whole_training(overrides: list[str], epochs: float, tiny: Tiny) -> None:
    assert check_module._epochs(make_trainer(tiny(*overrides), [], False), 4) == epochs


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.2, "3 seconds"), (600, "10.0 minutes"), (3 * 3600, "3.0 hours"), (86400 * 9.5, "9.5 days")],
)
def test_durations(seconds: float, text: str) -> None:
    assert check_module._duration(seconds) == text


def test_a_duration_that_is_not_known_or_endless() -> None:
    assert "unknown" in check_module._duration(math.nan) and "max_epochs" in check_module._duration(math.inf)
    assert check_module._until(math.inf) == check_module._until(math.nan) == check_module._until(1e15) == ""
