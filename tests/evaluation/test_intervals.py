"""Intervals of the five scores: their terms give the scores themselves, and the draws are those of a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coseg.evaluation.intervals import score_intervals, score_terms
from coseg.evaluation.metrics import PairScores
from coseg.evaluation.scores import MaskScore

PAIRS = np.array([(i, j) for i in range(6) for j in range(i + 1, 6)])


def drawn(seed: int, masks: int = 2) -> tuple[list[MaskScore], np.ndarray]:
    """Counts of pairs, some without truth, and their common classes; class 2 is never there."""
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(masks):
        truth = rng.integers(0, 3, len(PAIRS)) * 10
        marked = rng.integers(1, 30, len(PAIRS))
        intersection = np.minimum(rng.integers(0, 20, len(PAIRS)), np.minimum(truth, marked))
        union = truth + marked - intersection
        counted = union + rng.integers(1, 50, len(PAIRS))
        correct = counted - union + intersection
        columns = (intersection, union, correct, counted, truth)
        scores.append(MaskScore(*map(torch.from_numpy, columns), torch.from_numpy(rng.random(len(PAIRS)) < 0.5)))
    common = rng.random((len(PAIRS), 3)) < 0.6
    common[:, 2] = False
    return scores, common


@pytest.mark.parametrize("masks", [1, 2])
def test_terms_give_the_scores(masks: int) -> None:
    scores, common = drawn(1, masks)
    reference = PairScores(3)
    reference.add_counts(scores, torch.from_numpy(common))
    for name, expected in reference.compute().items():
        above, below = score_terms(scores, common)[name]
        ratios = above.sum(0)[below.sum(0) > 0] / below.sum(0)[below.sum(0) > 0]
        assert ratios.mean() == pytest.approx(float(expected), abs=1e-12)


def test_intervals_are_those_of_images_drawn_in_a_loop() -> None:
    scores, common = drawn(2)
    rng = np.random.default_rng(5)
    means: dict[str, list[float]] = {"jaccard_class_mean": [], "jaccard_global": []}
    for _ in range(40):
        times = rng.multinomial(6, [1 / 6] * 6)
        ious: list[list[float]] = [[], [], []]
        inter = union = 0
        for row, (i, j) in enumerate(PAIRS):
            for _ in range(times[i] * times[j]):
                for mask in scores:
                    inter, union = inter + int(mask.intersection[row]), union + int(mask.union[row])
                    if mask.truth[row]:
                        for k in np.flatnonzero(common[row]):
                            ious[k].append(float(mask.iou[row]))
        if union:
            means["jaccard_global"].append(inter / union)
        if any(ious):
            means["jaccard_class_mean"].append(np.mean([np.mean(values) for values in ious if values]))
    found = score_intervals(PAIRS, scores, common, draws=40, seed=5)
    assert found.keys() == score_terms(scores, common).keys()
    for name, values in means.items():
        # Only units that count are drawn, and all six images are in some.
        assert found[name] == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
