from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from coseg.training.fit import fit

Tiny = Callable[..., DictConfig]


def test_an_average_that_lags_behind_a_short_training_is_told(
    tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tiny("callbacks=ema"), tmp_path / "a")  # 8 steps
    (told,) = [record.message for record in caplog.records if "average of the weights" in record.message]
    assert told == "the average of the weights follows 1000 steps behind, of 8 in all: set callbacks.ema.decay=0, say"
    caplog.clear()
    fit(tiny("callbacks=ema", "callbacks.ema.decay=0.3"), tmp_path / "b")  # 1.4 steps behind
    assert "average of the weights" not in caplog.text
