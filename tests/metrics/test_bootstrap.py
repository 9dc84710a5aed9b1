"""Intervals by bootstrap over images: those of a plain loop; of the scores, whose terms give the scores themselves."""

import itertools

import numpy as np
import pytest
import torch

from coseg.metrics import bootstrap
from coseg.metrics.bootstrap import difference, interval, score_intervals, score_terms
from coseg.metrics.mask_counts import MaskScore
from coseg.metrics.pair_scores import PairScores


def all_pairs(n: int) -> np.ndarray:
    return np.array(list(itertools.combinations(range(n), 2)))


def naive(pairs: np.ndarray, values: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """Draw images with replacement, count each pair as often as its images were drawn, and average in loops."""
    images = sorted(
        {int(image) for pair, masks in zip(pairs, values, strict=True) if not all(np.isnan(masks)) for image in pair}
    )
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        drawn = rng.multinomial(len(images), [1 / len(images)] * len(images))
        times = dict(zip(images, drawn.tolist(), strict=True))
        sample: list[float] = []
        for (i, j), masks in zip(pairs.tolist(), values, strict=True):
            for value in masks:
                if not np.isnan(value):
                    sample += [value] * (times[i] * times[j])
        if sample:
            means.append(np.mean(sample))
    return tuple(np.quantile(means, [0.025, 0.975]))


def test_agrees_with_drawing_images_in_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pairs = all_pairs(7) * 3 + 2
    values = rng.random((len(pairs), 2))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[(pairs == 5).any(1)] = np.nan  # an image that never counts is not drawn
    expected = naive(pairs, values, 50, 4)
    assert interval(pairs, values, 50, 4) == pytest.approx(expected)
    monkeypatch.setattr(bootstrap, "CHUNK", 7 * len(pairs))  # in pieces, the resamples are the same
    assert interval(pairs, values, 50, 4) == pytest.approx(expected)


def test_same_seed_same_interval_and_it_holds_the_mean() -> None:
    pairs = all_pairs(30)
    values = np.random.default_rng(1).random((len(pairs), 2))
    low, high = interval(pairs, values, 200, seed=1)
    assert (low, high) == interval(pairs, values, 200, seed=1) != interval(pairs, values, 200, seed=2)
    assert low < values.mean() < high


def test_the_interval_covers_what_it_should_where_pairs_share_images() -> None:
    """Scores made of an effect of each image: over many data sets, 95 % intervals hold the truth (0) about so often."""
    pairs = all_pairs(25)
    hits = pair_hits = 0
    trials = 100
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        effect = rng.normal(size=25)
        values = effect[pairs].mean(1) + 0.3 * rng.normal(size=len(pairs))
        low, high = interval(pairs, values, 200, trial)
        hits += low <= 0 <= high
        half = 1.96 * values.std() / len(pairs) ** 0.5  # as if the pairs were independent
        pair_hits += abs(values.mean()) <= half
    assert hits >= 88
    assert pair_hits < 65


def test_paired_difference_is_narrower_than_the_scores() -> None:
    rng = np.random.default_rng(2)
    pairs = all_pairs(20)
    hard = rng.random(20)[pairs]
    a, b = hard + 0.1 + 0.01 * rng.random(hard.shape), hard.copy()
    b[0, 0] = np.nan
    found = difference(pairs, a, b, 300)
    assert found.value == pytest.approx(np.nanmean(a - b))
    assert 0.1 < found.low < found.value < found.high < 0.11
    low, high = interval(pairs, a, 300)
    assert high - low > 10 * (found.high - found.low)
    assert difference(pairs, b, a, 300)[0] == pytest.approx(-found.value)


def test_too_few_values_give_nan() -> None:
    assert np.isnan(interval([(0, 1), (0, 2)], [[np.nan, np.nan], [0.5, np.nan]])).all()
    assert np.isnan(interval([], [])).all()
    assert np.isnan(difference([(0, 1)], [[np.nan, 1.0]], [[1.0, np.nan]])).all()


PAIRS = all_pairs(6)


def counts(seed: int, masks: int = 2) -> tuple[list[MaskScore], np.ndarray]:
    """Counts of pairs, some without truth, and their common classes; class 2 is in none."""
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(masks):
        truth = rng.integers(0, 3, len(PAIRS)) * 10
        predicted = rng.integers(1, 30, len(PAIRS))
        intersection = np.minimum(rng.integers(0, 20, len(PAIRS)), np.minimum(truth, predicted))
        union = truth + predicted - intersection
        counted = union + rng.integers(1, 50, len(PAIRS))
        correct = counted - union + intersection
        columns = (intersection, union, correct, counted, truth)
        scores.append(MaskScore(*map(torch.from_numpy, columns), torch.from_numpy(rng.random(len(PAIRS)) < 0.5)))
    common = rng.random((len(PAIRS), 3)) < 0.6
    common[:, 2] = False
    return scores, common


@pytest.mark.parametrize("masks", [1, 2])
def test_terms_give_the_scores(masks: int) -> None:
    scores, common = counts(1, masks)
    metric = PairScores(3)
    metric.add_counts(scores, torch.from_numpy(common))
    for name, expected in metric.compute().items():
        above, below = score_terms(scores, common)[name]
        ratios = above.sum(0)[below.sum(0) > 0] / below.sum(0)[below.sum(0) > 0]
        assert ratios.mean() == pytest.approx(float(expected), abs=1e-12)


def test_intervals_are_those_of_images_drawn_in_a_loop() -> None:
    scores, common = counts(2)
    rng = np.random.default_rng(5)
    means: dict[str, list[float]] = {"jaccard_class_mean": [], "jaccard_global": []}
    for _ in range(40):
        times = rng.multinomial(6, [1 / 6] * 6)
        ious: list[list[float]] = [[], [], []]
        inter = union = 0
        for pair, (i, j) in enumerate(PAIRS):
            for _ in range(times[i] * times[j]):
                for mask in scores:
                    inter, union = inter + int(mask.intersection[pair]), union + int(mask.union[pair])
                    if mask.truth[pair]:
                        for k in np.flatnonzero(common[pair]):
                            ious[k].append(float(mask.iou[pair]))
        if union:
            means["jaccard_global"].append(inter / union)
        if any(ious):
            means["jaccard_class_mean"].append(np.mean([np.mean(values) for values in ious if values]))
    found = score_intervals(PAIRS, scores, common, resamples=40, seed=5)
    assert found.keys() == score_terms(scores, common).keys()
    for name, values in means.items():
        # Only units that count are drawn, and all six images are in some.
        assert found[name] == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
