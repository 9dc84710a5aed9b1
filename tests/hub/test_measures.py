"""Levels of answers, and counts of right ones."""

from __future__ import annotations

import math

import pytest

from coseg.hub.measures import Count, level


def test_the_middle_is_no_answer() -> None:
    assert [level(value) for value in (0.9, 0.52, 0.49, 0.1, math.nan)] == [True, None, None, False, None]


def test_more_right_answers_than_answers_are_refused() -> None:
    assert Count.from_json([3, 4]).share == 0.75
    with pytest.raises(ValueError, match="right"):
        Count.from_json([4, 3])
