"""A finished test, read from the folder of its results, and predicted once more."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from coseg.errors import CosegError
from coseg.evaluation import predictions  # not its functions: pytest would take `tested` for a test
from coseg.evaluation.score import score
from coseg.metrics.mask_counts import mask_score
from coseg.models.base import CosegNetwork
from coseg.models.conditional_siamese import ConditionalSiameseNetwork
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.mirrored import MirroredNetwork
from coseg.models.siamese import SiameseNetwork
from coseg.reports.records import read_records

Compose = Callable[..., DictConfig]


@pytest.fixture(scope="module", params=["paper", "group"])
def folder(
    request: pytest.FixtureRequest, compose: Compose, trained: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> Path:
    """The results of a test of pairs, and of one of groups."""
    words = (f"ckpt={trained / 'checkpoints' / 'last.ckpt'}", "split=seen", "panels=0", f"protocol={request.param}")
    return score(compose("test", *tiny_overrides["test"], *words))[0]


def test_predictions_have_the_scores_of_the_records(folder: Path) -> None:
    records = read_records(folder)[-3:]
    rows = predictions.predicted_records(folder, records)
    assert [len(row) for row in rows] == [len(record.images) for record in records]
    for record, row in zip(records, rows, strict=True):
        for side, jaccard in zip(row, record.jaccards, strict=True):
            assert side.prediction is not None
            iou = mask_score(torch.from_numpy(side.prediction), torch.from_numpy(side.target), "background").iou
            assert float(iou) == pytest.approx(jaccard, abs=2e-3)  # a pixel at most tips over
    network, datamodule = predictions.tested(folder)
    assert not network.training
    again = predictions.predict_records(records, network, datamodule.catalog("test"), "background", 1e-9)
    assert [[side.caption for side in row] for row in again] == [[side.caption for side in row] for row in rows]


def test_records_of_other_images_are_refused(folder: Path) -> None:
    record = read_records(folder)[0]
    for wrong in (record._replace(i=1000), record._replace(i=record.i + 1)):
        with pytest.raises(CosegError, match="other images"):
            predictions.predicted_records(folder, [wrong])


def test_a_missing_or_damaged_configuration_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CosegError, match=r"no config\.yaml"):
        predictions.tested_config(tmp_path)
    shutil.copy(folder / "config.yaml", tmp_path)
    assert predictions.tested_config(tmp_path).split == "seen"
    lines = (tmp_path / "config.yaml").read_text().splitlines(keepends=True)
    (tmp_path / "config.yaml").write_text("".join(line for line in lines if not line.startswith("split:")))
    with pytest.raises(CosegError, match=r"config\.yaml is damaged.*split"):
        predictions.tested_config(tmp_path)


def as_tested(network: CosegNetwork, models: float = 0.5, **settings: object) -> CosegNetwork:
    return predictions.as_tested(network, models, DictConfig({"input_size": None, **settings}))


def test_networks_are_as_the_test_wants_them() -> None:
    encoder = VGG16Encoder(width=0.125)
    network = SiameseNetwork(encoder)
    assert as_tested(network) is network and network.input_size is None
    assert as_tested(network, input_size=64).input_size == 64
    assert isinstance(as_tested(network, mirrored=True), MirroredNetwork)
    with pytest.raises(CosegError, match="input_size"):
        as_tested(network, input_size=-1)
    with pytest.raises(CosegError, match="mirrored"):
        as_tested(ConditionalSiameseNetwork(encoder), mirrored=True)


@pytest.mark.parametrize(
    ("models", "of_test", "expected"), [(0.75, None, 0.75), (0.75, 0.6, 0.6), (0.5, 0.25, 0.25), (0.75, 0.5, None)]
)
def test_the_threshold_of_a_test_has_precedence_over_that_of_the_model(
    models: float, of_test: float | None, expected: float | None
) -> None:
    network = as_tested(SiameseNetwork(VGG16Encoder(width=0.125)), models, threshold=of_test)
    assert getattr(network, "threshold", None) == expected


def test_a_threshold_that_loses_a_decision_is_refused() -> None:
    with pytest.raises(CosegError, match="threshold"):
        as_tested(ConditionalSiameseNetwork(VGG16Encoder(width=0.125)), 0.75)
    with pytest.raises(CosegError, match="threshold"):
        as_tested(SiameseNetwork(VGG16Encoder(width=0.125)), threshold=2.0)
