from __future__ import annotations

import math
from pathlib import Path

import pytest
from facts import mentions, naming

from coseg.errors import CosegError
from coseg.reports.tables import as_markdown
from coseg.sweeps.jobs import DAMAGED, RUNNING, read_sweep
from coseg.sweeps.report import jobs_table


def test_a_grid_is_read(grid: Path) -> None:
    sweep = read_sweep(grid)
    assert (sweep.source, sweep.keys) == ("grid", ["optimizer.lr", "seed"])
    assert [job.number for job in sweep.jobs] == [0, 1, 2, 3, 4, 10]
    assert [job.state for job in sweep.jobs] == ["complete"] * 4 + [RUNNING, "failed"]
    first = sweep.jobs[0]
    assert (first.jaccard, first.validations, first.seconds) == (0.5, 3, 12.5)
    assert first.values == {"optimizer.lr": "0.1", "seed": "0"}
    assert sweep.jobs[-1].error == "no such value." and math.isnan(sweep.jobs[-1].jaccard)


def test_the_best_is_that_of_the_mean_over_seeds(grid: Path) -> None:
    ranked = read_sweep(grid).ranked()  # 0.1: 0.5 and 0.3, mean 0.40; 0.2: 0.45 and 0.41, mean 0.43
    assert [job.number for job in ranked] == [2, 3, 0, 1]


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_no_sweep_is_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(CosegError, match=naming(tmp_path / name, "no sweep")):
        read_sweep(tmp_path / name)


DEEP = "[" * 100_000
DAMAGES = [
    "", "\0\xff binary", DEEP, "[]", "{}", "[{}]", "null", '"text"', "[1, 2]", '{"seconds": "long"}', "[[",
    '[{"overrides": 5}]', '[{"overrides": [1]}]', '{"code": [], "error": 1, "overrides": {}}',
]  # fmt: skip


@pytest.mark.parametrize("name", ["environment.json", "finished.json", "failed.json", "metrics.csv"])
def test_a_damaged_job_is_shown_beside_the_others(name: str, grid: Path) -> None:
    for text in DAMAGES:
        (grid / "1" / name).write_bytes(text.encode("latin-1"))
        sweep = read_sweep(grid)
        states = [job.state for job in sweep.jobs]
        assert states[0] == "complete" and states[2:] == ["complete"] * 2 + [RUNNING, "failed"]
        if name == "metrics.csv":
            assert states[1] in (DAMAGED, "complete")  # a table of other columns is one without scores
        else:
            assert states[1] == DAMAGED, text[:20]
            assert str(grid / "1" / name) in sweep.jobs[1].error
            assert mentions(as_markdown(jobs_table(sweep)), "job 1", "damaged", sweep.jobs[1].error)
            assert len(sweep.jobs[1].error) < 500


def test_all_jobs_damaged(grid: Path) -> None:
    for folder in grid.glob("*/"):
        if folder.name.isdecimal():
            (folder / "failed.json").write_text(DEEP)
    with pytest.raises(CosegError, match=naming("failed.json", "damaged")):
        read_sweep(grid)
