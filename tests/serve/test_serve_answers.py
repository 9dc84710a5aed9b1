"""The body of an answer."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from fake_service import FakeModel
from PIL import Image

from coseg.inference.cosegmentation import Cosegmentation, Segment
from coseg.serve.answers import encode_answer, mask_png


def _result(common: float) -> Cosegmentation:
    probability = np.zeros((8, 8), np.float16)
    probability[:4] = 0.8
    return Cosegmentation(tuple(Segment(name, (16, 16), probability) for name in ("a.jpg", "b.jpg")), common)


def test_numbers_that_json_does_not_have_are_null() -> None:
    body, media = encode_answer(_result(math.nan), FakeModel(), "json", None, lambda: None)
    answer = json.loads(body, parse_constant=pytest.fail)
    assert media == "application/json" and answer["common"] is None and answer["shares"] is None


def test_a_threshold_changes_mask_and_share() -> None:
    for threshold, share in ((None, 0.5), (0.9, 0.0)):
        body, _ = encode_answer(_result(0.5), FakeModel(), "json", threshold, lambda: None)
        assert json.loads(body)["images"][0]["foreground"] == share


def test_a_mask_is_grey_at_full_size() -> None:
    mask = np.asarray(Image.open(io.BytesIO(mask_png(_result(0.5)[0]))))
    assert mask.shape == (16, 16) and mask[:7].all() and not mask[9:].any()


def test_nobody_waits_for_it() -> None:
    def gone() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        encode_answer(_result(0.5), FakeModel(), "zip", None, gone)
