"""What is read of a check, and that it is asked for once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from coseg.errors import CosegError
from coseg.evaluation.records import Cost
from coseg.sweeps import costs

SAID = """SiameseNetwork, 1.02 M parameters; voc/train: 2302 images, 16000 pairs; voc/val: 331 images, 300 pairs
a step: 0.418 s; 38.28 pairs/s; a validation pair: 0.036 s
peak memory: 1.27 GB, 0.98 GB in a worker; a checkpoint: 12 MB, two are kept
10 epochs of 1000 batches: about 69.7 minutes, to 2026-01-31 12:00
"""


def test_costs_are_those_that_a_check_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check, kept = tmp_path / "check.py", tmp_path / "costs" / "siamese.json"
    monkeypatch.setattr(costs, "program", lambda command: [sys.executable, str(check)])
    check.write_text(f"import sys\nassert sys.argv[1:] == ['model=siamese', 'check=true']\nprint({SAID!r})")
    wanted = Cost(parameters=1_020_000, batch=16, step_seconds=0.418, pair_seconds=0.036, peak_gb=1.27)
    assert costs.cost(kept, ["model=siamese"]) == wanted
    check.unlink()
    assert costs.cost(kept, ["model=siamese"]) == wanted

    kept.write_text("{}")
    with pytest.raises(CosegError, match=r"siamese\.json is no record of a comparison"):
        costs.cost(kept, ["model=siamese"])
    kept.unlink()
    for text, code in ((f"print({SAID.replace('a step', 'no step')!r})", 0), ("raise SystemExit(2)", 2)):
        check.write_text(text)
        with pytest.raises(CosegError, match=rf"A check of model=siamese failed with exit code {code}: see above"):
            costs.cost(kept, ["model=siamese"])
    assert not kept.exists()


def test_a_real_check_tells_all(tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> None:
    found = costs.cost(tmp_path / "cost.json", ["experiment=shapes", *tiny_overrides["train"], "panels=0"])
    assert found.parameters > 1000 and found.batch >= 1
    assert 0 < found.step_seconds < 60 and 0 < found.pair_seconds < 60 and found.peak_gb > 0.1
