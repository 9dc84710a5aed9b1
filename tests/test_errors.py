from __future__ import annotations

import pytest

from coseg.errors import CosegError, DamagedFile, checked_threshold, unknown_choice


def test_an_unknown_choice_names_the_choices_and_the_nearest() -> None:
    error = unknown_choice("model.pooling", "averge", ["average", "max"])
    assert isinstance(error, CosegError)
    assert "averge" in str(error) and "average, max" in str(error) and str(error).count("'average'") == 1
    assert "mean" not in str(unknown_choice("pooling", "x", ["max"])).lower()


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), True, "0.5", None])
def test_a_threshold_is_a_probability(threshold: object) -> None:
    with pytest.raises(CosegError, match="probability"):
        checked_threshold(threshold)


def test_thresholds_that_are_kept() -> None:
    assert [checked_threshold(value) for value in (0, 0.5, 1)] == [0.0, 0.5, 1.0]
    assert issubclass(DamagedFile, CosegError)
