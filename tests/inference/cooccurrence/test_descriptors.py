"""Statistics of all pairs from descriptors."""

from __future__ import annotations

import torch

from coseg.inference.cooccurrence.descriptors import Descriptors, alike


def test_equal_images_are_most_alike() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(3, 8, 5)
    vectors[1] = vectors[0]
    values = alike(Descriptors(vectors, torch.ones(3, 8)))
    torch.testing.assert_close(values[0, 1], torch.ones(2))
    assert float(values[0, 2].max()) < 0.99
    torch.testing.assert_close(values, values.transpose(0, 1))
