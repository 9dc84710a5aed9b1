"""Classes in feature space, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from coseg.data.catalog import Catalog
from coseg.evaluation.nearest import Nearest, class_features, nearest_classes, nearest_table, rank_correlation


class Two(Catalog):
    """Image 0 has class a in its left half and b in a quarter, image 1 has a in one pixel."""

    def __init__(self) -> None:
        super().__init__("two", "x", ["0", "1"], ["a", "b", "c"], np.array([[1, 1, 0], [1, 0, 0]], bool))

    def image(self, i: int) -> np.ndarray:
        image = np.zeros((4, 4, 3), np.uint8)
        image[..., 0] = np.arange(16).reshape(4, 4)
        image[..., 1] = 100 * i
        return image

    def labels(self, i: int) -> np.ndarray:
        labels = np.zeros((4, 4), np.uint8)
        if i == 0:
            labels[:, :2], labels[:2, 2:] = 1, 2
        else:
            labels[3, 3] = 1
        return labels


def test_features_are_means_over_the_pixels_of_a_class_then_over_images() -> None:
    found = class_features(lambda image: image[:, :2].float(), Two())
    values = np.arange(16).reshape(4, 4)
    assert found.keys() == {"a", "b"}
    assert found["a"].tolist() == pytest.approx([(values[:, :2].mean() + 15) / 2, 50])
    assert found["b"].tolist() == pytest.approx([values[:2, 2:].mean(), 0])
    half = class_features(lambda image: F.avg_pool2d(image[:, :1].float(), 2), Two())  # a cell counts by its share
    assert half["a"].tolist() == pytest.approx([(values[:, :2].mean() + values[2:, 2:].mean()) / 2])


def test_the_nearest_class_has_the_largest_cosine_from_the_centre() -> None:
    training = {name: torch.tensor(vector) for name, vector in (("x", [3.0, 1.0]), ("y", [1.0, 3.0]))}  # centre (2, 2)
    tested = {"u": torch.tensor([4.0, 1.0]), "y": torch.tensor([0.0, 9.0])}
    assert nearest_classes(training, tested, {"u": 0.5, "y": 0.9}) == [
        Nearest("u", 0.5, "x", pytest.approx(3 / math.sqrt(10)))  # of (2, -1) and (1, -1)
    ]


def test_correlation_of_ranks() -> None:
    assert rank_correlation([1, 2, 3], [10, 20, 90]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: 4.5 over the root of 4.5 times 5.
    assert rank_correlation([0, 5, 5, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert math.isnan(rank_correlation([1, 1], [1, 2]))


def test_the_table_starts_with_the_nearest() -> None:
    rows = [Nearest("u", 0.5, "x", 0.25), Nearest("v", None, "y", 0.75), Nearest("w", 0.125, "y", 0.5)]
    table = nearest_table(rows)
    assert table.blocks == [("", [["v", "y", "0.750", "-"], ["w", "y", "0.500", "12.5"], ["u", "x", "0.250", "50.0"]])]
    assert len(table.notes) == 1
    assert "over 3 classes: -1.00" in nearest_table([*rows[:1], rows[2], Nearest("z", 0.0, "x", 0.9)]).notes[1]
