"""The classes that a calibration knows."""

from __future__ import annotations

import json

import pytest
import torch

from coseg.errors import CosegError
from coseg.hub.class_directions import ClassDirections


def test_directions_tell_classes_and_come_back_from_json() -> None:
    torch.manual_seed(0)
    classes = torch.arange(60) % 3
    vectors = torch.eye(3)[classes] * 4 + torch.randn(60, 3) / 4
    made = ClassDirections.fit(("a", "b"), vectors, classes)
    assert bool((made.logits(vectors).argmax(1) == classes).all())
    again = ClassDirections.from_dict(json.loads(json.dumps(made.to_dict())))
    torch.testing.assert_close(again.weight, made.weight, atol=1e-4, rtol=0)
    with pytest.raises(CosegError, match="channels"):
        made.logits(torch.rand(2, 5))
