"""Image-level decisions: how well a network classifies pairs as with or without a common object."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_accuracy, binary_auroc
from torchmetrics.utilities import dim_zero_cat

from coseg.metrics.mask_counts import KEY, counts_from_table


class DecisionScores(Metric):
    """Scores over positive pairs, which share a class, and negative ones, whose masks should be empty.

    - ``decision_accuracy``: the share of the pairs that are classified correctly; a logit above 0 means a common
      object.
    - ``decision_auc``: the area under the ROC curve over all thresholds of the logit: the probability that a positive
      pair has a larger logit than a negative pair.
    - ``foreground_auc``: the same of the share of pixels that are predicted foreground, the mean of both images. It
      needs no image-level classifier: empty masks for pairs with nothing in common are a decision, too.
    - ``false_foreground``: the share of pixels predicted foreground in negative pairs, the mean over the pairs.

    The first two are nan for a network without an image-level classifier; all but the accuracy are nan without a
    negative pair, and the areas without a positive one.

    The states are lists with a number for each pair, concatenated over processes: only one process may see a pair.

    >>> scores = DecisionScores()
    >>> foreground = torch.tensor([0.3, 0.1, 0.2, 0.0])
    >>> positive = torch.tensor([True, True, False, False])
    >>> scores.update(positive, foreground, torch.tensor([2.0, -1.0, -2.0, -3.0]))
    >>> {name: round(value.item(), 3) for name, value in scores.compute().items()}
    {'decision_accuracy': 0.75, 'decision_auc': 1.0, 'foreground_auc': 0.75, 'false_foreground': 0.1}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    positive: list[Tensor]
    foreground: list[Tensor]
    decision: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("positive", "foreground", "decision"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, positive: Tensor, foreground: Tensor, decision: Tensor | None = None) -> None:
        """Add B pairs.

        Args:
            positive: bool (B,), whether a pair has a common class.
            foreground: (B,), see `foreground_share`.
            decision: (B,), the logits of the image-level classifier; None, or nan, where the network has none.
        """
        self.positive.append(positive)
        self.foreground.append(foreground.double())
        nothing = torch.full_like(foreground.double(), torch.nan)
        self.decision.append(nothing if decision is None else decision.double())

    def compute(self) -> dict[str, Tensor]:
        """The scores named in `coseg.metrics.DECISION_SCORES`: 0 to 1, or nan; 0-dimensional, float64."""
        positive, foreground = dim_zero_cat(self.positive), dim_zero_cat(self.foreground)
        decision = dim_zero_cat(self.decision)
        nan = torch.full((), torch.nan, dtype=torch.float64, device=foreground.device)
        has_classifier = not decision.isnan().any()
        return {
            "decision_accuracy": binary_accuracy((decision > 0).long(), positive.long()).double()
            if has_classifier
            else nan,
            "decision_auc": _area(decision, positive) if has_classifier else nan,
            "foreground_auc": _area(foreground, positive),
            "false_foreground": foreground[~positive].mean() if not positive.all() else nan,
        }


def _area(scores: Tensor, positive: Tensor) -> Tensor:
    if positive.all() or not positive.any():
        return torch.full((), torch.nan, dtype=torch.float64, device=scores.device)
    # Ranks, not the logits: torchmetrics makes probabilities of these, and large ones would become equal.
    _, ranks = scores.unique(return_inverse=True)
    return binary_auroc(ranks.double() / max(1, int(ranks.max())), positive.long()).double()


def foreground_share(prediction_a: Tensor, prediction_b: Tensor) -> Tensor:
    """The share of the pixels that are predicted foreground, the mean of both images of B pairs: float64 (B,).

    Args:
        prediction_a: bool (B, H, W).
        prediction_b: bool (B, H', W').
    """
    return (prediction_a.double().mean((1, 2)) + prediction_b.double().mean((1, 2))) / 2


class PairDecisions:
    """The image-level decisions on the tested pairs, by a classifier or by the predicted foreground.

    Args:
        table: int64 (N, 14), see `coseg.metrics.mask_counts.counts_table`.
        positive: bool (N,), whether the pair has a common class.
        decisions: float64 (N,), the logits; nan where there is no classifier.
    """

    def __init__(self, table: NDArray[np.int64], positive: NDArray[np.bool_], decisions: NDArray[np.float64]) -> None:
        self.pairs = table[:, :KEY]
        self.positive = positive
        self.decisions = decisions
        shares = [
            (mask.intersection + mask.union - mask.truth).double() / mask.counted.clamp(min=1)
            for mask in counts_from_table(torch.from_numpy(table))
        ]
        self.foreground: NDArray[np.float64] = torch.stack(shares).mean(0).numpy()

    def block(self) -> dict[str, float]:
        """The numbers of positive and negative pairs, and `DecisionScores`."""
        scores = DecisionScores(sync_on_compute=False)
        scores.update(*(torch.from_numpy(values) for values in (self.positive, self.foreground, self.decisions)))
        positives = int(self.positive.sum())
        values = {name: value.item() for name, value in scores.compute().items()}
        return {"positives": positives, "negatives": len(self.positive) - positives, **values}
