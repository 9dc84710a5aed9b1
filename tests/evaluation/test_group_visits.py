"""Groups of images, encoded as seldom as the bound allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
import torch
from torch import Tensor

from coseg.data.dataset import ImageItem
from coseg.evaluation.group_visits import GroupVisits

IMAGE_BYTES = 5 * 4 + 6 * 7  # five numbers, and a label map


class Images:
    """Counts what is read and encoded."""

    def __init__(self) -> None:
        self.read_images: Counter[int] = Counter()
        self.encoded: Counter[int] = Counter()

    def read(self, indices: Iterable[int]) -> Iterator[ImageItem]:
        for i in indices:
            self.read_images[i] += 1
            yield ImageItem(i, torch.full((3, 6, 7), i, dtype=torch.uint8), torch.full((6, 7), i, dtype=torch.uint8))

    def encode(self, image: Tensor) -> Tensor:
        i = int(image.flatten()[0])
        self.encoded[i] += 1
        return torch.full((1, 5), float(i))


def visited(images: Images, groups: list[list[int]], gigabytes: float) -> None:
    """Ask for everything as `cosegment_group` and the scoring do, and check it."""
    for group, expected in zip(GroupVisits(groups, images.read, images.encode, gigabytes), groups, strict=True):
        assert list(group.images) == expected and len(group.features) == len(expected)
        assert [float(each[0, 0]) for each in group.features] == expected
        for k, (features, size) in enumerate(zip(group.features, group.sizes, strict=True)):
            assert float(features[0, 0]) == expected[k] and size == (6, 7)
            assert group.labels[k].shape == (1, 6, 7) and int(group.labels[k][0, 0, 0]) == expected[k]


def test_what_fits_is_read_and_encoded_once() -> None:
    images = Images()
    visited(images, [[0, 1, 2], [2, 3], [0, 3]], 1.0)
    assert images.encoded == images.read_images == Counter(range(4))


@pytest.mark.parametrize("fit", [0, 2, 3])
def test_past_the_bound_an_image_is_encoded_each_time(fit: int) -> None:
    images = Images()
    group = list(range(5))
    visited(images, [group], (fit + 0.5) * IMAGE_BYTES / 1e9)
    assert [images.encoded[i] for i in group] == [1] * fit + [2] * (5 - fit)


def test_images_of_later_groups_make_room() -> None:
    """The first group's images are wanted again by the third, but the second needs their place."""
    images = Images()
    visited(images, [[0, 1], [2, 3], [0, 1]], 2.5 * IMAGE_BYTES / 1e9)
    assert images.encoded == Counter({0: 2, 1: 2, 2: 1, 3: 1})


def test_single_images_and_stretches_can_be_asked_for() -> None:
    images = Images()
    for group in GroupVisits([[4, 5, 6]], images.read, images.encode, 1.0):
        assert group.sizes[1] == (6, 7)  # before its features were
        assert float(group.features[-1][0, 0]) == 6
        assert [float(each[0, 0]) for each in group.features[1:]] == [5, 6]
    assert images.encoded == Counter([5, 6])
