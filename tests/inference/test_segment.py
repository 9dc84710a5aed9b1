"""Masks at the size of the original."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from coseg.errors import CosegError
from coseg.inference.segment import Cosegmentation, Segment


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
        with pytest.raises(CosegError, match="must be a probability"):
            found.mask(wrong)


def test_confidence_is_that_of_the_likelier_answer() -> None:
    sure = Segment("a", (2, 2), np.array([[1, 0], [0, 0]], np.float16))
    unsure = Segment("b", (2, 2), np.array([[0.75, 0.25], [0.5, 0.5]], np.float16))
    assert sure.confidence == 1
    assert unsure.confidence == 0.625


def test_images_share_something_from_a_half_on() -> None:
    parts = (segment(4, 4, (4, 4)), segment(4, 4, (4, 4)))
    assert Cosegmentation(parts).shares is None
    assert Cosegmentation(parts, 0.5).shares is True
    assert Cosegmentation(parts, 0.49).shares is False
    found = Cosegmentation(parts, 0.5)
    assert len(found) == 2 and list(found) == [found[0], found[1]] and found[-1] is parts[1]
