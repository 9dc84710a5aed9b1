"""How often a calibration is right on pairs and groups that took no part in its fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.pair_index import mix
from coseg.hub.calibration import Calibration
from coseg.hub.measures import LOWEST, ClassMeasures, Count, SizeMeasures, level
from coseg.inference.cooccurrence.belonging import belonging_values, group_values
from coseg.inference.cooccurrence.known_samples import (
    Group,
    Samples,
    positive_group,
    positive_pairs,
    sample_groups,
    sample_pairs,
)
from coseg.metrics.bootstrap import interval
from coseg.metrics.decision import DecisionScores

if TYPE_CHECKING:
    from coseg.inference.cooccurrence.known_images import KnownImages

_GROUPS = 60  # of a class that is held out, each of five images
_PAIRS = 400  # of such a class, each sort


@dataclass
class Answers:
    """Answers on pairs and groups whose truth is known, of one or more folds.

    Attributes:
        pairs: the images of each pair, of different numbers in each fold.
        pair_logits: of each pair.
        pair_truth: whether it shares a class.
        groups: with and without a common class.
        group_logits: of each.
        mixed: groups with intruders, and some without.
        belonging: of each of them the probability of each image to belong.
    """

    pairs: list[tuple[int, int]] = field(default_factory=list)
    pair_logits: list[float] = field(default_factory=list)
    pair_truth: list[bool] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    group_logits: list[float] = field(default_factory=list)
    mixed: list[Group] = field(default_factory=list)
    belonging: list[list[float]] = field(default_factory=list)

    def add(self, calibration: Calibration, known: KnownImages, presence: NDArray[np.bool_], samples: Samples) -> None:
        """Add the answers of `calibration` on images of `known` that hold a class in `presence`."""
        logits = known.logits(calibration)
        pairs = sample_pairs(presence, samples.pairs, mix(samples.seed, 11))
        self.pairs += pairs
        self.pair_truth += positive_pairs(pairs).tolist()
        self.pair_logits += [float(logits[i, j]) for i, j in pairs]
        if calibration.group is not None:
            groups = sample_groups(presence, samples.groups, mix(samples.seed, 12))
            self.groups += groups
            self.group_logits += _group_logits(calibration.group, logits, groups)
        if calibration.belonging is not None:
            mixed = sample_groups(presence, samples.groups, mix(samples.seed, 13), intruders=True)
            self.mixed += mixed
            for group in mixed:
                chosen = torch.tensor(group.images)
                values = belonging_values(logits[chosen[:, None], chosen])
                self.belonging.append(calibration.belonging.logits(values).sigmoid().tolist())


def measured(calibration: Calibration, answers: Answers, data: str) -> Calibration:
    """`calibration` with the measures of `answers`."""
    logits, truth = torch.tensor(answers.pair_logits), torch.tensor(answers.pair_truth)
    accuracy, auc = _accuracy_and_auc(truth, logits)
    between = interval(answers.pairs, ((logits > 0) == truth).numpy())
    size = SizeMeasures(2, len(truth), accuracy, between, auc, *_counts(truth, logits))
    calibration = replace(
        calibration, auc=auc, accuracy=accuracy, interval=between, pairs=len(truth), data=data, sizes=(size,)
    )
    if calibration.group is None or not answers.groups:
        return replace(calibration, group=None, belonging=None)
    every = _measured_size(0, answers)
    sizes = tuple(_measured_size(n, answers) for n in sorted({len(group.images) for group in answers.groups}))
    group = replace(
        calibration.group,
        auc=every.auc,
        accuracy=every.accuracy,
        interval=every.interval,
        pairs=every.groups,
        data=data,
        sizes=sizes,
    )
    return replace(calibration, group=group)


def measured_class(calibration: Calibration, known: KnownImages, k: int, name: str, seed: int) -> ClassMeasures | None:
    """The measures on class `k` by a `calibration` that does not know it; None: every image holds it."""
    presence, members = known.presence, known.presence[:, k]
    logits = known.logits(calibration, (k,))
    rng = np.random.default_rng(mix(seed, 14, k))
    inside, outside = np.flatnonzero(members), np.flatnonzero(presence.any(1) & ~members)
    shared = presence @ presence.T
    positive = [(int(i), int(j)) for i in inside for j in inside if i < j]
    negative = [(int(i), int(j)) for i in inside for j in outside if not shared[i, j]]
    if not positive or not negative:
        return None
    values = [
        torch.stack([logits[i, j] for i, j in (pairs[p] for p in rng.permutation(len(pairs))[:_PAIRS])])
        for pairs in (positive, negative)
    ]
    brier, accuracy = _balanced_brier(*values)
    measures = ClassMeasures(name, len(inside), brier, accuracy)
    if calibration.group is None:
        return measures
    groups = list({g: None for _ in range(_GROUPS) if (g := positive_group(presence, 5, rng, 0, k)) is not None})
    without = [group for group in sample_groups(presence, _GROUPS, mix(seed, 15), (5,)) if not group.common]
    if not groups or not without:
        return measures
    positive_logits, negative_logits = (
        torch.tensor(_group_logits(calibration.group, logits, some)) for some in (groups, without)
    )
    brier, _ = _balanced_brier(positive_logits, negative_logits)
    lowest = float(positive_logits.sigmoid().min())
    return replace(measures, groups=len(groups), group_brier=brier, group_lowest=lowest)


def groups_interval(groups: Sequence[Sequence[int]], accuracy: float) -> tuple[float, float]:
    """The 95 % interval of the share of groups that were classified correctly: Wilson's of a binomial proportion.

    Groups that have images in common are not independent. They count as so many independent groups as their images
    would make without overlap, if these are fewer, so the interval is rather too wide than too narrow.

    Args:
        groups: the images of each, at least one group.
        accuracy: the share, 0..1.

    >>> low, high = groups_interval([(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)], 0.5)
    >>> round(low, 3), round(high, 3)
    (0.15, 0.85)
    """
    images = len({image for group in groups for image in group})
    independent = min(len(groups), images * len(groups) / sum(map(len, groups)))
    z = 1.96**2 / independent
    centre, width = (accuracy + z / 2) / (1 + z), math.sqrt(z * accuracy * (1 - accuracy) + z * z / 4) / (1 + z)
    return max(0.0, centre - width), min(1.0, centre + width)


def _measured_size(size: int, answers: Answers) -> SizeMeasures:
    """The measures on the groups of `size` images; 0: on all."""
    of_size = [
        (group, logit)
        for group, logit in zip(answers.groups, answers.group_logits, strict=True)
        if size in (0, len(group.images))
    ]
    truth, logits = torch.tensor([group.common for group, _ in of_size]), torch.tensor([logit for _, logit in of_size])
    accuracy, auc = _accuracy_and_auc(truth, logits)
    between = groups_interval([group.images for group, _ in of_size], accuracy)
    mixed = [
        (group, values)
        for group, values in zip(answers.mixed, answers.belonging, strict=True)
        if size in (0, len(group.images))
    ]
    single = [(group, values) for group, values in mixed if len(group.intruders) == 1]
    lowest = [group.images[int(np.argmin(values))] in group.intruders for group, values in single]
    outside = [
        image in group.intruders
        for group, values in mixed
        for image, value in zip(group.images, values, strict=True)
        if level(value) is False
    ]
    return SizeMeasures(
        size, len(of_size), accuracy, between, auc, *_counts(truth, logits), _count(lowest), _count(outside)
    )


def _group_logits(calibration: Calibration, logits: Tensor, groups: Sequence[Group]) -> list[float]:
    chosen = [torch.tensor(group.images) for group in groups]
    return [float(calibration.logits(group_values(logits[images[:, None], images]))) for images in chosen]


def _counts(truth: Tensor, logits: Tensor) -> tuple[Count, Count]:
    """The right answers of those that there is a common object, and of those that there is none."""
    levels: list[Any] = [level(value) for value in logits.sigmoid().tolist()]
    answers = list(zip(levels, truth.tolist(), strict=True))
    return _count([is_true for answer, is_true in answers if answer is True]), _count(
        [not is_true for answer, is_true in answers if answer is False]
    )


def _count(right: Sequence[bool]) -> Count:
    return Count(sum(right), len(right))


def _balanced_brier(positive: Tensor, negative: Tensor) -> tuple[float, float]:
    """The mean squared error of the probabilities as they are answered, not below `LOWEST`, and the share of right
    answers; both sorts weigh the same."""
    p, q = positive.sigmoid().clamp_min(LOWEST), negative.sigmoid().clamp_min(LOWEST)
    brier = (1 - p).square().mean() + q.square().mean()
    accuracy = (p > 0.5).double().mean() + (q <= 0.5).double().mean()
    return float(brier) / 2, float(accuracy) / 2


def _accuracy_and_auc(positive: Tensor, logits: Tensor) -> tuple[float, float]:
    scores = DecisionScores()
    scores.update(positive, torch.zeros(len(positive)), logits)
    values = scores.compute()
    return float(values["decision_accuracy"]), float(values["decision_auc"])
