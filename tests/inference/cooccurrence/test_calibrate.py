"""Calibration on pairs whose answer is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tiny_networks import network_config, tiny_network

from coseg import CoSegmenter
from coseg.data.catalog import Catalog
from coseg.hub.settings import settings_of
from coseg.inference.cooccurrence.calibrate import calibrate


class Grounds(Catalog):
    """Images of one colour for each class, with a little noise."""

    def __init__(self, images: int, seed: int = 0) -> None:
        self.classes = np.arange(images) % 3
        presence = np.eye(3, dtype=bool)[self.classes]
        super().__init__("grounds", "some", [f"{k}" for k in range(images)], ["a", "b", "c"], presence)
        self.seed = seed

    def image(self, i: int) -> NDArray[np.uint8]:
        colour = np.zeros((24, 24, 3), np.uint8)
        colour[..., self.classes[i]] = 220
        return colour + np.random.default_rng((self.seed, i)).integers(0, 30, colour.shape, np.uint8)

    def labels(self, i: int) -> NDArray[np.uint8]:
        return np.full((24, 24), self.classes[i] + 1, np.uint8)


def test_colours_that_tell_the_classes_are_learned() -> None:
    config = network_config()
    network = tiny_network(config)
    model = CoSegmenter(network, settings_of(config, network), "cpu")
    val = Grounds(24, seed=1)
    model.calibration = calibrate(model, val, None, Grounds(12), pairs=30, groups=10)
    assert model.calibration.accuracy > 0.8 and model.calibration.classes is not None
    assert [held.name for held in model.calibration.held_out] == ["a", "b", "c"]
    assert model.pair(val.image(0), val.image(3)).common > model.pair(val.image(0), val.image(1)).common
