from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from layouts.voc import write_voc
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from coseg.data.readers.shapes import ShapesCatalog, ShapesReader
from coseg.errors import CosegError
from coseg.evaluation import lightning_test
from coseg.evaluation import score as evaluation_score
from coseg.evaluation.iteration import PairGroup
from coseg.evaluation.lightning_test import PairTest
from coseg.evaluation.partial_results import Part, PartialResults
from coseg.evaluation.score import score
from coseg.hub.share import save_pretrained, shareable
from coseg.metrics import SCORES
from coseg.models.correlation import DepthwiseCorrelation
from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.models.features import deepest
from coseg.reports.records import read_records
from coseg.training.task import load_task

Compose = Callable[..., DictConfig]


def config_for(compose: Compose, overrides: dict[str, tuple[str, ...]], checkpoint: Path, *more: str) -> DictConfig:
    return compose("test", *overrides["test"], f"ckpt={checkpoint}", *more)


def test_scores_are_those_of_each_pair(
    compose: Compose, trained: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    checkpoint = trained / "checkpoints" / "last.ckpt"
    (folder,) = score(config_for(compose, tiny_overrides, checkpoint, "split=seen", "panels=2"))
    assert folder == trained / "test" / "shapes-seen-paper"
    results = json.loads((folder / "results.json").read_text())
    keys = "dataset split protocol void images pairs complete jaccard jaccard_class_mean jaccard_global "
    keys += "jaccard_distractor pixel_accuracy per_class baselines model checkpoint input_size seconds"
    assert set(keys.split()) <= results.keys()

    # The same by loops over pixels and pairs, from nothing but the reader and the network.
    network = load_task(checkpoint).network.eval()
    catalog = ShapesReader(size=48, train=24, val=20, seen=16, unseen=8).read("seen")
    ious: list[float] = []
    by_class: dict[int, list[float]] = {}
    distractor: list[float] = []
    accuracy: list[float] = []
    inter = union = pairs = 0
    for i, j in combinations(range(len(catalog)), 2):
        common = np.flatnonzero(catalog.presence[i] & catalog.presence[j])
        if not len(common):
            continue
        pairs += 1
        images = [torch.from_numpy(catalog.image(k).transpose(2, 0, 1).copy())[None] for k in (i, j)]
        with torch.no_grad():
            logits = network(*images)
        for k, side in zip((i, j), logits, strict=True):
            found = (side[0, 1] > side[0, 0]).numpy()
            labels = catalog.labels(k)
            truth = np.isin(labels, common + 1)
            iou = (found & truth).sum() / (found | truth).sum()
            ious.append(iou)
            for each in common:
                by_class.setdefault(int(each), []).append(iou)
            if ((labels > 0) & ~truth).any():
                distractor.append(iou)
            accuracy.append((found == truth).mean())
            inter, union = inter + (found & truth).sum(), union + (found | truth).sum()
    assert (results["images"], results["pairs"]) == (16, pairs)
    expected = {
        "jaccard": np.mean(ious),
        "jaccard_class_mean": np.mean([np.mean(values) for values in by_class.values()]),
        "jaccard_global": inter / union,
        "jaccard_distractor": np.mean(distractor),
        "pixel_accuracy": np.mean(accuracy),
    }
    assert {key: results[key] for key in expected} == pytest.approx(expected, abs=1e-6)
    per_class = {catalog.class_names[k]: np.mean(values) for k, values in by_class.items()}
    assert {k: v for k, v in results["per_class"].items() if v is not None} == pytest.approx(per_class, abs=1e-6)
    assert (results["dataset"], results["split"], results["protocol"], results["void"]) == (
        "shapes",
        "seen",
        "paper",
        "background",
    )
    assert results["complete"] is True
    assert results["model"] == "CrossCorrelationNetwork"
    assert results["checkpoint"] == str(checkpoint)
    assert results["baselines"]["all_objects"] > results["baselines"]["all_foreground"] > 0

    records = read_records(folder)
    assert [score for record in records for score in record.jaccards] == pytest.approx(ious, abs=1e-6)
    for name in ("best", "middle", "worst"):
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) > 48


