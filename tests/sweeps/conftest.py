"""A sweep as its trainings leave it on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from coseg.sweeps.processes import write_failure


def _write_job(folder: Path, values: dict[str, object], scores: list[float], finished: bool = True) -> None:
    """What a training leaves."""
    folder.mkdir(parents=True)
    overrides = ["data.workers=0", *(f"{key}={value}" for key, value in values.items())]
    (folder / "environment.json").write_text(json.dumps([{"overrides": overrides}]))
    (folder / "config.yaml").write_text("name: x\n")
    rows = "".join(f"{step},{score}\n" for step, score in enumerate(scores))
    (folder / "metrics.csv").write_text("step,val/jaccard\n" + rows)
    if finished:
        (folder / "finished.json").write_text(json.dumps({"jaccard": max(scores), "step": 3, "seconds": 12.5}))


@pytest.fixture
def write_job() -> Callable[..., None]:
    """``write_job(folder, values, scores, finished)``: a training's folder."""
    return _write_job


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    for number, (lr, seed, scores) in enumerate(
        [(0.1, 0, [0.2, 0.5, 0.4]), (0.1, 1, [0.3]), (0.2, 0, [0.45]), (0.2, 1, [0.41])]
    ):
        _write_job(tmp_path / str(number), {"optimizer.lr": lr, "seed": seed}, scores)
    _write_job(tmp_path / "4", {"optimizer.lr": 0.3, "seed": 0}, [0.9], finished=False)
    (tmp_path / "10").mkdir()
    write_failure(tmp_path / "10", 2, "no such value.", ["data.workers=0", "optimizer.lr=x", "seed=0"])
    (tmp_path / "report").mkdir()
    return tmp_path
