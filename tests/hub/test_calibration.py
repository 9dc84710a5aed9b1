"""The regression from pair statistics to a probability, and its form in ``config.json``."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from coseg.errors import CosegError
from coseg.hub.calibration import Calibration, group_statistics
from coseg.hub.measures import SizeMeasures


def test_the_regression_finds_the_odds() -> None:
    """Of statistics 1, three of four pairs are positive, of statistics -1 one of four: the log odds are ±log 3."""
    values = torch.tensor([[1.0]] * 4 + [[-1.0]] * 4)
    positive = torch.tensor([True, True, True, False, True, False, False, False])
    found = Calibration.fit(("x",), values, positive, ridge=0)
    assert found.weights[0] == pytest.approx(math.log(3), rel=1e-6)
    assert found.bias == pytest.approx(0, abs=1e-7)
    assert found.probability(torch.tensor([1.0])) == pytest.approx(0.75)
    # With a ridge r, 8 (p - 3/4) + r w = 0 at w, where p = sigmoid(w).
    ridged = Calibration.fit(("x",), values, positive, ridge=2.0).weights[0]
    assert 8 * (1 / (1 + math.exp(-ridged)) - 0.75) + 2 * ridged == pytest.approx(0, abs=1e-7)


def test_the_regression_scales_its_statistics_and_stands_what_never_changes() -> None:
    torch.manual_seed(0)
    positive = torch.arange(200) < 100
    signal = positive.float() + torch.randn(200)
    values = torch.stack((signal, torch.full((200,), 5.0)), 1)
    found = Calibration.fit(("signal", "constant"), values, positive)
    moved = Calibration.fit(("signal", "constant"), values * 1000 - 3, positive)
    torch.testing.assert_close(moved.logits(values * 1000 - 3), found.logits(values), rtol=1e-4, atol=1e-4)
    assert found.weights[0] > 0.5 and abs(found.weights[1]) < 1e-6
    assert float(found.logits(values).sigmoid().mean()) == pytest.approx(0.5, abs=1e-4)  # as it is at the optimum


def test_statistics_that_never_errs_has_an_optimum() -> None:
    values = torch.tensor([[0.0], [0.1], [0.9], [1.0]])
    found = Calibration.fit(("x",), values, torch.tensor([False, False, True, True]))
    assert 0 < found.weights[0] < 10
    assert found.probability(values[3]) > 0.5 > found.probability(values[0])


def test_no_fit_without_both_kinds_or_of_what_is_not_finite() -> None:
    with pytest.raises(CosegError, match=r"pairs.*without"):
        Calibration.fit(("x",), torch.rand(3, 1), torch.ones(3, dtype=torch.bool))
    with pytest.raises(CosegError, match="not finite"):
        Calibration.fit(("x",), torch.full((2, 1), math.nan), torch.tensor([True, False]))


def test_a_calibration_comes_back_from_json() -> None:
    made = Calibration(("a", "b"), (0.0, 1.0), (1.0, 2.0), (3.0, -4.0), 0.5, 0.9, 0.8, (0.7, 0.85), 2000, "voc val")
    assert Calibration.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    unmeasured = Calibration(("a",), (0.0,), (1.0,), (1.0,), 0.0)
    text = json.dumps(unmeasured.to_dict(), allow_nan=False)
    again = Calibration.from_dict(json.loads(text))
    assert math.isnan(again.auc) and math.isnan(again.accuracy) and again.weights == unmeasured.weights


GROUP = Calibration(
    ("pair_logit", "pair_logit_by_size"), (0.0, 0.0), (1.0, 1.0), (1.0, 2.0), 0.5, pairs=30, data="voc",
    sizes=(SizeMeasures(3, 20, 0.75, (0.5, 0.9)), SizeMeasures(10, 10, 0.9, (0.7, 1.0), 0.95)),
)  # fmt: skip
PAIRS = Calibration(("x",), (0.0,), (1.0,), (2.0,), 0.0, accuracy=0.7, pairs=8, data="coco")


def test_a_group_is_told_of_by_its_own_calibration() -> None:
    statistics = torch.tensor([[0.5], [1.0], [-0.6]])  # of the pairs of three images; logits 1, 2, -1.2, mean 0.6
    made = replace(PAIRS, group=GROUP)
    assert made.common(statistics, 3) == pytest.approx(1 / (1 + math.exp(-0.5 - 0.6 - 1.2 * math.log(1.5))))
    assert made.common(statistics[:1], 2) == pytest.approx(1 / (1 + math.exp(-1)))
    alone = sum(1 / (1 + math.exp(-logit)) for logit in (1, 2, -1.2)) / 3
    assert PAIRS.common(statistics, 3) == pytest.approx(alone)


def test_measures_are_those_of_the_largest_size_that_is_not_larger() -> None:
    made = replace(PAIRS, group=GROUP)
    for n, size in ((3, 3), (9, 3), (10, 10)):
        found = made.measured(n)
        assert found is not None and (found[0].size, found[1]) == (size, "voc")
    pair = made.measured(2)
    assert pair is not None and (pair[0].groups, pair[0].accuracy, pair[1]) == (8, 0.7, "coco")
    assert PAIRS.measured(3) is None and made.measured(500) is None
    assert replace(PAIRS, pairs=0).measured(2) is None


def test_a_calibration_of_groups_comes_back_from_json() -> None:
    made = replace(PAIRS, group=GROUP)
    values = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert values["group"]["sizes"][0]["auc"] is None
    again = Calibration.from_dict(values)
    assert again.group is not None and again.group.weights == GROUP.weights and again.group.sizes[1] == GROUP.sizes[1]
    assert "group" not in PAIRS.to_dict() and "sizes" not in PAIRS.to_dict()  # as it was before there were groups
    for damage in ({"group": [1]}, {"group": {"names": ["a"]}}, {"sizes": [{"size": 3}]}, {"sizes": 3}):
        with pytest.raises(CosegError, match="damaged"):
            Calibration.from_dict(values | damage)


@pytest.mark.parametrize(
    "change",
    [{"weights": [1.0]}, {"scale": [1.0, 0.0]}, {"mean": None}, {"bias": "high"}, {"names": 3}, {"interval": [1]}],
    ids=str,
)
def test_a_damaged_calibration_is_refused(change: dict[str, object]) -> None:
    made = Calibration(("a", "b"), (0.0, 1.0), (1.0, 2.0), (3.0, -4.0), 0.5).to_dict()
    with pytest.raises(CosegError, match="damaged"):
        Calibration.from_dict(made | change)
    with pytest.raises(CosegError, match="damaged"):
        Calibration.from_dict([1])  # type: ignore[arg-type]


def test_statistics_of_a_group() -> None:
    logits = torch.tensor([1.0, -2.0, 4.0])
    assert group_statistics(logits, 3).tolist() == pytest.approx([1, math.log(1.5)])
    assert (
        group_statistics(logits, 20).tolist()
        == group_statistics(logits, 300).tolist()
        == pytest.approx([1, math.log(10)])
    )