def test_each_image_is_read_and_encoded_once(
    compose: Compose,
    trained: Path,
    tiny_overrides: dict[str, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: Counter[str] = Counter()

    def counted(owner: type, name: str) -> None:
        method = getattr(owner, name)

        def counting(*arguments: Any) -> Any:
            counts[name] += 1
            return method(*arguments)

        monkeypatch.setattr(owner, name, counting)

    counted(CrossCorrelationNetwork, "encode")
    counted(CrossCorrelationNetwork, "cosegment")
    counted(ShapesCatalog, "image")
    counted(ShapesCatalog, "labels")
    checkpoint = trained / "checkpoints" / "last.ckpt"
    more = ("split=seen", "panels=0")
    (once,) = score(config_for(compose, tiny_overrides, checkpoint, *more, "protocol.name=once"))
    together = counts.pop("cosegment")
    pairs = read_records(once)
    assert counts == {"encode": 16, "image": 16, "labels": 16}
    counts.clear()

    alone = ("protocol.name=alone", "feature_gb=0", "pairs_at_once=1")
    (each,) = score(config_for(compose, tiny_overrides, checkpoint, *more, *alone))
    assert counts["cosegment"] == len(pairs) > 2 * together
    assert counts["encode"] == counts["image"] == counts["labels"] > 16
    assert [record[:2] for record in read_records(each)] == [record[:2] for record in pairs]
    results = [json.loads((folder / "results.json").read_text()) for folder in (once, each)]
    for name in SCORES:
        assert results[0][name] == pytest.approx(results[1][name], abs=1e-4)
    assert results[0]["baselines"] == pytest.approx(results[1]["baselines"], abs=1e-6)

    for bad in ("pairs_at_once=0", "pairs_at_once=many", "feature_gb=-1"):
        with pytest.raises(CosegError, match=f"^{bad.partition('=')[0]} .*{bad.partition('=')[2]}"):
            score(config_for(compose, tiny_overrides, checkpoint, *more, "protocol.name=bad", bad))


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_another_precision(
    precision: str, compose: Compose, trained: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    """Nothing but the logits loses digits."""
    checkpoint = trained / "checkpoints" / "best.ckpt"
    found = []
    for name in ("32-true", precision):
        more = ("split=unseen", f"protocol.name={name}", f"trainer.precision={name}", "panels=1")
        (folder,) = score(config_for(compose, tiny_overrides, checkpoint, *more))
        found.append(json.loads((folder / "results.json").read_text()))
        assert (folder / "worst.png").is_file()
    assert found[0]["baselines"] == found[1]["baselines"]
    assert found[0]["pairs"] == found[1]["pairs"]
    for name in SCORES:
        assert found[0][name] == pytest.approx(found[1][name], abs=0.02)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision_is_of_matching_and_decoding_alone(
    precision: str,
    compose: Compose,
    trained: Path,
    tiny_overrides: dict[str, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Images are encoded in float32 and matched in half precision; pictures are in float32, of a resumed test, too."""
    encoded: set[torch.dtype] = set()
    matched: list[torch.dtype] = []

    def encode(network: CrossCorrelationNetwork, images: Tensor) -> Any:
        features = true_encode(network, images)
        encoded.add(deepest(features).dtype)
        return features

    def correlate(correlation: DepthwiseCorrelation, features: Tensor, kernels: Sequence[Tensor]) -> Tensor:
        matched.append(features.dtype)
        return true_correlate(correlation, features, kernels)

    true_encode, true_correlate = CrossCorrelationNetwork.encode, DepthwiseCorrelation.correlate
    monkeypatch.setattr(CrossCorrelationNetwork, "encode", encode)
    monkeypatch.setattr(DepthwiseCorrelation, "correlate", correlate)
    more = ("split=unseen", f"protocol.name={precision}", f"trainer.precision={precision}", "panels=1")
    config = config_for(compose, tiny_overrides, trained / "checkpoints" / "best.ckpt", *more)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation_score, "write_outcome", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            score(config)
    assert encoded == {torch.float32} and set(matched) == {torch.bfloat16}
    matched.clear()
    (folder,) = score(config)  # nothing is left but the pictures
    assert (folder / "worst.png").is_file()
    assert encoded == set(matched) == {torch.float32}


def test_finished_pairs_are_on_disk_in_time(
    compose: Compose,
    trained: Path,
    tiny_overrides: dict[str, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock on which an image takes 3 seconds and a group of pairs 2."""
    now = 0.0
    finished: list[float] = []  # and not written
    ages: list[float] = []
    encode, score_group, write = CrossCorrelationNetwork.encode, PairTest.score, PartialResults.write

    def encoding(network: CrossCorrelationNetwork, image: torch.Tensor) -> Any:
        nonlocal now
        now += 3
        return encode(network, image)

    def scoring(test: PairTest, group: PairGroup) -> None:
        nonlocal now
        now += 2
        score_group(test, group)
        finished.append(now)

    def writing(partial_results: PartialResults, part: Part) -> None:
        write(partial_results, part)
        ages.append(now - finished[0])
        finished.clear()

    monkeypatch.setattr(CrossCorrelationNetwork, "encode", encoding)
    monkeypatch.setattr(PairTest, "score", scoring)
    monkeypatch.setattr(PartialResults, "write", writing)
    monkeypatch.setattr(lightning_test, "time", SimpleNamespace(monotonic=lambda: now))
    more = ("split=seen", "protocol.name=clock", "panels=0")
    score(config_for(compose, tiny_overrides, trained / "checkpoints" / "best.ckpt", *more))
    assert max(ages) < 10 and not finished, "a kill would cost more than the last 10 seconds"
    assert 3 < len(ages) < now / lightning_test.WRITE_SECONDS, "every pair by itself went to disk"


def test_a_sample_is_never_complete(
    compose: Compose, trained: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    more = ("split=unseen", "data.test_pairs=3", "protocol.name=sample", "panels=0")
    (folder,) = score(config_for(compose, tiny_overrides, checkpoint, *more))
    results = json.loads((folder / "results.json").read_text())
    assert results["complete"] is False
    assert results["pairs"] == 3
    assert folder.name.endswith("-sample_3")  # not where the whole test lies
    assert not list(folder.glob("*.png"))


def test_another_input_size(compose: Compose, trained: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    more = ("split=unseen", "input_size=32", "panels=0")
    (folder,) = score(config_for(compose, tiny_overrides, checkpoint, *more))
    assert folder.name == "shapes-unseen-paper-size_32"  # not where the scores at the size of training lie
    results = json.loads((folder / "results.json").read_text())
    assert results["input_size"] == 32

    network = load_task(checkpoint).network.eval()
    assert network.input_size is None
    network.input_size = 32
    catalog = ShapesReader(size=48, train=24, val=20, seen=16, unseen=8).read("unseen")
    record = read_records(folder)[0]
    images = [torch.from_numpy(catalog.image(k).transpose(2, 0, 1).copy())[None] for k in (record.i, record.j)]
    with torch.no_grad():
        found = network(*images)[0][0].argmax(0).bool().numpy()
    common = np.flatnonzero(catalog.presence[record.i] & catalog.presence[record.j])
    truth = np.isin(catalog.labels(record.i), common + 1)
    assert record.jaccard_a == pytest.approx((found & truth).sum() / (found | truth).sum(), abs=1e-6)

    for bad in ("0", "big", "[32]"):
        with pytest.raises(CosegError, match=r"^input_size "):
            score(config_for(compose, tiny_overrides, checkpoint, f"input_size={bad}"))


def test_the_threshold_of_the_masks(
    compose: Compose, trained: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    (folder,) = score(config_for(compose, tiny_overrides, checkpoint, "split=unseen", "threshold=0.7", "panels=0"))
    assert folder.name == "shapes-unseen-paper-threshold_0.7"
    network = load_task(checkpoint).network.eval()
    catalog = ShapesReader(size=48, train=24, val=20, seen=16, unseen=8).read("unseen")
    record = read_records(folder)[0]
    a, b = (torch.from_numpy(catalog.image(k).transpose(2, 0, 1).copy())[None] for k in (record.i, record.j))
    with torch.no_grad():
        foreground = network(a, b)[0].softmax(1)[0, 1].numpy() > 0.7
    truth = np.isin(
        catalog.labels(record.i), np.flatnonzero(catalog.presence[record.i] & catalog.presence[record.j]) + 1
    )
    assert record.jaccard_a == pytest.approx((foreground & truth).sum() / (foreground | truth).sum(), abs=1e-6)


def test_mirrored(compose: Compose, trained: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    (folder,) = score(config_for(compose, tiny_overrides, checkpoint, "split=unseen", "mirrored=true", "panels=0"))
    assert folder.name == "shapes-unseen-paper-mirrored"
    results = json.loads((folder / "results.json").read_text())
    assert results["model"] == "CrossCorrelationNetwork, mirrored"

    network = load_task(checkpoint).network.eval()
    catalog = ShapesReader(size=48, train=24, val=20, seen=16, unseen=8).read("unseen")
    record = read_records(folder)[0]
    a, b = (torch.from_numpy(catalog.image(k).transpose(2, 0, 1).copy())[None] for k in (record.i, record.j))
    with torch.no_grad():
        both = network(a, b)[0] + network(a.flip(-1), b.flip(-1))[0].flip(-1)
    found = both[0].argmax(0).bool().numpy()
    common = np.flatnonzero(catalog.presence[record.i] & catalog.presence[record.j])
    truth = np.isin(catalog.labels(record.i), common + 1)
    assert record.jaccard_a == pytest.approx((found & truth).sum() / (found | truth).sum(), abs=1e-6)


def test_all_test_splits_are_tested(
    compose: Compose, trained: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    more = ("protocol.name=all", "protocol.void=ignored", "panels=0")
    folders = score(config_for(compose, tiny_overrides, trained / "checkpoints" / "best.ckpt", *more))
    assert [folder.name for folder in folders] == [
        "shapes-seen-all-void_ignored",
        "shapes-unseen-all-void_ignored",
    ]
    assert all(json.loads((folder / "results.json").read_text())["void"] == "ignored" for folder in folders)


def test_data_with_other_classes_than_those_of_training(
    compose: Compose, trained: Path, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    rng = np.random.default_rng(0)
    items = []
    for k in range(3):
        labels = np.zeros((30 + k, 41), np.uint8)
        labels[5:20, 8:30] = 17  # sheep
        labels[20:24, 8:30] = 255
        items.append((f"{k}", rng.integers(0, 256, (30 + k, 41, 3), dtype=np.uint8), labels))
    write_voc(tmp_path / "voc", items, {"train": ["0", "1"], "val": ["0", "1", "2"]})
    checkpoint = trained / "checkpoints" / "best.ckpt"
    more = ("dataset=voc", f"dataset.root={tmp_path / 'voc'}", "dataset.split_val=false", "panels=0")
    overrides = [each for each in tiny_overrides["test"] if not each.startswith("dataset.reader")]
    (folder,) = score(compose("test", *overrides, f"ckpt={checkpoint}", *more))
    results = json.loads((folder / "results.json").read_text())
    assert (results["dataset"], results["images"], results["pairs"]) == ("voc", 3, 3)
    assert [name for name, value in results["per_class"].items() if value is not None] == ["sheep"]


def test_the_newest_best_checkpoint_is_taken_and_named(
    command: Callable[..., tuple[int, str, str]],
    trained: Path,
    tmp_path: Path,
    tiny_overrides: dict[str, tuple[str, ...]],
) -> None:
    source = (trained / "checkpoints" / "best.ckpt").read_bytes()
    for age, run in ((300, "a/old"), (200, "b/sweeps/x/1"), (0, "demo")):
        path = tmp_path / "runs" / run / "checkpoints" / "best.ckpt"
        path.parent.mkdir(parents=True)
        path.write_bytes(source)
        stamp = path.stat().st_mtime - age
        os.utime(path, (stamp, stamp))
    code, out, err = command("test", *tiny_overrides["test"], "split=seen", "panels=0")
    assert code == 0, err
    assert " runs/b/sweeps/x/1/checkpoints/best.ckpt" in out.splitlines()[0]
    assert (tmp_path / "runs/b/sweeps/x/1/test/shapes-seen-paper/results.json").is_file()


def test_a_shared_model_gives_the_scores_of_its_checkpoint(
    compose: Compose, trained: Path, tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    save_pretrained(tmp_path / "shared", *shareable(checkpoint), half=False)
    own = ("split=unseen", "panels=0", f"runs={tmp_path / 'runs'}")
    (folder,) = score(config_for(compose, tiny_overrides, tmp_path / "shared", *own))
    assert folder == tmp_path / "runs" / "shared" / "test" / "shapes-unseen-paper"  # not into the model's folder
    (wanted,) = score(config_for(compose, tiny_overrides, checkpoint, "split=unseen", "panels=0"))
    found, expected = (json.loads((each / "results.json").read_text()) for each in (folder, wanted))
    assert found["jaccard"] == expected["jaccard"] and found["per_class"] == expected["per_class"]
    with pytest.raises(CosegError, match=r"no model\.safetensors"):
        score(config_for(compose, tiny_overrides, tmp_path, *own))
