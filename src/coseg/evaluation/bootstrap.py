"""Confidence intervals of scores over pairs or single images, by bootstrap over images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CHUNK = 2_000_000
"""Weights held at once: draws times units."""


class Difference(NamedTuple):
    """The mean difference of two runs and its interval."""

    value: float
    low: float
    high: float


def interval(
    units: ArrayLike, values: ArrayLike, draws: int = 1000, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """The percentile interval of the mean of `values`, when the images are what was drawn at random.

    Pairs are not independent: an image that is hard spoils all the pairs it is in, and to draw pairs anew would give
    an interval that is far too narrow. So each draw gives the n images that occur in `units` multinomial weights w (n
    draws with replacement), and the pair (i, j) the weight w_i w_j (the "pigeonhole" bootstrap of Owen, Annals of
    Applied Statistics 1(2), 2007, for one set of units). It errs on the side of too wide an interval. A value of a
    single image i, tested in a group, has the weight w_i, which is the ordinary bootstrap.

    Args:
        units: int (N, 2), the two images of each pair, or (N, 1), the image of each value: any numbers that tell
            images apart.
        values: float (N,), or (N, M) for the M masks of each; a mask whose value is nan is left out.
        draws: how many times the images are drawn.
        seed: of the draws; the same arguments give the same interval.
        confidence: the share of the draws that lies in the interval.

    Returns:
        The lower and the upper end; nan both where fewer than two of the N have a value.
    """
    table = np.asarray(values, np.float64)
    table = table.reshape(len(table), -1 if len(table) else 1)
    return ratio_interval(units, np.nansum(table, axis=1), (~np.isnan(table)).sum(1), draws, seed, confidence)


def group_interval(groups: Sequence[Sequence[int]], right: ArrayLike) -> tuple[float, float]:
    """The 95 % interval of the share of groups of images that were told rightly, when the images were drawn at random.

    Weights that are multiplied, as `interval` does it for pairs, are almost all 0 in a large group. So this is the
    infinitesimal jackknife, as S. Wager, T. Hastie and B. Efron (Journal of Machine Learning Research 15, 2014) use it
    for what is made from many samples of some of the data: how much each image moves the share, less what of that is
    the chance of the groups that were drawn. Groups that vary so much count as that many independent ones (at most as
    there are, at least as many as there would be if no image were in two), for Wilson's interval of a share.

    Args:
        groups: numbers of the images of each, no image twice.
        right: bool (N,).

    Returns:
        The lower and the upper end; nan both where there are no groups.

    >>> low, high = group_interval([(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)], [True, False, True, False])
    >>> round(low, 3), round(high, 3)
    (0.15, 0.85)
    """
    found = np.asarray(right, np.float64)
    if not len(found):
        return float("nan"), float("nan")
    share = float(found.mean())
    off = found - share
    moved: dict[int, float] = {}
    for group, value in zip(groups, off.tolist(), strict=True):
        for image in group:
            moved[image] = moved.get(image, 0.0) + value
    lengths = np.array([len(group) for group in groups])
    own = float((off**2).sum())  # what the sum would vary by, squared, if the groups were independent
    others = 1 - float(lengths.mean()) / len(moved)  # share of the images that are not in a group
    chance = others * float((lengths * off**2).sum())
    more = max(0.0, sum(value**2 for value in moved.values()) - chance)
    more = more / others**2 if others > 0 else math.inf
    least = min(len(found), len(moved) / float(lengths.mean()))
    count = max(least, len(found) * own / (own + more) if own > 0 else 0.0)
    z = 1.96**2 / count
    centre, width = (share + z / 2) / (1 + z), (z * share * (1 - share) + z * z / 4) ** 0.5 / (1 + z)
    return max(0.0, centre - width), min(1.0, centre + width)


def ratio_interval(
    units: ArrayLike,
    numerators: ArrayLike,
    denominators: ArrayLike,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The interval, as `interval` draws it, of the ratio of two sums, or of the mean of several such ratios.

    Args:
        units: as for `interval`.
        numerators: float (N,), or (N, C) for the mean of C ratios, those of classes say.
        denominators: likewise, 0 or more. A ratio whose denominators are all 0 is left out; so are units without any.
        draws: as for `interval`, like the others.
        seed: of the draws.
        confidence: the share of the draws that lies in the interval.

    Returns:
        The lower and the upper end; nan both where fewer than two units count.
    """
    above, below = (np.asarray(each, np.float64) for each in (numerators, denominators))
    images = np.asarray(units, np.int64).reshape(len(above), -1 if len(above) else 1)
    above, below = (each.reshape(len(above), -1 if len(above) else 1) for each in (above, below))
    used = below.sum(1) > 0
    if used.sum() < 2:
        return float("nan"), float("nan")
    names, index = np.unique(images[used], return_inverse=True)
    ratios = _drawn_ratios(index.reshape(images[used].shape), len(names), above[used], below[used], draws, seed)
    low, high = np.nanquantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _drawn_ratios(
    units: NDArray[np.int64],
    images: int,
    numerators: NDArray[np.float64],
    denominators: NDArray[np.float64],
    draws: int,
    seed: int,
) -> NDArray[np.float64]:
    """The mean ratio of each draw, (draws,); nan for a draw that holds no unit, as happens with few images."""
    rng = np.random.default_rng(seed)
    sums = np.concatenate([numerators, denominators], 1)
    columns = numerators.shape[1]
    means = np.full(draws, np.nan)
    step = max(1, CHUNK // len(units))
    for start in range(0, draws, step):
        stop = min(draws, start + step)
        weights = rng.multinomial(images, np.full(images, 1 / images), size=stop - start).astype(np.float64)
        drawn = weights[:, units].prod(-1) @ sums
        above, below = drawn[:, :columns], drawn[:, columns:]
        there = below > 0
        total = np.divide(above, below, out=np.zeros_like(above), where=there).sum(1)
        count = there.sum(1)
        np.divide(total, count, out=means[start:stop], where=count > 0)
    return means


def difference(
    units: ArrayLike,
    values_a: ArrayLike,
    values_b: ArrayLike,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Difference:
    """The mean of A - B over the masks that both runs scored, with the interval of `interval`.

    The two runs share their units, so a hard image is hard for both and cancels: the interval of the difference is
    narrower than those of the two scores would suggest.
    """
    gap = np.asarray(values_a, np.float64) - np.asarray(values_b, np.float64)
    value = float(np.nanmean(gap)) if (~np.isnan(gap)).any() else float("nan")
    return Difference(value, *interval(units, gap, draws, seed, confidence))
