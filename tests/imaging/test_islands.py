"""Islands and strips are removed by the rule that the module states, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from coseg.imaging.islands import SMALLEST, STRIP, THIN, without_islands
from coseg.inference.cosegmentation import Segment


def drawn(*parts: tuple[slice, slice]) -> np.ndarray:
    """A probability of 100 x 200: 0.9 in the parts, 0.1 elsewhere."""
    probability = np.full((100, 200), 0.1, np.float16)
    for part in parts:
        probability[part] = 0.9
    return probability


OBJECT = (slice(30, 70), slice(50, 100))  # 2000 pixels


@pytest.mark.parametrize(
    ("part", "stays"),
    [
        ((slice(10, 19), slice(10, 20)), False),  # 90 pixels: less than 5 % of the object
        ((slice(10, 20), slice(10, 21)), True),  # 110
        ((slice(0, 100), slice(0, 4)), False),  # 400 along the left border, 4 of 200 wide
        ((slice(0, 100), slice(192, 200)), True),  # 800: more than a quarter
        ((slice(0, 40), slice(191, 200)), True),  # 360, but 9 of 200 wide
        ((slice(97, 100), slice(100, 200)), False),  # 300 along the lower border
        ((slice(90, 93), slice(100, 200)), True),  # the same away from the border
    ],
)
def test_the_rule(part: tuple[slice, slice], stays: bool) -> None:
    assert (SMALLEST, THIN, STRIP) == (0.05, 0.04, 0.25)
    kept = without_islands(drawn(OBJECT, part), 0.5)
    assert kept.dtype == np.float32
    assert (kept[part] > 0.5).all() == stays and (kept[part] > 0.5).any() == stays
    assert (kept[OBJECT] > 0.5).all()
    rest = np.ones(kept.shape, bool)
    rest[OBJECT] = rest[part] = False
    assert np.allclose(kept[rest], 0.1, atol=1e-3)


def test_the_largest_part_stays_even_as_a_strip_and_an_empty_mask_is_empty() -> None:
    strip = drawn((slice(0, 2), slice(0, 200)))
    assert (without_islands(strip, 0.5) == strip).all()
    assert not (without_islands(drawn(), 0.5) > 0.5).any()


def test_objects_of_equal_size_stay_and_corners_connect() -> None:
    herd = drawn(*[(slice(10, 30), slice(left, left + 20)) for left in range(5, 180, 30)])
    assert (without_islands(herd, 0.5) == herd).all()
    touching = drawn(OBJECT, (slice(70, 73), slice(100, 103)))
    assert (without_islands(touching, 0.5) == touching).all()


def test_masks_of_a_segment_at_any_size_and_threshold_and_the_option() -> None:
    probability = drawn(OBJECT, (slice(10, 15), slice(10, 15)))
    probability[10:15, 150:155] = 0.4
    for size in ((100, 200), (331, 650), (50, 99)):
        tidy, raw = (Segment("a", size, probability, 0.5, None, keep) for keep in (False, True))
        corner = slice(0, size[0] // 5), slice(0, size[1] // 5)
        assert raw.mask()[corner].any() and not tidy.mask()[corner].any()
        assert tidy.mask().sum() < raw.mask().sum()
        assert (raw.mask() & ~tidy.mask()).sum() == raw.mask()[corner].sum()
        assert not tidy.mask(0.3)[: size[0] // 5].any() and raw.mask(0.3)[: size[0] // 5, size[1] // 2 :].any()
        assert tidy.foreground == pytest.approx(2000 / 20000)
        assert raw.foreground == pytest.approx(2025 / 20000)
    assert tidy.confidence == raw.confidence
