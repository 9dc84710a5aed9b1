"""Masks at the size of the original, and the numbers and sentences of a co-segmentation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from facts import mentions

from coseg.errors import CosegError
from coseg.hub.calibration import Calibration
from coseg.hub.measures import Count, SizeMeasures
from coseg.inference.cosegmentation import (
    Cosegmentation,
    Segment,
    common_scores,
    common_sentence,
    image_scores,
    percent,
    reliability,
    trust_sentence,
)


def segment(height: int, width: int, size: tuple[int, int], threshold: float = 0.5) -> Segment:
    probability = np.random.default_rng(0).random((height, width)).astype(np.float16)
    return Segment("a.png", size, probability, threshold)


@pytest.mark.parametrize("size", [(601, 77), (30, 40), (40, 700), (30, 41)])
def test_masks_are_cut_from_the_enlarged_probability(size: tuple[int, int]) -> None:
    found = segment(30, 40, size)
    maps = torch.from_numpy(found.probability.astype(np.float32))[None, None]
    expected = F.interpolate(maps, size, mode="bilinear", align_corners=False)[0, 0].numpy()
    clear = np.abs(expected - 0.5) > 1e-5
    assert found.mask().shape == size
    assert (found.mask() == (expected > 0.5))[clear].all()
    assert 0.3 < found.mask().mean() < 0.7


def test_the_threshold_moves_the_mask() -> None:
    found = segment(20, 20, (20, 20), threshold=0.8)
    assert found.foreground == found.mask().mean() == (found.probability > np.float16(0.8)).mean()
    assert (found.mask(0.3) == (found.probability.astype(np.float32) > 0.3)).all()
    assert not found.mask(1.0).any()
    for wrong in (-0.1, 1.5, math.nan):
        with pytest.raises(CosegError, match="probability"):
            found.mask(wrong)


def test_confidence_is_that_of_the_likelier_answer() -> None:
    sure = Segment("a", (2, 2), np.array([[1, 0], [0, 0]], np.float16))
    unsure = Segment("b", (2, 2), np.array([[0.75, 0.25], [0.5, 0.5]], np.float16))
    assert sure.confidence == 1
    assert unsure.confidence == 0.625


def test_there_are_three_levels_of_answers() -> None:
    parts = (segment(4, 4, (4, 4)), segment(4, 4, (4, 4)))
    assert Cosegmentation(parts).shares is None
    assert Cosegmentation(parts, 0.76).shares is True
    assert Cosegmentation(parts, 0.49).shares is None
    assert Cosegmentation(parts, 0.24).shares is False
    found = Cosegmentation(parts, 0.5)
    assert len(found) == 2 and list(found) == [found[0], found[1]] and found[-1] is parts[1]


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
    result = Cosegmentation((SEGMENT, SEGMENT), 0.25)
    assert trust_sentence(None, result) == trust_sentence(UNMEASURED, result) == ""
    assert "nothing" in common_sentence(result, UNMEASURED)


def test_the_quoted_share_is_that_of_the_answer_the_size_and_the_input_size() -> None:
    sizes = (SizeMeasures(3, 1200, 0.8, (0.75, 0.85), yes=Count(90, 100), no=Count(40, 80)),)
    group = replace(UNMEASURED, data="coco", sizes=sizes)
    calibration = replace(UNMEASURED, group=group, input_size=160)
    three = Cosegmentation((SEGMENT,) * 3, 0.8, input_size=160)
    assert "90 %" in trust_sentence(calibration, three) and "50 %" in trust_sentence(
        calibration, replace(three, common=0.2)
    )
    assert not trust_sentence(calibration, replace(three, common=0.5))
    assert not trust_sentence(calibration, replace(three, input_size=320))
    assert not trust_sentence(calibration, replace(three, segments=(SEGMENT,) * 4))
    assert all(fact in reliability(calibration, 3, 160) for fact in ("1,200 groups", "coco", "75 %", "85 %"))


def test_what_does_not_belong_is_named() -> None:
    odd = replace(SEGMENT, name="odd.jpg", belongs=0.1)
    result = Cosegmentation((replace(SEGMENT, belongs=0.9), odd, replace(SEGMENT, belongs=0.8)), 0.8)
    assert result.outside == (1,) and result.order == (0, 2, 1)
    assert "odd.jpg" in common_sentence(result, None) and "not seem to belong" in common_sentence(result, None)
    assert replace(result, common=0.2).outside == ()


def test_the_sentence_of_exemplars() -> None:
    full, empty = np.ones((4, 4), np.float16), np.zeros((4, 4), np.float16)
    segments = (
        Segment("a.jpg", (4, 4), full, belongs=0.9),
        Segment("b.jpg", (4, 4), empty, belongs=0.2),
        Segment("c.jpg", (4, 4), empty),
    )
    result = Cosegmentation(segments, exemplars=2)
    assert result.outside == (1, 2) and result.shares is None
    sentence = common_sentence(result, None)
    assert mentions(sentence, "1 of 3 images", "b.jpg (20 % likely) and c.jpg")
    assert common_scores(result) == {"common": None, "shares": None, "outside": [2, 3], "exemplars": 2}
    assert mentions(common_sentence(Cosegmentation(segments[:1], exemplars=1), None), "1 of 1 image")
    unsure = (segments[0], Segment("d.jpg", (4, 4), full, belongs=0.5))
    assert Cosegmentation(unsure, exemplars=1).unsure == (1,)
    assert mentions(common_sentence(Cosegmentation(unsure, exemplars=1), None), "1 of 2 images", "d.jpg (50 % likely)")
