from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from facts import mentions

from coseg.reports.tables import as_markdown
from coseg.sweeps.jobs import read_sweep
from coseg.sweeps.processes import write_failure
from coseg.sweeps.report import draw_parameters, jobs_table, short, values_table


def test_tables(grid: Path) -> None:
    sweep = read_sweep(grid)
    jobs = as_markdown(jobs_table(sweep)).splitlines()
    assert [line.split(" | ")[0] for line in jobs[2:8]] == ["| 0", "| 2", "| 3", "| 1", "| 4", "| 10"]
    assert jobs[2] == "| 0 | complete | 0.1 | 0 | 50.0 | 3 | 12 |"
    assert mentions("\n".join(jobs), "6 jobs", "4 complete", "1 stopped", "1 failed")
    assert any(mentions(line, "job 10", "failed", "no such value.") for line in jobs)
    values = as_markdown(values_table(sweep))
    assert "| optimizer.lr | 0.1 | 2 | 40.0 | 50.0 |" in values
    assert "| seed | 1 | 2 | 35.5 | 41.0 |" in values
    assert "0.3" not in values.replace("40.3", "")  # not complete


def test_many_numbers_are_put_together(write_job: Any, tmp_path: Path) -> None:
    for number in range(12):
        write_job(tmp_path / str(number), {"lr": 10.0 ** -(number + 1)}, [number / 100])
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


def test_the_report_of_a_sweep_with_a_damaged_job(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from coseg.cli.report import main

    (grid / "3" / "environment.json").write_text("[" * 100_000)
    for number in (0, 1, 2):
        environment = [{"overrides": [f"seed={number}"], "choices": {"model": "siamese"}}]
        (grid / str(number) / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(SystemExit) as leaving:
        main(["sweep", str(grid)])
    out, err = capsys.readouterr()
    assert leaving.value.code == 2
    assert err.startswith("job 3: ") and "nested" in err and "Traceback" not in err
    assert "complete" in out and (grid / "report" / "parameters.png").is_file()
