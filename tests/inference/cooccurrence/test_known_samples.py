"""Pairs and groups that share a class, and such that share none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from coseg.errors import CosegError
from coseg.inference.cooccurrence.known_samples import positive_pairs, sample_groups, sample_pairs


def presence(images: int = 120, classes: int = 8) -> NDArray[np.bool_]:
    """One class in each image, a second one in every third, none in the last ten."""
    rng = np.random.default_rng(0)
    table = np.eye(classes, dtype=bool)[rng.integers(classes, size=images)]
    table[::3] |= np.eye(classes, dtype=bool)[rng.integers(classes, size=len(table[::3]))]
    table[-10:] = False
    return table


def test_groups_share_a_class_or_do_not() -> None:
    table = presence()
    sampled = sample_groups(table, 30)
    for size, most in ((3, 1), (5, 1), (10, 2)):  # a fifth of ten is two
        groups = [group for group in sampled if len(group.images) == size]
        assert [group.common for group in groups] == [True] * 30 + [False] * 30
        for group in groups:
            assert len(set(group.images)) == size
            frequent = table[list(group.images)].sum(0).max()
            assert frequent == size if group.common else frequent <= most
    assert len(set(sampled)) == len(sampled)
    assert max(max(group.images) for group in sampled) < 110  # images without a class take no part
    assert sampled == sample_groups(table, 30) != sample_groups(table, 30, seed=1)


def test_where_there_are_few_there_are_as_many_of_each_kind() -> None:
    table = np.eye(4, dtype=bool)[np.arange(16) % 4]  # four images of each of four classes
    sampled = sample_groups(table, 1000, sizes=(3, 4, 5))
    found = [(len(group.images), group.common) for group in sampled]
    counts = [[found.count((size, common)) for common in (True, False)] for size in (3, 4, 5)]
    assert counts == [[16, 16], [4, 4], [0, 0]]  # four classes times four choose three, times one; no five of a class
    assert sample_groups(np.ones((9, 1), bool), 5) == []
    assert sample_groups(np.eye(9, dtype=bool), 5) == []
    with pytest.raises(CosegError, match=r"groups.*\b0\b"):
        sample_groups(table, 0)


def classes_in_turn(images: int, classes: int = 3) -> NDArray[np.bool_]:
    return np.eye(classes, dtype=bool)[np.arange(images) % classes]


def test_half_of_the_pairs_are_positive_and_all_differ() -> None:
    table = classes_in_turn(30)
    pairs = sample_pairs(table, 40, seed=0)
    common = [bool((table[i] & table[j]).any()) for i, j in pairs]
    assert common == positive_pairs(pairs).tolist() == [True] * 40 + [False] * 40
    assert len(set(pairs)) == 80
    assert pairs == sample_pairs(table, 40, seed=0) != sample_pairs(table, 40, seed=1)
    assert len(sample_pairs(table[:6], 1000, seed=0)) == 6  # there are only three positive pairs


def test_data_without_both_kinds_are_refused() -> None:
    for table in (classes_in_turn(4, 1), classes_in_turn(3)):
        with pytest.raises(CosegError, match="common class"):
            sample_pairs(table, 10, seed=0)
    with pytest.raises(CosegError, match="positive"):
        sample_pairs(classes_in_turn(9), 0, seed=0)
