"""Images whose classes are known."""

from __future__ import annotations

import numpy as np

from coseg.inference.cooccurrence.known_images import balanced


def test_rare_classes_come_first() -> None:
    presence = np.zeros((50, 2), bool)
    presence[:, 0], presence[7, 1], presence[31, 1] = True, True, True
    assert {7, 31} <= set(balanced(presence, 6, 0)) and len(balanced(presence, 6, 0)) == 6
    assert balanced(presence, 60, 0) == list(range(50))
