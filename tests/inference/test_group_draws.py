"""Groups that share a class, and groups that share none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from coseg.errors import CosegError
from coseg.inference.group_draws import draw_groups


def presence(images: int = 120, classes: int = 8) -> NDArray[np.bool_]:
    """One class in each image, a second one in every third, none in the last ten."""
    rng = np.random.default_rng(0)
    table = np.eye(classes, dtype=bool)[rng.integers(classes, size=images)]
    table[::3] |= np.eye(classes, dtype=bool)[rng.integers(classes, size=len(table[::3]))]
    table[-10:] = False
    return table


def test_groups_are_what_they_are_said_to_be() -> None:
    table = presence()
    drawn = draw_groups(table, 30)
    for size, most in ((3, 1), (5, 1), (10, 2)):  # a fifth of ten is two
        groups = [group for group in drawn if len(group.images) == size]
        assert [group.common for group in groups] == [True] * 30 + [False] * 30
        for group in groups:
            assert len(set(group.images)) == size
            frequent = table[list(group.images)].sum(0).max()
            assert frequent == size if group.common else frequent <= most
    assert len(set(drawn)) == len(drawn)
    assert max(max(group.images) for group in drawn) < 110  # images without a class take no part
    assert drawn == draw_groups(table, 30) != draw_groups(table, 30, seed=1)


def test_where_there_are_few_there_are_as_many_of_each_kind() -> None:
    table = np.eye(4, dtype=bool)[np.arange(16) % 4]  # four images of each of four classes
    drawn = draw_groups(table, 1000, sizes=(3, 4, 5))
    counts = [[sum(group.common == kind and len(group.images) == size for group in drawn) for kind in (True, False)]
              for size in (3, 4, 5)]  # fmt: skip
    assert counts == [[16, 16], [4, 4], [0, 0]]  # four classes times four choose three, times one; no five of a class
    assert draw_groups(np.ones((9, 1), bool), 5) == []
    assert draw_groups(np.eye(9, dtype=bool), 5) == []
    with pytest.raises(CosegError, match="number of groups is 0"):
        draw_groups(table, 0)
