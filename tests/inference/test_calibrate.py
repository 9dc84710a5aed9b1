"""Calibration on pairs whose answer is known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_networks import network_config, tiny_network

from coseg import CoSegmenter
from coseg.data.catalog import Catalog
from coseg.errors import CosegError
from coseg.inference.calibrate import calibrate, collect, half_positive, measure, sample
from coseg.inference.calibrate_groups import measure_groups
from coseg.inference.commonness import Calibration
from coseg.inference.evidence import SIMILARITIES
from coseg.inference.group_draws import Group
from coseg.inference.grouped import GROUP_EVIDENCE
from coseg.inference.pretrained import settings_of


class Grounds(Catalog):
    """Images of one colour for each class, with a little noise; counts how often each is read."""

    def __init__(self, images: int, classes: int = 3, seed: int = 0) -> None:
        self.classes = np.arange(images) % classes
        presence = np.eye(classes, dtype=bool)[self.classes]
        super().__init__(
            "grounds", "some", [f"{k}" for k in range(images)], [f"c{k}" for k in range(classes)], presence
        )
        self.seed = seed
        self.reads: Counter[int] = Counter()

    def image(self, i: int) -> NDArray[np.uint8]:
        self.reads[i] += 1
        colour = np.zeros((24, 24, 3), np.uint8)
        colour[..., self.classes[i]] = 220
        return colour + np.random.default_rng((self.seed, i)).integers(0, 30, colour.shape, np.uint8)

    def labels(self, i: int) -> NDArray[np.uint8]:
        raise AssertionError("a calibration needs no masks")


@pytest.fixture(scope="module")
def model() -> CoSegmenter:
    config = network_config()
    network = tiny_network(config)
    return CoSegmenter(network, settings_of(config, network), "cpu")


def test_pairs_are_half_positive_and_drawn_once() -> None:
    presence = Grounds(30).presence
    pairs = sample(presence, 40, seed=0)
    common = [bool((presence[i] & presence[j]).any()) for i, j in pairs]
    assert common == half_positive(pairs).tolist() == [True] * 40 + [False] * 40
    assert len(set(pairs)) == 80
    assert pairs == sample(presence, 40, seed=0) != sample(presence, 40, seed=1)
    assert len(sample(presence[:6], 1000, seed=0)) == 6  # there are only three positive pairs
    balanced = sample(presence, 3, 0, "class_balanced")
    assert sorted(int(presence[i].argmax()) for i, _ in balanced[:3]) == [0, 1, 2]


def test_data_without_both_kinds_are_refused() -> None:
    for catalog in (Grounds(4, classes=1), Grounds(3, classes=3)):
        with pytest.raises(CosegError, match="none of one kind"):
            sample(catalog.presence, 10, seed=0)
    with pytest.raises(CosegError, match="must be positive"):
        sample(Grounds(9).presence, 0, seed=0)


def test_each_image_is_read_once_and_evidence_is_that_of_the_pair(model: CoSegmenter) -> None:
    catalog = Grounds(9)
    pairs = sample(catalog.presence, 9, seed=0)
    steps: list[tuple[int, int]] = []
    found = collect(model, catalog, pairs, lambda done, total: steps.append((done, total)))
    assert set(catalog.reads.values()) == {1} and len(catalog.reads) <= 9
    assert steps[-1] == (len(catalog.reads) + 18, len(catalog.reads) + 18) and len(steps) == steps[-1][0]
    i, j = pairs[3]
    expected = model.evidence(model.encode(catalog.image(i)), model.encode(catalog.image(j)))
    torch.testing.assert_close(found[3], expected[0])


def test_colours_that_tell_the_classes_are_learned(model: CoSegmenter) -> None:
    """Even of a network that was not trained, the features of a red and of a green image differ."""
    train, val = Grounds(45), Grounds(30, seed=1)
    found = calibrate(model, train, val, pairs=40)
    assert found.names[:7] == SIMILARITIES and len(found.names) == 7 + 2 * 64 and found.pairs == 80
    assert found.auc > 0.95 and found.accuracy > 0.9
    assert found.interval[0] <= found.accuracy <= found.interval[1] <= 1
    assert found.data == "grounds some, uniform pairs, seed 0"
    group = found.group
    assert group is not None and [each.size for each in group.sizes] == [3]  # there are no five classes
    assert group.accuracy > 0.9 and group.pairs == group.sizes[0].groups >= 60
    assert group.data == "grounds some, seed 0"
    model.calibration = found
    assert model.pair(val.image(0), val.image(3)).shares is True
    assert model.pair(val.image(0), val.image(1)).shares is False
    assert model.group([val.image(k) for k in (0, 3, 6)]).shares is True
    assert model.group([val.image(k) for k in (0, 1, 2)]).shares is False


def test_data_without_groups_leave_them_uncalibrated(model: CoSegmenter) -> None:
    assert calibrate(model, Grounds(12, classes=2), Grounds(12, classes=2, seed=1), pairs=5).group is None


def test_one_catalog_is_halved(model: CoSegmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[set[int]] = []

    def noted(model: CoSegmenter, catalog: Catalog, pairs: list[tuple[int, int]], progress: object) -> torch.Tensor:
        drawn.append({i for pair in pairs for i in pair})
        return torch.rand(len(pairs), len(SIMILARITIES))

    monkeypatch.setattr("coseg.inference.calibrate.collect", noted)
    found = calibrate(model, Grounds(30), None, pairs=200, groups=0)
    assert found.group is None
    assert len(drawn[0]) == len(drawn[1]) == 15 and not drawn[0] & drawn[1]
    assert found.data == "half of the images of grounds some, uniform pairs, seed 0"


def test_measures_are_counted_by_hand() -> None:
    calibration = Calibration(("x",), (0.0,), (1.0,), (1.0,), 0.0)
    evidence = torch.tensor([[2.0], [-1.0], [-2.0], [1.0]])  # the first two are positive
    found = measure(calibration, evidence, [(0, 1), (2, 3), (0, 2), (1, 3)], "four pairs")
    assert (found.accuracy, found.pairs, found.data) == (0.5, 4, "four pairs")
    assert found.auc == 0.75  # of the four pairs of a positive and a negative one, three are in order


def test_measures_of_groups_are_counted_by_hand() -> None:
    calibration = Calibration(GROUP_EVIDENCE, (0.0, 0.0), (1.0, 1.0), (1.0, 0.0), 0.0)
    groups = [
        Group((0, 1, 2), True),
        Group((3, 4, 5), False),
        Group((0, 1, 2, 3, 4), True),
        Group((1, 2, 3, 4, 5), False),
    ]
    evidence = torch.tensor([[1.0, 9.0], [-1.0, 9.0], [-1.0, 9.0], [-2.0, 9.0]])
    found = measure_groups(calibration, evidence, groups, "four groups")
    assert (found.accuracy, found.auc, found.pairs, found.data) == (0.75, 0.875, 4, "four groups")
    assert [(each.size, each.groups, each.accuracy, each.auc) for each in found.sizes] == [(3, 2, 1, 1), (5, 2, 0.5, 1)]
