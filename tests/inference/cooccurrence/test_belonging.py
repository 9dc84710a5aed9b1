"""Which image of a group does not belong."""

from __future__ import annotations

import torch

from coseg.hub.calibration import Calibration
from coseg.hub.measures import LOWEST
from coseg.inference.cooccurrence.belonging import GROUP_CORE, answer, belonging_values, clusters


def test_an_image_unlike_the_core_is_the_least_likely_with_one_and_with_half_intruders() -> None:
    for members in (4, 3):
        pairs = torch.full((6, 6), -2.0)
        pairs[:members, :members] = 2.0
        values = belonging_values(pairs)[:, 0]
        assert values[:members].min() > 1 > -1 > values[members:].max()


def test_nothing_in_common_is_never_sure() -> None:
    group = Calibration(GROUP_CORE, (0.0,) * 3, (1.0,) * 3, (1.0,) * 3, 0.0)
    calibration = Calibration(("x",), (0.0,), (1.0,), (1.0,), 0.0, group=group)
    assert answer(calibration, torch.full((4, 4), -9.0)).common == LOWEST
    assert answer(calibration, torch.full((4, 4), 9.0)).common > 0.9


def test_an_album_of_two_objects_and_a_stray_falls_into_groups_of_which_each_two_share_one() -> None:
    kinds = torch.tensor([0, 1, 0, 2, 1, 0])
    same = kinds[:, None] == kinds[None]
    pairs = torch.where(same, 3.0, -2.0)
    assert clusters(pairs) == [[0, 2, 5], [1, 4], [3]]
    pairs[0, 5] = pairs[5, 0] = -0.1  # one pair of three that shares nothing: not one group
    found = clusters(pairs)
    assert sorted(map(len, found)) == [1, 1, 2, 2] and not any({0, 5} <= set(group) for group in found)
    assert clusters(pairs[:1, :1]) == [[0]] and clusters(pairs[:0, :0]) == []
