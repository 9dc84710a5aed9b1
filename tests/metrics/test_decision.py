"""The scores of decisions, against counts of ordered pairs of pairs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from coseg.metrics import DECISION_SCORES
from coseg.metrics.decision import DecisionScores, foreground_share

GENERATOR = torch.Generator().manual_seed(0)
POSITIVE = torch.rand(40, generator=GENERATOR) < 0.6
DECISION = torch.randn(40, generator=GENERATOR) * 60 + 100 * POSITIVE  # probabilities of these are 0 or 1
FOREGROUND = (torch.rand(40, generator=GENERATOR) * 4).round() / 4  # many equal ones


def area(scores: Tensor, positive: Tensor) -> float:
    """The share of (positive, negative) that are in order; equal ones count half."""
    yes, no = scores[positive].tolist(), scores[~positive].tolist()
    return sum((a > b) + (a == b) / 2 for a in yes for b in no) / (len(yes) * len(no))


def computed(*updates: tuple[Tensor, ...]) -> dict[str, float]:
    scores = DecisionScores()
    for update in updates:
        scores.update(*update)
    return {name: value.item() for name, value in scores.compute().items()}


def test_scores_of_counted_pairs() -> None:
    found = computed(*((POSITIVE[k : k + 3], FOREGROUND[k : k + 3], DECISION[k : k + 3]) for k in range(0, 40, 3)))
    assert tuple(found) == DECISION_SCORES
    right = sum((d > 0) == p for d, p in zip(DECISION.tolist(), POSITIVE.tolist(), strict=True))
    assert found["decision_accuracy"] == pytest.approx(right / 40)
    assert found["decision_auc"] == pytest.approx(area(DECISION, POSITIVE), abs=1e-6)
    assert found["foreground_auc"] == pytest.approx(area(FOREGROUND, POSITIVE), abs=1e-6)
    wrong = [m for m, p in zip(FOREGROUND.tolist(), POSITIVE.tolist(), strict=True) if not p]
    assert found["false_foreground"] == pytest.approx(sum(wrong) / len(wrong))
    assert 0.5 < found["decision_auc"] < 1


def test_scores_that_are_undefined_are_nan() -> None:
    def finite_scores(*update: Tensor) -> set[str]:
        return {name for name, value in computed(update).items() if not math.isnan(value)}

    assert finite_scores(POSITIVE, FOREGROUND) == {"foreground_auc", "false_foreground"}
    assert finite_scores(torch.ones(40, dtype=torch.bool), FOREGROUND) == set()
    assert finite_scores(torch.zeros(40, dtype=torch.bool), FOREGROUND) == {"false_foreground"}


def test_reset() -> None:
    scores = DecisionScores()
    scores.update(POSITIVE, FOREGROUND)
    scores.reset()
    scores.update(~POSITIVE, FOREGROUND)
    assert scores.compute()["foreground_auc"].item() == pytest.approx(area(FOREGROUND, ~POSITIVE), abs=1e-6)


def test_the_share_of_predicted_foreground() -> None:
    a, b = torch.zeros(1, 4, 5, dtype=torch.bool), torch.zeros(1, 2, 5, dtype=torch.bool)
    a[0, :2] = True  # a half
    b[0, 0, :2] = True  # a fifth
    assert foreground_share(a, b).tolist() == pytest.approx([0.35])
