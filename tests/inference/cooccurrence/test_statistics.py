"""Pair statistics: what features and masks indicate of a common object."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import pytest
import torch
from torch import Tensor

from coseg.inference.cooccurrence.statistics import SIMILARITIES, neighbours, pair_statistics


def side(thing: int, ground: int, probability: float = 1.0) -> tuple[Tensor, Tensor]:
    """Features (3, 2, 4), an object in the left half and another thing in the right one, and (4, 8) probabilities."""
    features = torch.zeros(3, 2, 4)
    features[thing, :, :2] = 2.0
    features[ground, :, 2:] = 1.0
    foreground = torch.zeros(4, 8)
    foreground[:, :4] = probability
    return features, foreground


def named(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> dict[str, float]:
    found = pair_statistics(a[0], b[0], a[1], b[1]).tolist()
    return dict(zip(SIMILARITIES, found[: len(SIMILARITIES)], strict=True))


def test_objects_of_one_kind_look_alike() -> None:
    found = named(side(0, 1), side(0, 2, 0.5))  # the foreground is the object, in a with probability 1, in b with 0.5
    assert found["object_similarity"] == pytest.approx(1)
    assert found["best_match"] == pytest.approx(1)
    same = named(side(0, 1), side(0, 1))
    assert same["object_similarity"] == pytest.approx(1)
    assert same["contrast_similarity"] == pytest.approx(1)
    assert same["best_match"] == pytest.approx(1)


def test_objects_of_two_kinds_do_not() -> None:
    apart = named(side(0, 2), side(1, 2))
    assert apart["object_similarity"] == pytest.approx(0)
    assert apart["contrast_similarity"] == pytest.approx(1 / 5)  # (2, 0, -1) and (0, 2, -1)
    assert apart["best_match"] == pytest.approx(0)
    swapped = named(side(0, 1), side(1, 0))  # the foreground of one is the background of the other
    assert swapped["contrast_similarity"] == pytest.approx(-0.8)  # (2, -1, 0) and (-1, 2, 0)
    assert swapped["best_match"] == pytest.approx(1)


def test_masks_count_by_the_surer_and_the_less_sure_side() -> None:
    found = named(side(0, 1, 0.9), side(0, 1, 0.4))
    expected = {"top_probability_low": 0.4, "top_probability_high": 0.9, "foreground_low": 0.2, "foreground_high": 0.45}
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_channels_are_summed_and_multiplied() -> None:
    a, b = side(0, 1), (side(0, 1)[0] + side(1, 0)[0], side(0, 1)[1])  # objects (2, 0, 0) and (2, 2, 0)
    found = pair_statistics(a[0], b[0], a[1], b[1])[len(SIMILARITIES) :]
    v = torch.tensor([2.0, 2.0, 0.0]) / math.sqrt(8)
    torch.testing.assert_close(found[:3], torch.tensor([1.0, 0.0, 0.0]) + v)
    torch.testing.assert_close(found[3:], torch.tensor([1.0, 0.0, 0.0]) * v)


def test_statistics_does_not_depend_on_the_order_or_the_scale() -> None:
    torch.manual_seed(0)
    a = torch.rand(6, 3, 5), torch.rand(30, 40)
    b = torch.rand(6, 4, 4), torch.rand(24, 24)
    forward, backward = pair_statistics(a[0], b[0], a[1], b[1]), pair_statistics(b[0], a[0], b[1], a[1])
    torch.testing.assert_close(forward, backward)
    scaled = pair_statistics(a[0] * 7, b[0] * 7, a[1], b[1])
    torch.testing.assert_close(scaled, forward)
    assert forward.shape == (len(SIMILARITIES) + 12,)


def test_empty_maps_give_finite_numbers() -> None:
    zeros = torch.zeros(4, 3, 3), torch.zeros(9, 9)
    assert pair_statistics(zeros[0], zeros[0], zeros[1], zeros[1]).isfinite().all()


def test_small_groups_are_compared_in_whole() -> None:
    for n in range(2, 10):
        assert neighbours(n) == list(combinations(range(n), 2))


@pytest.mark.parametrize("n", [10, 57, 200])
def test_in_large_ones_each_image_meets_eight_others(n: int) -> None:
    pairs = neighbours(n)
    assert pairs == sorted(set(pairs)) and all(i < j for i, j in pairs)
    assert len(pairs) == 4 * n
    assert set(Counter(image for pair in pairs for image in pair).values()) == {8}


def test_images_that_come_one_after_the_other_are_no_more_often_a_pair() -> None:
    """Of 40 images the first 20 of one kind, the others of another, 19 of 39 pairs are of one kind."""
    alike = [(i < 20) == (j < 20) for i, j in neighbours(40)]
    assert sum(alike) / len(alike) == pytest.approx(19 / 39, abs=0.08)
