"""Calibrate the co-occurrence probability on images of a data set with known classes, and measure its accuracy.

Three logistic regressions of few statistics: on pairs, on groups, and on each image of groups with intruders, whose
statistics are the logits of pairs (see `coseg.inference.cooccurrence.belonging`). Every sample counts twice: as it is,
and as if the class that it is about were not known, so that the answer for such a class is not surer than it should be.

Measures are on images that took no part in the fit: those of another catalog, or each half of one catalog by what was
fitted on the other half. And each class is held out in turn: neither the fit nor the directions of classes know it.
(The network itself may have been trained on it.)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.data.pair_index import mix
from coseg.errors import CosegError
from coseg.hub.calibration import Calibration
from coseg.hub.measures import ClassMeasures
from coseg.inference.cooccurrence.belonging import BELONGING, GROUP_CORE, belonging_values, group_values
from coseg.inference.cooccurrence.known_images import KnownImages, Progress, known_images, learned_classes
from coseg.inference.cooccurrence.known_samples import Group, Samples, positive_pairs, sample_groups, sample_pairs
from coseg.inference.cooccurrence.measuring import Answers, measured, measured_class
from coseg.inference.segmenter import CoSegmenter

RIDGE = 0.003
"""Of the regression of pairs, for each pair."""

IMAGES = 800
"""Of a catalog, at most."""

LEAST = 5
"""Images of a class that is held out."""


def calibrate(
    model: CoSegmenter,
    fitted: Catalog,
    held_out: Catalog | None = None,
    taught: Catalog | None = None,
    pairs: int = 2000,
    seed: int = 0,
    groups: int = 100,
    images: int = IMAGES,
    progress: Progress | None = None,
) -> Calibration:
    """Fit a `Calibration` on pairs and groups of `fitted`, and measure it.

    A network performs better on the images that it was trained on, so a calibration on those is overconfident. Fit it
    on others, where there are enough.

    Args:
        model: whose network, size and device are used.
        fitted: for the fit.
        held_out: for the measures; should share no image with `fitted`. None: the two halves of `fitted`, at random,
            each by what is fitted on the other; what is returned is fitted on both.
        taught: from whose label maps the directions of its classes are learned, those of `fitted`: the network's
            training split, say. None: no statistic needs classes.
        pairs: positive and negative ones each, for the fit and for the measures; fewer if there are not so many.
        seed: of the random choices.
        groups: of each size, likewise; with 0, or if a data set has no positive or no negative group, groups are not
            calibrated.
        images: of a catalog, at most.
        progress: called for each catalog with the finished images and their number.

    Raises:
        CosegError: there is no positive or no negative pair, `pairs` is not positive, or `groups` is negative.
    """
    if groups < 0:
        raise CosegError(f"The number of groups is {groups}, but must not be negative.")
    samples = Samples(pairs, groups, seed)
    sample_pairs(fitted.presence, pairs, seed)  # refuse what has no pairs before images are read
    classes = None if taught is None else learned_classes(model, taught, images, seed, progress)
    known = known_images(model, fitted, classes, images, seed, progress)
    if held_out is None:
        measuring = known
        first = np.random.default_rng(mix(seed, 4)).permutation(len(known.presence)) < len(known.presence) / 2
        folds = [(first, ~first), (~first, first)]
        data = f"{fitted.name} {fitted.split}, two halves, each by a fit on the other, seed {seed}"
    else:
        measuring = known_images(model, held_out, classes, images, seed, progress)
        everything = np.ones(len(known.presence), np.bool_)
        folds = [(everything, np.ones(len(measuring.presence), np.bool_))]
        data = f"{held_out.name} {held_out.split}, seed {seed}"
    answers = Answers()
    for fit_images, measured_images in folds:
        fold = fit(known, _only(known.presence, fit_images), samples)
        answers.add(fold, measuring, _only(measuring.presence, measured_images), samples)
    calibration = replace(measured(fit(known, known.presence, samples), answers, data), input_size=model.size)
    if classes is None:
        return calibration
    held_measures = []
    for k, name in enumerate(fitted.class_names):
        if measuring.presence[:, k].sum() >= LEAST:
            held_measures.append(_class_held_out(known, measuring, k, name, samples))
    return replace(calibration, classes=classes, held_out=tuple(held for held in held_measures if held is not None))


def fit(known: KnownImages, presence: NDArray[np.bool_], samples: Samples, never: tuple[int, ...] = ()) -> Calibration:
    """The regressions on those of the `known` images that hold a class in `presence`, without measures.

    Args:
        known: n images.
        presence: bool (n, K).
        samples: see `Samples`.
        never: classes, by index, that do not count as known in any sample.
    """
    rng = np.random.default_rng(mix(samples.seed, 8))
    chosen = sample_pairs(presence, samples.pairs, mix(samples.seed, 1))
    about = [_pair_classes(presence, i, j, rng) for i, j in chosen]
    positive = positive_pairs(chosen)
    statistics = known.statistics(chosen, [never] * len(chosen))
    if known.classes is not None:
        unknown = known.statistics(chosen, [tuple(sorted({*never, *left_out})) for left_out in about])
        statistics, positive = torch.cat((statistics, unknown)), torch.cat((positive, positive))
    calibration = Calibration.fit(known.names, statistics, positive, RIDGE * len(positive))
    if not samples.groups:
        return calibration
    logits = _Logits(known, calibration)
    group = _fit_groups(logits, presence, samples, never)
    return calibration if group is None else replace(
        calibration, group=group, belonging=_fit_belonging(logits, presence, samples, never)
    )  # fmt: skip


class _Logits:
    """The logits of all pairs without some classes, kept for the next time."""

    def __init__(self, known: KnownImages, calibration: Calibration) -> None:
        self.known = known
        self.calibration = calibration
        self._kept: dict[tuple[int, ...], Tensor] = {}

    def of(self, group: Group, without: tuple[int, ...]) -> Tensor:
        if self.known.classes is None:
            without = ()
        if without not in self._kept:
            self._kept[without] = self.known.logits(self.calibration, without)
        chosen = torch.tensor(group.images)
        return self._kept[without][chosen[:, None], chosen]

    def twice(
        self, groups: list[Group], presence: NDArray[np.bool_], never: tuple[int, ...], seed: int
    ) -> list[tuple[Group, Tensor]]:
        """Each group with its logits, as it is and as if the class that it is about were not known."""
        rng = np.random.default_rng(seed)
        pairs = [(group, self.of(group, never)) for group in groups]
        if self.known.classes is not None:
            for group in groups:
                k = (
                    group.shared
                    if group.common
                    else int(rng.choice(np.flatnonzero(presence[list(group.images)].any(0))))
                )
                pairs.append((group, self.of(group, tuple(sorted({*never, k})))))
        return pairs


def _fit_groups(
    logits: _Logits, presence: NDArray[np.bool_], samples: Samples, never: tuple[int, ...]
) -> Calibration | None:
    groups = sample_groups(presence, samples.groups, mix(samples.seed, 5))
    if not groups:
        return None
    # One image that does not belong leaves an object in common to the others.
    mixed = sample_groups(presence, samples.groups, mix(samples.seed, 16), intruders=True)
    groups += [group for group in mixed if len(group.intruders) == 1 and len(group.images) > 3]
    pairs = logits.twice(groups, presence, never, mix(samples.seed, 9))
    statistics = torch.stack([group_values(values) for _, values in pairs])
    return Calibration.fit(GROUP_CORE, statistics, torch.tensor([group.common for group, _ in pairs]), 1.0)


def _fit_belonging(
    logits: _Logits, presence: NDArray[np.bool_], samples: Samples, never: tuple[int, ...]
) -> Calibration | None:
    groups = sample_groups(presence, samples.groups, mix(samples.seed, 6), intruders=True)
    pairs = logits.twice(groups, presence, never, mix(samples.seed, 10))
    belongs = torch.tensor([i not in group.intruders for group, _ in pairs for i in group.images])
    if not pairs or belongs.all():
        return None
    return Calibration.fit(BELONGING, torch.cat([belonging_values(values) for _, values in pairs]), belongs, 1.0)


def _class_held_out(
    known: KnownImages, measuring: KnownImages, k: int, name: str, samples: Samples
) -> ClassMeasures | None:
    """The measures on class `k` by a calibration that does not know it; None: there are no pairs without it."""
    without = known.presence & ~known.presence[:, k : k + 1]
    try:
        calibration = fit(known, without, samples, (k,))
    except CosegError:
        return None
    return measured_class(calibration, measuring, k, name, samples.seed)


def _only(presence: NDArray[np.bool_], images: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return presence & images[:, None]


def _pair_classes(presence: NDArray[np.bool_], i: int, j: int, rng: np.random.Generator) -> tuple[int, ...]:
    """The classes that two images share; without any, one of theirs."""
    common = np.flatnonzero(presence[i] & presence[j])
    if len(common):
        return tuple(common.tolist())
    return (int(rng.choice(np.flatnonzero(presence[i] | presence[j]))),)
