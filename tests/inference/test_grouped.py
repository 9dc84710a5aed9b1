"""Which pairs of a group are looked at, and what is made of them."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import pytest
import torch

from coseg.inference.grouped import group_evidence, neighbours


def test_small_groups_are_looked_at_in_whole() -> None:
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


def test_the_evidence_of_a_group() -> None:
    logits = torch.tensor([1.0, -2.0, 4.0])
    assert group_evidence(logits, 3).tolist() == pytest.approx([1, math.log(1.5)])
    assert (
        group_evidence(logits, 20).tolist() == group_evidence(logits, 300).tolist() == pytest.approx([1, math.log(10)])
    )
