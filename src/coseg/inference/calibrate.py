"""Calibrate whether images have a common object, on images of a data set that says it; measure how often it is right.

Pairs that share a class are positive, pairs whose images both hold a class but share none negative; both kinds are
drawn from a seed, as many of each. The regression is fitted on pairs of some images and measured on pairs of others;
so is then that of groups (`coseg.inference.calibrate_groups`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.data.orders import ShuffledPairs, pair_order
from coseg.data.pairs import PairIndex
from coseg.data.permutation import mix
from coseg.errors import CosegError
from coseg.evaluation.bootstrap import interval
from coseg.evaluation.decision import DecisionScores
from coseg.inference.calibrate_groups import collect_groups, measure_groups, which_share
from coseg.inference.commonness import Calibration
from coseg.inference.each_evidence import Progress, each_evidence
from coseg.inference.evidence import evidence_names
from coseg.inference.group_draws import draw_groups
from coseg.inference.grouped import GROUP_EVIDENCE
from coseg.inference.segmenter import CoSegmenter

RIDGE = 0.05
"""Of the regression, for each pair: the channels of the features are many, and few of them tell anything."""

Pairs = Sequence[tuple[int, int]]


def calibrate(
    model: CoSegmenter,
    fitted: Catalog,
    held_out: Catalog | None,
    pairs: int = 1000,
    seed: int = 0,
    order: str = "uniform",
    groups: int = 60,
    progress: Progress | None = None,
) -> Calibration:
    """Fit a `Calibration` on pairs and groups of `fitted` and measure it on those of `held_out`.

    Each image is encoded once for the pairs and once for the groups, each of which is co-segmented once, as `model`
    does it for a user.

    A network knows the images that it was trained on better than others. Fitted on those, the regression is somewhat
    too sure; but it needs many. Where there are enough others, half of those of one catalog, drawn from the seed, can
    be used for the fit and the other half for the measures: leave `held_out` out.

    Args:
        model: whose network, size and device are used.
        fitted: for the fit.
        held_out: for the measures; should share no image with `fitted`. None: see above.
        pairs: of each kind, for the fit and for the measures; fewer where there are not so many.
        seed: of the draw.
        order: of the positive pairs, one of `coseg.data.orders.PAIR_ORDERS`.
        groups: of each kind and size, likewise; 0: those are left uncalibrated. So they are where a data set has no
            group of one of the kinds.
        progress: called with the steps that are done and their number, in each part: images and pairs, or groups.

    Raises:
        CosegError: there is no pair of one of the kinds, `pairs` is not positive, or `groups` negative.
    """
    fit_presence = fitted.presence
    if held_out is None:
        first = np.random.default_rng(mix(seed, 4)).permutation(len(fitted)) < len(fitted) / 2
        held_out, presence = fitted, np.where(first[:, None], False, fitted.presence)
        fit_presence = np.where(first[:, None], fitted.presence, False)
        data = f"half of the images of {fitted.name} {fitted.split}"
    else:
        presence, data = held_out.presence, f"{held_out.name} {held_out.split}"
    fit_pairs, measured = sample(fit_presence, pairs, seed, order), sample(presence, pairs, mix(seed, 1), order)
    evidence = collect(model, fitted, fit_pairs, progress)
    names = evidence_names(model.network, evidence.shape[1])
    calibration = Calibration.fit(names, evidence, half_positive(fit_pairs), RIDGE * len(fit_pairs))
    evidence = collect(model, held_out, measured, progress)
    calibration = measure(calibration, evidence, measured, f"{data}, {order} pairs, seed {seed}")
    if not groups:
        return calibration
    to_fit, to_measure = draw_groups(fit_presence, groups, mix(seed, 5)), draw_groups(presence, groups, mix(seed, 6))
    if not (to_fit and to_measure):
        return calibration
    evidence = collect_groups(model, calibration, fitted, to_fit, progress)
    group = Calibration.fit(GROUP_EVIDENCE, evidence, which_share(to_fit))
    evidence = collect_groups(model, calibration, held_out, to_measure, progress)
    return replace(calibration, group=measure_groups(group, evidence, to_measure, f"{data}, seed {seed}"))


def sample(presence: NDArray[np.bool_], pairs: int, seed: int, order: str = "uniform") -> list[tuple[int, int]]:
    """`pairs` positive pairs and after them as many negative ones, as far as there are.

    Raises:
        CosegError: there is no pair of one of the kinds, or `pairs` is not positive.
    """
    if pairs < 1:
        raise CosegError(f"The number of pairs is {pairs}, but must be positive: 1000, say.")
    count = min(pairs, len(PairIndex(presence)), len(PairIndex(presence, common=False)))
    if not count:
        raise CosegError(
            "A calibration needs pairs with a common class and pairs without one, and this data set has none of one "
            "kind: take one with several classes."
        )
    orders = pair_order(order, presence, mix(seed, 2), count), ShuffledPairs(presence, mix(seed, 3), count, False)
    return [each.pair(0, k) for each in orders for k in range(count)]


def half_positive(pairs: Pairs) -> Tensor:
    """Which of the pairs that `sample` drew are positive, bool (N,)."""
    return torch.arange(len(pairs)) < len(pairs) // 2


def collect(model: CoSegmenter, catalog: Catalog, pairs: Pairs, progress: Progress | None = None) -> Tensor:
    """The evidence of pairs of a catalog, float32 (N, n); each image is read and encoded once."""
    return torch.stack([evidence[0] for evidence in each_evidence(model, catalog, pairs, progress)])


def measure(calibration: Calibration, evidence: Tensor, pairs: Pairs, data: str) -> Calibration:
    """`calibration` with its measures on pairs that `sample` drew, whose evidence is (N, n)."""
    positive = half_positive(pairs)
    logits = calibration.logits(evidence)
    scores = DecisionScores()
    scores.update(positive, torch.zeros(len(pairs)), logits)
    found = scores.compute()
    right = ((logits > 0) == positive).numpy()
    return replace(
        calibration,
        auc=float(found["decision_auc"]),
        accuracy=float(found["decision_accuracy"]),
        interval=interval(pairs, right),
        pairs=len(pairs),
        data=data,
    )
