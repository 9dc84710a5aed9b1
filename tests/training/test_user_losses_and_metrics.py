"""A loss and a metric of a user's own: one Python file and one YAML each, outside of the package."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coseg.errors import CosegError
from coseg.hub.load import load_network
from coseg.training.task import load_task

LOSS = """
import torch

class AreaLoss(torch.nn.Module):
    def __init__(self, classes, scale=1.0):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, batch):
        areas = [logits.softmax(1)[:, 1].mean() for logits, _ in batch.sides]
        return self.scale.abs() * sum(areas)
"""
METRIC = """
import torch
from torchmetrics import Metric

class MeanAbsoluteError(Metric):
    def __init__(self):
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("errors", [], dist_reduce_fx="cat")

    def update(self, logits, target):
        error = (logits.softmax(1)[:, 1] - (target == 1).float()).abs().mean((1, 2)).double()
        self.errors.append(error)
        self.total += error.sum()

    def compute(self):
        mean = torch.cat(list(self.errors)).mean()
        assert abs(mean * len(torch.cat(list(self.errors))) - self.total) < 1e-9
        return mean
"""
Command = Callable[..., Any]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options with which a command finds both."""
    (tmp_path / "own_terms.py").write_text(LOSS + METRIC)
    for group, target in (("loss/area", "AreaLoss"), ("metrics/mae", "MeanAbsoluteError")):
        path = tmp_path / "configs" / f"{group}.yaml"
        path.parent.mkdir(parents=True)
        weight = "  weight: 0.25\n" if group.startswith("loss") else ""
        path.write_text(f"{path.stem}:\n  _target_: own_terms.{target}\n{weight}")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_terms", None)
    return ["--config-dir", str(tmp_path / "configs"), "metrics=mae"]


def logged(run: Path, name: str) -> list[float]:
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_from_training_to_every_use(
    own: list[str], command: Command, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    words = (
        *own,
        *tiny_overrides["train"],
        "loss=[standard,area]",
        "+loss.area.scale=2.0",
        "panels=0",
        "schedule=constant",
    )
    trained = command("train", *words)
    assert trained.code == 0, trained.err
    (run,) = (path.parent for path in tmp_path.glob("runs/**/config.yaml"))
    assert len(logged(run, "train/area_loss")) == 8
    assert all(0 < value < 1 for value in logged(run, "train/area_loss"))
    assert len(logged(run, "train/semantic_loss")) == 8
    assert all(0 < value < 1 for value in logged(run, "val/mae"))

    checkpoint = run / "checkpoints" / "best.ckpt"
    sys.modules.pop("own_terms")
    with pytest.raises(CosegError, match=r"area.*trust"):
        load_task(checkpoint)
    network = load_network(checkpoint)  # which has no use for the loss
    assert "own_terms" not in sys.modules
    task = load_task(checkpoint, trust=True)
    assert task.get_parameter("area_loss.scale") != 2  # it was trained
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), task.network.parameters(), strict=True))
    assert load_task(checkpoint, losses={}, metrics={}).weights == {}
    refused = command("train", f"resume={run}")
    assert refused.code == 2 and "trust=true" in refused.err
    assert command("train", f"resume={run}", "trust=true").code == 0

    test = (*tiny_overrides["test"], f"ckpt={checkpoint}", "panels=0", "data.test_pairs=3", "split=seen")
    plain, tested = command("test", *test), command("test", *own, *test)
    assert plain.code == tested.code == 0, plain.err + tested.err
    assert "mae" in tested.out
    (path,) = tmp_path.glob("runs/**/results.json")
    results = json.loads(path.read_text())
    assert results["metrics"] == ["mae"]
    assert 0 < results["mae"] < 1


def test_partial_results_add_up(
    own: list[str], command: Command, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]], trained: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import coseg.evaluation.lightning_test as testing

    best = trained / "checkpoints" / "best.ckpt"
    words = (*own, *tiny_overrides["test"], f"ckpt={best}", "panels=0", "split=seen")
    values = []
    for seconds in (1e9, 0.0):  # everything in one part, or each pair in a part of its own
        monkeypatch.setattr(testing, "WRITE_SECONDS", seconds)
        for unit in ("protocol=paper", "protocol=group"):
            assert command("test", *words, unit).code == 0
            (path,) = trained.glob(f"test/shapes-seen-{unit.partition('=')[2]}/results.json")
            values.append(json.loads(path.read_text())["mae"])
    assert values[:2] == pytest.approx(values[2:], abs=1e-6)


def test_what_cannot_be_used_gives_a_sentence(command: Command, tiny_overrides: dict[str, tuple[str, ...]]) -> None:
    tiny = tiny_overrides["train"]
    for words, names in {
        ("loss.pair.weight=-1",): ("loss.pair.weight", "-1"),
        ("loss.pair=5",): ("loss.pair",),
        ("+loss.mine._target_=os.system",): ("loss.mine", "os.system"),
        ("+loss.mine._target_=torch.optim.SGD",): ("loss.mine",),
        ("+loss.pair.nonsense=1",): ("loss.pair", "nonsense"),
        ("+metrics.jaccard._target_=torchmetrics.MeanMetric",): ("metrics.jaccard", "name"),
        ("+metrics.mine._target_=torch.nn.ReLU",): ("metrics.mine", "ReLU"),
        ("+metrics.mine._target_=torchmetrics.CatMetric", "metrics.mine=7"): ("metrics.mine", "7"),
        ("loss.pair=null", "task.semantic=0"): ("loss",),
    }.items():
        result = command("train", *tiny, *words)
        assert result.code == 2, (words, result.err)
        assert all(name in result.err for name in names), result.err
