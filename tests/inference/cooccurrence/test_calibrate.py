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
from coseg.hub.calibration import GROUP_STATISTICS, Calibration
from coseg.hub.settings import settings_of
from coseg.inference.cooccurrence.calibrate import (
    calibrate,
    collect_pairs,
    groups_interval,
    measure_groups,
    measure_pairs,
)
from coseg.inference.cooccurrence.known_samples import Group, sample_pairs
from coseg.inference.cooccurrence.statistics import SIMILARITIES


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


def test_each_image_is_read_once_and_statistics_is_that_of_the_pair(model: CoSegmenter) -> None:
    catalog = Grounds(9)
    pairs = sample_pairs(catalog.presence, 9, seed=0)
    steps: list[tuple[int, int]] = []
    found = collect_pairs(model, catalog, pairs, lambda done, total: steps.append((done, total)))
    assert set(catalog.reads.values()) == {1} and len(catalog.reads) <= 9
    assert steps[-1] == (len(catalog.reads) + 18, len(catalog.reads) + 18) and len(steps) == steps[-1][0]
    i, j = pairs[3]
    expected = model.pair_statistics(model.encode(catalog.image(i)), model.encode(catalog.image(j)))
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

    monkeypatch.setattr("coseg.inference.cooccurrence.calibrate.collect_pairs", noted)
    found = calibrate(model, Grounds(30), None, pairs=200, groups=0)
    assert found.group is None
    assert len(drawn[0]) == len(drawn[1]) == 15 and not drawn[0] & drawn[1]
    assert found.data == "half of the images of grounds some, uniform pairs, seed 0"


def test_measures_are_counted_by_hand() -> None:
    calibration = Calibration(("x",), (0.0,), (1.0,), (1.0,), 0.0)
    statistics = torch.tensor([[2.0], [-1.0], [-2.0], [1.0]])  # the first two are positive
    found = measure_pairs(calibration, statistics, [(0, 1), (2, 3), (0, 2), (1, 3)], "four pairs")
    assert (found.accuracy, found.pairs, found.data) == (0.5, 4, "four pairs")
    assert found.auc == 0.75  # of the four pairs of a positive and a negative one, three are in order


def test_measures_of_groups_are_counted_by_hand() -> None:
    calibration = Calibration(GROUP_STATISTICS, (0.0, 0.0), (1.0, 1.0), (1.0, 0.0), 0.0)
    groups = [
        Group((0, 1, 2), True),
        Group((3, 4, 5), False),
        Group((0, 1, 2, 3, 4), True),
        Group((1, 2, 3, 4, 5), False),
    ]
    statistics = torch.tensor([[1.0, 9.0], [-1.0, 9.0], [-1.0, 9.0], [-2.0, 9.0]])
    found = measure_groups(calibration, statistics, groups, "four groups")
    assert (found.accuracy, found.auc, found.pairs, found.data) == (0.75, 0.875, 4, "four groups")
    assert [(each.size, each.groups, each.accuracy, each.auc) for each in found.sizes] == [(3, 2, 1, 1), (5, 2, 0.5, 1)]


def test_the_interval_over_groups_is_wilsons_of_as_many_independent_groups_as_there_are_images_for() -> None:
    apart = [(k, k + 100, k + 200) for k in range(10)]
    assert groups_interval(apart, 1.0) == (pytest.approx(1 / (1 + 1.96**2 / 10)), 1)
    assert groups_interval([(0, 1, 2)] * 10, 1.0) == (pytest.approx(1 / (1 + 1.96**2)), 1)  # one group, ten times
    assert groups_interval([*apart, *apart], 0.5) == groups_interval(apart, 0.5)


def test_the_interval_over_groups_holds_the_truth() -> None:
    """Images are easy or hard; the accuracy on a group depends on how many of its images are easy."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        easy = rng.random(40) < 0.5
        groups = [rng.choice(40, 5, replace=False).tolist() for _ in range(150)]
        right = rng.random(150) < np.array([0.5 + 0.5 * easy[group].mean() for group in groups])
        low, high = groups_interval(groups, float(right.mean()))
        held += low <= 0.75 <= high
    assert held >= 190
