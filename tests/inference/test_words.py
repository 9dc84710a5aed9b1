"""The sentences and the numbers of a co-segmentation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coseg.inference.commonness import Calibration
from coseg.inference.scores import common_scores, common_sentence, image_scores, percent, trust_sentence
from coseg.inference.segment import Cosegmentation, Segment
from coseg.inference.sizes import SizeMeasures

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


def test_groups_are_told_of_by_groups() -> None:
    pairs = replace(UNMEASURED, accuracy=0.7, pairs=2000, data="voc")
    three = Cosegmentation((SEGMENT,) * 3, 0.75)
    assert "for groups was not measured" in common_sentence(three, pairs)
    assert "70 % of 2,000 pairs of voc" in common_sentence(replace(three, segments=(SEGMENT,) * 2), pairs)
    group = replace(UNMEASURED, data="coco", sizes=(SizeMeasures(3, 1200, 0.8, (0.75, 0.85)),))
    said = common_sentence(three, replace(pairs, group=group))
    assert said.endswith("80 % of 1,200 groups of 3 images of coco (95 % interval: 75 % to 85 %).")
