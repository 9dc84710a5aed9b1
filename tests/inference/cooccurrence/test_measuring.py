"""Measures on groups."""

from __future__ import annotations

import pytest

from coseg.inference.cooccurrence.measuring import groups_interval


def test_the_interval_over_groups_is_wilsons_of_as_many_independent_groups_as_there_are_images_for() -> None:
    apart = [(k, k + 100, k + 200) for k in range(10)]
    assert groups_interval(apart, 1.0) == (pytest.approx(1 / (1 + 1.96**2 / 10)), 1)
    assert groups_interval([(0, 1, 2)] * 10, 1.0) == (pytest.approx(1 / (1 + 1.96**2)), 1)
    assert groups_interval([*apart, *apart], 0.5) == groups_interval(apart, 0.5)
