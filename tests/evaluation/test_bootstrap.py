import itertools

import numpy as np
import pytest

from coseg.evaluation import bootstrap
from coseg.evaluation.bootstrap import difference, group_interval, interval


def all_pairs(n: int) -> np.ndarray:
    return np.array(list(itertools.combinations(range(n), 2)))


def naive(pairs: np.ndarray, values: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    """Draw images with replacement, count each pair as often as its images were drawn, and average in loops."""
    images = sorted(
        {int(image) for pair, row in zip(pairs, values, strict=True) if not all(np.isnan(row)) for image in pair}
    )
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        drawn = rng.multinomial(len(images), [1 / len(images)] * len(images))
        times = dict(zip(images, drawn.tolist(), strict=True))
        sample: list[float] = []
        for (i, j), row in zip(pairs.tolist(), values, strict=True):
            for value in row:
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
    monkeypatch.setattr(bootstrap, "CHUNK", 7 * len(pairs))  # in pieces, the draws are the same
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


def test_the_interval_over_groups_holds_the_truth_and_is_not_that_of_independent_groups() -> None:
    """Images are easy or hard; a group is told rightly by chance of how many are easy, so groups depend on another."""
    rng = np.random.default_rng(0)
    held = naive = 0
    for _ in range(200):
        easy = rng.random(40) < 0.5
        groups = [rng.choice(40, 5, replace=False).tolist() for _ in range(150)]
        right = rng.random(150) < np.array([0.5 + 0.5 * easy[group].mean() for group in groups])
        low, high = group_interval(groups, right)
        held += low <= 0.75 <= high
        naive += abs(right.mean() - 0.75) <= 1.96 * (0.75 * 0.25 / 150) ** 0.5
    assert held >= 180 and naive < held - 10


def test_the_interval_over_groups_at_the_ends() -> None:
    apart = [(k, k + 100, k + 200) for k in range(10)]
    low, high = group_interval(apart, [True] * 10)
    assert high == 1 and low == pytest.approx(1 / (1 + 1.96**2 / 10))  # Wilson's, with ten that are all right
    few = group_interval([(0, 1, 2)] * 10, [True] * 10)  # one group, ten times
    assert few[1] == 1 and few[0] == pytest.approx(1 / (1 + 1.96**2))
    assert np.isnan(group_interval([], [])).all()
