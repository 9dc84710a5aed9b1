"""Statistics of all pairs from descriptors."""

from __future__ import annotations

import pytest
import torch

from coseg.inference.cooccurrence import descriptors
from coseg.inference.cooccurrence.descriptors import Descriptors, alike


def test_equal_images_are_most_alike() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(3, 8, 5)
    vectors[1] = vectors[0]
    values = alike(Descriptors(vectors, torch.ones(3, 8)))
    torch.testing.assert_close(values[0, 1], torch.ones(2))
    assert float(values[0, 2].max()) < 0.99
    torch.testing.assert_close(values, values.transpose(0, 1))


def test_an_exemplar_is_compared_by_its_own_positions() -> None:
    """Further objects in the image do not lower the likeness to what was shown."""
    axes = torch.eye(4)
    feature_map = axes[:, [[0, 0], [1, 2]]][None]
    shown = descriptors.describe_positions(feature_map, torch.tensor([[True, True], [False, False]]))
    assert shown.vectors.shape == (1, descriptors.POSITIONS, 4)
    assert shown.vectors[0, :2].tolist() == [axes[0].tolist()] * 2
    assert float(shown.weights.sum()) == pytest.approx(2, abs=1e-3)
    image = descriptors.describe_positions(feature_map, torch.ones(2, 2, dtype=torch.bool))
    best, similar = descriptors.exemplar_statistics(shown, image, None).tolist()
    assert best == pytest.approx(1, abs=1e-3) and 0 < similar < 1
    assert float(descriptors.alike(descriptors.stacked((shown, image)))[0, 1, 0]) < 0.8
