"""Whether a pair has a common object at all: how well a network tells, on pairs with and without one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_accuracy, binary_auroc
from torchmetrics.utilities import dim_zero_cat


class DecisionScores(Metric):
    """Scores over positive pairs, which share a class, and negative ones, whose masks should be empty.

    - ``decision_accuracy``: the share of the pairs whose decision is right; a logit above 0 means a common object.
    - ``decision_auc``: the area under the curve of hits against false alarms, over all thresholds of the logit: the
      probability that a positive pair has a larger one than a negative pair.
    - ``foreground_auc``: likewise of the share of pixels that the masks mark, the mean of both images. It takes no
      decision network: a network that marks nothing where nothing is common decides by that.
    - ``false_foreground``: the share of pixels marked in the images of negative pairs, the mean over the pairs.

    The first two are nan for a network that decides nothing; all but the accuracy without a negative pair, and the
    areas without a positive one.

    The states are lists with a number for each pair, put together over processes: each pair must be seen by one alone.

    >>> scores = DecisionScores()
    >>> marked = torch.tensor([0.3, 0.1, 0.2, 0.0])
    >>> scores.update(torch.tensor([True, True, False, False]), marked, torch.tensor([2.0, -1.0, -2.0, -3.0]))
    >>> {name: round(value.item(), 3) for name, value in scores.compute().items()}
    {'decision_accuracy': 0.75, 'decision_auc': 1.0, 'foreground_auc': 0.75, 'false_foreground': 0.1}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    positive: list[Tensor]
    marked: list[Tensor]
    decision: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("positive", "marked", "decision"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, positive: Tensor, marked: Tensor, decision: Tensor | None = None) -> None:
        """Add B pairs.

        Args:
            positive: bool (B,), whether a pair has a common class.
            marked: (B,), see `marked_share`.
            decision: (B,), the logits of a `DecidingNetwork`; None, or nan, for one that decides nothing.
        """
        self.positive.append(positive)
        self.marked.append(marked.double())
        self.decision.append(torch.full_like(marked.double(), torch.nan) if decision is None else decision.double())

    def compute(self) -> dict[str, Tensor]:
        """The scores named in `DECISION_SCORES`: 0 to 1, or nan; 0-dimensional, float64."""
        positive, marked, decision = (dim_zero_cat(each) for each in (self.positive, self.marked, self.decision))
        nan = torch.full((), torch.nan, dtype=torch.float64, device=marked.device)
        decides = not decision.isnan().any()
        return {
            "decision_accuracy": binary_accuracy((decision > 0).long(), positive.long()).double() if decides else nan,
            "decision_auc": _area(decision, positive) if decides else nan,
            "foreground_auc": _area(marked, positive),
            "false_foreground": marked[~positive].mean() if not positive.all() else nan,
        }


def _area(scores: Tensor, positive: Tensor) -> Tensor:
    if positive.all() or not positive.any():
        return torch.full((), torch.nan, dtype=torch.float64, device=scores.device)
    # Ranks, not the logits: torchmetrics makes probabilities of these, and large ones would become equal.
    _, ranks = scores.unique(return_inverse=True)
    return binary_auroc(ranks.double() / max(1, int(ranks.max())), positive.long()).double()


def marked_share(prediction_a: Tensor, prediction_b: Tensor) -> Tensor:
    """The share of the pixels that the masks of B pairs mark, the mean of both images: float64 (B,).

    Args:
        prediction_a: bool (B, H, W).
        prediction_b: bool (B, H', W').
    """
    return (prediction_a.double().mean((1, 2)) + prediction_b.double().mean((1, 2))) / 2
