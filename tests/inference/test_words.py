"""The sentences and the numbers of a co-segmentation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from coseg.inference.commonness import Calibration
from coseg.inference.scores import common_scores, common_sentence, image_scores, percent, trust_sentence
from coseg.inference.segment import Cosegmentation, Segment

SEGMENT = Segment("a.jpg", (30, 40), np.array([[0.75, 0.25, 0.25, 0.25]], np.float16))
UNMEASURED = Calibration(("a",), (0.0,), (1.0,), (1.0,), 0.0)


@pytest.mark.parametrize(
    ("share", "said"),
    [(0, "0 %"), (0.001, "under 1 %"), (0.126, "13 %"), (0.995, "over 99 %"), (1, "100 %")],
)
def test_shares_in_words(share: float, said: str) -> None:
    assert percent(share) == said


def test_numbers_of_an_image() -> None:
    assert image_scores(Path("album/a.jpg"), SEGMENT) == {
        "file": str(Path("album/a.jpg")), "width": 40, "height": 30, "foreground": 0.25, "confidence": 0.75,
    }  # fmt: skip


def test_what_is_not_calibrated_is_null() -> None:
    assert common_scores(Cosegmentation((SEGMENT, SEGMENT), math.nan)) == {"common": None, "shares": None}
    assert common_scores(Cosegmentation((SEGMENT, SEGMENT), 0.25)) == {"common": 0.25, "shares": False}


def test_nothing_is_claimed_that_was_not_measured() -> None:
    assert trust_sentence(None) == trust_sentence(UNMEASURED) == ""
    found = Cosegmentation((SEGMENT, SEGMENT), 0.25)
    assert common_sentence(found, UNMEASURED).endswith("so what is marked may mean nothing.")
