"""What a check measures, read once and kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.equal_budget import runner
from benchmarks.equal_budget.records import Cost, write_record
from benchmarks.equal_budget.runner import Comparison, Job
from coseg.errors import CosegError

ESTIMATE = {
    "parameters": 1_020_000, "batch": 16, "step_seconds": 0.0004, "pair_seconds": None, "peak_gb": 1.27,
    "checkpoint_mb": 12.0, "seconds": 4182.0,
}  # fmt: skip


def _program(estimate: dict[str, object]) -> str:
    return (
        "import sys\nfrom pathlib import Path\n"
        "assert sys.argv[1:3] == ['model=siamese', 'check=true']\n"
        "folder = Path(sys.argv[3].removeprefix('runs=').strip('\\'\"')) / 'a' / 'b'\n"
        f"folder.mkdir(parents=True)\n(folder / 'estimate.json').write_text({json.dumps(estimate)!r})\n"
    )


def test_costs_are_those_that_a_check_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check, kept = tmp_path / "check.py", tmp_path / "costs" / "siamese.json"
    monkeypatch.setattr(runner, "program", lambda command: [sys.executable, str(check)])
    check.write_text(_program(ESTIMATE))
    cost = runner.cost(kept, ["model=siamese"])
    assert (cost.parameters, cost.batch, cost.step_seconds, cost.peak_gb) == (1_020_000, 16, 0.0004, 1.27)
    assert cost.pair_seconds != cost.pair_seconds
    check.unlink()
    assert runner.cost(kept, ["model=siamese"]).step_seconds == 0.0004

    kept.write_text("{}")
    with pytest.raises(CosegError, match=r"siamese\.json"):
        runner.cost(kept, ["model=siamese"])
    kept.unlink()
    incomplete = {name: value for name, value in ESTIMATE.items() if name != "batch"}
    for text in ("", "raise SystemExit(2)", _program(incomplete), _program(ESTIMATE | {"step_seconds": None})):
        check.write_text(text)
        with pytest.raises(CosegError, match="check of model=siamese"):
            runner.cost(kept, ["model=siamese"])
    assert not kept.exists()


def test_a_step_too_short_to_time_divides_nothing_by_zero(tmp_path: Path) -> None:
    job = Job("models", "siamese", 0)
    write_record(tmp_path / "records" / "costs" / "models" / "siamese.json", Cost(1, 16, 0.0, 0.1, 1.0))
    assert Comparison(tmp_path, 1.0, [], [])._steps(job) == 60_000_000


@pytest.mark.slow
def test_a_real_check_measures_all(tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> None:
    cost = runner.cost(tmp_path / "cost.json", ["experiment=shapes", *tiny_overrides["train"], "panels=0"])
    assert cost.parameters > 1000 and cost.batch >= 1
    assert 0 < cost.step_seconds < 60 and 0 < cost.pair_seconds < 60 and cost.peak_gb > 0.1
