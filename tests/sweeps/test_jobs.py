from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from coseg.errors import CosegError
from coseg.evaluation.table import as_markdown
from coseg.sweeps.failed import write_failure
from coseg.sweeps.jobs import DAMAGED, RUNNING, read_sweep
from coseg.sweeps.picture import draw_parameters
from coseg.sweeps.report import jobs_table, short, values_table


def job(folder: Path, values: dict[str, object], scores: list[float], finished: bool = True) -> None:
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
def grid(tmp_path: Path) -> Path:
    for number, (lr, seed, scores) in enumerate(
        [(0.1, 0, [0.2, 0.5, 0.4]), (0.1, 1, [0.3]), (0.2, 0, [0.45]), (0.2, 1, [0.41])]
    ):
        job(tmp_path / str(number), {"optimizer.lr": lr, "seed": seed}, scores)
    job(tmp_path / "4", {"optimizer.lr": 0.3, "seed": 0}, [0.9], finished=False)
    (tmp_path / "10").mkdir()
    write_failure(tmp_path / "10", 2, "no such value.", ["data.workers=0", "optimizer.lr=x", "seed=0"])
    (tmp_path / "report").mkdir()
    return tmp_path


def test_a_grid_is_read(grid: Path) -> None:
    sweep = read_sweep(grid)
    assert (sweep.kind, sweep.keys) == ("grid", ["optimizer.lr", "seed"])
    assert [job.number for job in sweep.jobs] == [0, 1, 2, 3, 4, 10]
    assert [job.state for job in sweep.jobs] == ["complete"] * 4 + [RUNNING, "failed"]
    first = sweep.jobs[0]
    assert (first.jaccard, first.validations, first.seconds) == (0.5, 3, 12.5)
    assert first.values == {"optimizer.lr": "0.1", "seed": "0"}
    assert sweep.jobs[-1].error == "no such value." and math.isnan(sweep.jobs[-1].jaccard)


def test_the_best_is_that_of_the_mean_over_seeds(grid: Path) -> None:
    ranked = read_sweep(grid).ranked()  # 0.1: 0.5 and 0.3, mean 0.40; 0.2: 0.45 and 0.41, mean 0.43
    assert [job.number for job in ranked] == [2, 3, 0, 1]


def test_tables(grid: Path) -> None:
    sweep = read_sweep(grid)
    jobs = as_markdown(jobs_table(sweep)).splitlines()
    assert [line.split(" | ")[0] for line in jobs[2:8]] == ["| 0", "| 2", "| 3", "| 1", "| 4", "| 10"]
    assert jobs[2] == "| 0 | complete | 0.1 | 0 | 50.0 | 3 | 12 |"
    assert "6 jobs: 4 complete, 1 stopped or running, 1 failed." in "\n".join(jobs)
    assert "Job 10 failed: no such value." in "\n".join(jobs)
    values = as_markdown(values_table(sweep))
    assert "| optimizer.lr | 0.1 | 2 | 40.0 | 50.0 |" in values
    assert "| seed | 1 | 2 | 35.5 | 41.0 |" in values
    assert "0.3" not in values.replace("40.3", "")  # not complete


def test_many_numbers_are_put_together(tmp_path: Path) -> None:
    for number in range(12):
        job(tmp_path / str(number), {"lr": 10.0 ** -(number + 1)}, [number / 100])
    rows = values_table(read_sweep(tmp_path)).blocks[0][1]
    assert [row[1:3] for row in rows] == [["1e-12 to 1e-09", "4"], ["1e-08 to 1e-05", "4"], ["0.0001 to 0.1", "4"]]
    assert [row[3] for row in rows] == ["9.5", "5.5", "1.5"]
    assert (short("0.00074241"), short("[3,5]"), short("0.1")) == ("0.000742", "[3,5]", "0.1")


def test_a_picture_is_drawn_where_there_is_something(grid: Path, tmp_path: Path) -> None:
    assert draw_parameters(read_sweep(grid), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    only = tmp_path / "only"
    (only / "0").mkdir(parents=True)
    write_failure(only / "0", 2, "no.", ["a=1"])
    assert not draw_parameters(read_sweep(only), only / "a.png")
    assert not (only / "a.png").exists()


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_no_sweep_is_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(CosegError, match="holds no sweep"):
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
            assert f"Job 1 is damaged: {sweep.jobs[1].error}" in as_markdown(jobs_table(sweep))
            assert len(sweep.jobs[1].error) < 500


def test_the_report_of_a_sweep_with_a_damaged_job(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from coseg.cli.report import main

    (grid / "3" / "environment.json").write_text(DEEP)
    for number in (0, 1, 2):
        environment = [{"overrides": [f"seed={number}"], "choices": {"model": "siamese"}}]
        (grid / str(number) / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(SystemExit) as leaving:
        main(["sweep", str(grid)])
    out, err = capsys.readouterr()
    assert leaving.value.code == 2
    assert err.startswith("job 3: ") and "nested" in err and "Traceback" not in err
    assert "complete" in out and (grid / "report" / "parameters.png").is_file()


def test_all_jobs_damaged(grid: Path) -> None:
    for folder in grid.glob("*/"):
        if folder.name.isdecimal():
            (folder / "failed.json").write_text(DEEP)
    with pytest.raises(CosegError, match=r"failed\.json is damaged"):
        read_sweep(grid)
