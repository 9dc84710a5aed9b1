"""Features of a group, held until their turn."""

from __future__ import annotations

import torch

from coseg.inference.encoded_images import HeldFeatures


def test_small_features_stay_as_they_are() -> None:
    held = HeldFeatures(torch.device("cpu"))
    features = [torch.rand(1, 4, 3, 3) for _ in range(3)]
    for each in features:
        held.append(each)
    assert len(held) == 3 and held.bytes == 3 * 4 * 36
    assert all(a is b for a, b in zip(held, features, strict=True))
    assert held[1:] == features[1:]


def test_large_ones_are_held_in_half_precision_and_come_in_full() -> None:
    held = HeldFeatures(torch.device("cpu"), full_bytes=300)
    features = [(torch.randn(1, 4, 3, 3), (torch.randn(1, 2), torch.arange(3))) for _ in range(3)]
    for each in features:
        held.append(each)
    assert held.half
    for found, expected in zip(held, features, strict=True):
        assert found[0].dtype == torch.float32 and torch.equal(found[1][1], expected[1][1])
        assert torch.equal(found[0], expected[0].half().float())
    stored = held._held[0][0]
    assert stored.dtype == torch.float16  # the first one too, which came before there were too many


def test_values_beyond_half_precision_stay_finite() -> None:
    held = HeldFeatures(torch.device("cpu"), full_bytes=0)
    held.append(torch.tensor([[1e6, -1e6, 1.0]]))
    assert held[0].tolist() == [[65504.0, -65504.0, 1.0]]
