"""protocol=group: all images of a class together, from the command to its reports."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from coseg.cli import report
from coseg.data.readers.shapes import ShapesReader
from coseg.errors import CosegError
from coseg.evaluation import lightning_test
from coseg.evaluation.group_test import GroupTest
from coseg.evaluation.iteration import group_masks
from coseg.evaluation.partial_results import Part, PartialResults, keys_of
from coseg.evaluation.score import score
from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.reports.records import GroupRecord, read_records
from coseg.signals import Stopped
from coseg.training.task import load_task

Compose = Callable[..., DictConfig]
READER = ShapesReader(size=48, train=24, val=20, seen=16, unseen=8)


@pytest.fixture
def tested(compose: Compose, run: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> Callable[..., Path]:
    """``tested(*overrides)``: the folder of a test of groups."""

    def test(*overrides: str) -> Path:
        arguments = (*tiny_overrides["test"], "protocol=group", f"ckpt={run / 'checkpoints' / 'best.ckpt'}")
        (folder,) = score(compose("test", *arguments, "split=seen", *overrides))
        return folder

    return test


def test_scores_are_those_of_each_image_in_its_group(tested: Callable[..., Path], run: Path) -> None:
    folder = tested("panels=3")
    assert folder == run / "test" / "shapes-seen-group"
    assert {path.name for path in folder.iterdir()} == {
        "results.json", "config.yaml", "masks.csv", "best.png", "middle.png", "worst.png",
    }  # fmt: skip
    results = json.loads((folder / "results.json").read_text())

    # The same by loops over classes, images and pixels, the group's mean kernel replaced by the mean over all others.
    network = load_task(run / "checkpoints" / "best.ckpt").network.eval()
    assert isinstance(network, CrossCorrelationNetwork)
    catalog = READER.read("seen")
    expected: dict[tuple[str, str], float] = {}
    distractors = []
    inter = union = 0
    for k, name in enumerate(catalog.class_names):
        members = [i for i in range(len(catalog)) if catalog.presence[i, k]]
        if len(members) < 2:
            continue
        with torch.no_grad():
            features = [
                network.encode(torch.from_numpy(catalog.image(i).transpose(2, 0, 1).copy())[None]) for i in members
            ]
            for own, i in zip(features, members, strict=True):
                others = [network.correlation(own, other) for other in features if other is not own]
                joined = network.join(own, torch.stack(others).mean(0))
                labels = catalog.labels(i)
                (logits,) = network.decode([joined], [labels.shape])
                found, truth = logits[0].argmax(0).bool().numpy(), labels == k + 1
                expected[name, catalog.ids[i]] = (found & truth).sum() / (found | truth).sum()
                inter, union = inter + (found & truth).sum(), union + (found | truth).sum()
                distractors.append(bool(((labels > 0) & ~truth).any()))
    records = read_records(folder)
    assert all(isinstance(record, GroupRecord) for record in records)
    means = {record.key: record.mean for record in records}
    assert means == pytest.approx(expected, abs=2e-3)  # a pixel at most tips over
    assert [record.distractors[0] for record in records] == distractors
    groups = {name for name, _ in expected}
    assert (results["pairs"], results["groups"], results["masks"]) == (0, len(groups), len(records))
    assert results["jaccard"] == pytest.approx(np.mean([record.mean for record in records]), abs=1e-6)
    assert results["jaccard_global"] == pytest.approx(inter / union, abs=2e-3)
    class_means = [np.mean([record.mean for record in records if record.classes == (name,)]) for name in groups]
    assert results["jaccard_class_mean"] == pytest.approx(np.mean(class_means), abs=1e-6)
    assert results["complete"] is True and results["protocol"] == "group"
    low, high = results["intervals"]["jaccard"]
    assert low <= results["jaccard"] <= high


def test_a_bound_changes_nothing_but_the_work(tested: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    encode = CrossCorrelationNetwork.encode
    monkeypatch.setattr(
        CrossCorrelationNetwork, "encode", lambda network, image: (encoded.append(1), encode(network, image))[1]
    )
    outcomes: list[Any] = []
    for more in (("panels=0",), ("panels=0", "feature_gb=0")):
        folder = tested(*more)
        results = json.loads((folder / "results.json").read_text())
        del results["seconds"], results["checksum"]
        outcomes.append((results, (folder / "masks.csv").read_text(), len(encoded)))
        encoded.clear()
    assert outcomes[0][:2] == outcomes[1][:2]
    assert outcomes[0][2] == 16, "each image is encoded once"
    assert outcomes[1][2] > 2 * 16


def test_an_interrupted_test_goes_on(tested: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tested("panels=0", "protocol.name=whole")
    written: list[tuple[int, int]] = []
    write = PartialResults.write

    def stopping(partial_results: PartialResults, part: Part) -> None:
        write(partial_results, part)
        written.extend(keys_of([part]))
        if len(written) == 5:  # in the middle of a group
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(PartialResults, "write", stopping)
    monkeypatch.setattr(lightning_test, "WRITE_SECONDS", 0.0)
    with pytest.raises(Stopped):
        tested("panels=0")
    first = list(written)
    folder = tested("panels=0")
    assert len(first) < 10 and not set(first) & set(written[len(first) :])
    assert (folder / "masks.csv").read_text() == (whole / "masks.csv").read_text()
    results = [json.loads((each / "results.json").read_text()) for each in (folder, whole)]
    for each in results:
        del each["seconds"], each["protocol"], each["checksum"]
    assert results[0] == results[1]


def test_processes_share_the_groups() -> None:
    presence = READER.read("seen").presence
    keys = group_masks(presence)
    test = GroupTest.__new__(GroupTest)
    torch.nn.Module.__init__(test)
    test.keys, test.presence = keys, presence
    shares = [test.share(rank, 3) for rank in range(3)]
    assert sorted(key for share in shares for key in share) == keys
    classes = [{k for k, _ in share} for share in shares]
    assert not classes[0] & classes[1] and not classes[1] & classes[2] and not classes[0] & classes[2]


def test_reports_of_groups(tested: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = tested("panels=0"), tested("panels=0", "input_size=32")

    def reported(*arguments: str) -> str:
        with pytest.raises(SystemExit) as left:
            report.main(arguments)
        assert left.value.code == 0
        return capsys.readouterr().out

    table = reported("table", str(a))
    assert "shapes seen, group" in table
    compared = reported("compare", str(a), str(b))
    record = max(
        zip(read_records(a), read_records(b), strict=True), key=lambda both: round(abs(both[0].mean - both[1].mean), 6)
    )[0]
    assert "  ".join(record.key) in compared
    document = json.loads(reported("compare", str(a), str(b), "--json"))
    assert document["changes"][0].keys() == {"group", "id", "classes", "a", "b"}
    pictures = reported("figures", str(a), "--out", str(tmp_path / "figures"), "--pairs", "3").split()
    assert [Path(path).name for path in pictures] == ["shapes-seen-group-1-even.png", "bars-1.png"]


def test_bad_settings_are_told(tested: Callable[..., Path]) -> None:
    with pytest.raises(CosegError, match=r"data\.test_pairs=3.*protocol=group"):
        tested("data.test_pairs=3")
    with pytest.raises(CosegError, match=r"protocol\.unit"):
        tested("protocol.unit=groups")
