"""Negative pairs from training to results: what is logged, what a test writes, and that all other scores stay."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from coseg.data.readers.shapes import ShapesReader
from coseg.errors import CosegError
from coseg.evaluation import lightning_test
from coseg.evaluation.partial_results import Part, PartialResults, keys_of
from coseg.evaluation.score import score
from coseg.metrics import DECISION_SCORES
from coseg.models.base import PairClassifier
from coseg.training.fit import fit
from coseg.training.task import load_task

Test = Callable[..., Path]


@pytest.fixture(scope="module")
def deciding(tiny: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a tiny training of a network that decides."""
    folder = tmp_path_factory.mktemp("deciding") / "run"
    fit(tiny("model=conditional_siamese", "model.input_size=48", "data.negatives=0.5", "data.val_negatives=4"), folder)
    return folder


@pytest.fixture
def test(compose: Callable[..., DictConfig], tiny_overrides: dict[str, tuple[str, ...]]) -> Test:
    """``test(run, *overrides)``: the folder of the results on the split ``seen``."""

    def run(folder: Path, *more: str) -> Path:
        checkpoint = folder / "checkpoints" / "last.ckpt"
        (results,) = score(
            compose("test", *tiny_overrides["test"], f"ckpt={checkpoint}", "split=seen", "panels=0", *more)
        )
        return results

    return run


def read(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    del results["seconds"], results["checksum"], results["tables"]
    return results


def decisions(folder: Path) -> list[dict[str, str]]:
    with (folder / "decisions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def area(scores: list[float], positive: list[bool]) -> float:
    yes, no = ([s for s, p in zip(scores, positive, strict=True) if p == side] for side in (True, False))
    return sum((a > b) + (a == b) / 2 for a in yes for b in no) / (len(yes) * len(no))


def test_losses_and_scores_are_logged(deciding: Path) -> None:
    with (deciding / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("train/decision_loss", "train/metric_loss"):
        assert [row for row in rows if row[name]], name
    validations = [row for row in rows if row["val/decision_auc"]]
    assert len(validations) == 2
    assert {f"val/{name}" for name in DECISION_SCORES} <= validations[0].keys()


def test_a_decision_without_negative_pairs_is_told(
    tiny: Callable[..., DictConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = ("data.negatives=0", "trainer.fast_dev_run=true")
    fit(tiny("model=conditional_siamese", "model.input_size=48", *more), tmp_path)
    assert "data.negatives=0.3" in caplog.text


def test_negative_pairs_are_scored_apart(deciding: Path, test: Test) -> None:
    folder = test(deciding)
    plain, records = read(folder), (folder / "pairs.csv").read_text()
    assert plain.pop("decision").keys() >= {"positives", "negatives", "decision_accuracy"}
    assert test(deciding, "data.test_negatives=9") == folder
    results = read(folder)
    block = results.pop("decision")
    assert results == plain and (folder / "pairs.csv").read_text() == records

    # The same by a loop over pairs, from nothing but the reader and the network.
    network = load_task(deciding / "checkpoints" / "last.ckpt").network.eval()
    assert isinstance(network, PairClassifier)
    catalog = ShapesReader(size=48, train=24, val=20, seen=16, unseen=8).read("seen")
    written = {(int(record["i"]), int(record["j"])): record for record in decisions(folder)}
    positives = [(i, j) for i, j in combinations(range(16), 2) if (catalog.presence[i] & catalog.presence[j]).any()]
    negatives = [pair for pair in written if pair not in positives]
    assert list(written) == sorted(written) and set(positives) < set(written)
    assert (block["positives"], block["negatives"]) == (len(positives), len(negatives)) == (results["pairs"], 9)
    found: list[float] = []
    foreground: list[float] = []
    for i, j in written:
        a, b = (torch.from_numpy(catalog.image(k).transpose(2, 0, 1).copy())[None] for k in (i, j))
        with torch.no_grad():
            found.append(float(network.classify(network.encode(a), network.encode(b))))
            foreground.append(float(np.mean([(side[0, 1] > side[0, 0]).double().mean() for side in network(a, b)])))
    positive = [pair in positives for pair in written]
    assert [float(record["decision"]) for record in written.values()] == pytest.approx(found, abs=1e-4)
    assert [float(record["foreground"]) for record in written.values()] == pytest.approx(foreground, abs=1e-4)
    assert [record["positive"] == "1" for record in written.values()] == positive
    right = np.mean([(value > 0) == same for value, same in zip(found, positive, strict=True)])
    assert block["decision_accuracy"] == pytest.approx(right, abs=1e-6)
    assert block["decision_auc"] == pytest.approx(area(found, positive), abs=0.01)
    wrong = np.mean([value for value, same in zip(foreground, positive, strict=True) if not same])
    assert block["false_foreground"] == pytest.approx(wrong, abs=1e-4)


def test_a_network_that_decides_nothing(trained: Path, test: Test, capsys: pytest.CaptureFixture[str]) -> None:
    folder = test(trained, "protocol.name=nothing")
    plain = read(folder)
    assert "decision" not in plain and not (folder / "decisions.csv").exists()
    assert test(trained, "protocol.name=nothing", "data.test_negatives=9") == folder
    results = read(folder)
    block = results.pop("decision")
    assert results == plain
    assert block["decision_accuracy"] is block["decision_auc"] is None
    records = decisions(folder)
    foreground = [float(record["foreground"]) for record in records]
    positive = [record["positive"] == "1" for record in records]
    assert block["foreground_auc"] == pytest.approx(area(foreground, positive), abs=0.01)
    assert {record["decision"] for record in records} == {""}
    test(trained, "protocol.name=nothing")
    assert not (folder / "decisions.csv").exists()  # of another test than the results beside it


class Cut(Exception):
    """The test ends here."""


def test_an_interrupted_test_keeps_its_decisions(deciding: Path, test: Test, monkeypatch: pytest.MonkeyPatch) -> None:
    more = ("protocol.name=cut", "data.test_negatives=9")
    folder = test(deciding, *more)
    expected, records = read(folder), (folder / "decisions.csv").read_text()
    monkeypatch.setattr(lightning_test, "WRITE_SECONDS", 0.0)
    write = PartialResults.write
    parts: list[Part] = []

    def cut(partial_results: PartialResults, part: Part) -> None:
        write(partial_results, part)
        parts.append(part)
        if len(parts) == 4:
            raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(PartialResults, "write", cut)
        with pytest.raises(Cut):
            test(deciding, *more)
    assert keys_of(parts)
    assert test(deciding, *more) == folder
    assert read(folder) == expected
    assert (folder / "decisions.csv").read_text() == records


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("data.test_negatives=-1",), r"^data\.test_negatives.*'-1'"),
        (("data.test_negatives=many",), r"^data\.test_negatives.*'many'"),
        (("data.test_negatives=5", "protocol=group"), r"^data\.test_negatives=5.*protocol=group"),
    ],
)
def test_negatives_that_cannot_be_had(trained: Path, test: Test, overrides: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(CosegError, match=sentence):
        test(trained, *overrides)
