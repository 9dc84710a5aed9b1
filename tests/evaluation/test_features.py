"""Each image is encoded once while its features fit."""

import torch
from torch import Tensor

from coseg.evaluation.features import FeatureCache


def cache(gigabytes: float) -> tuple[FeatureCache, list[float]]:
    encoded: list[float] = []

    def encode(image: Tensor) -> tuple[Tensor, Tensor]:
        encoded.append(float(image.mean()))
        return image * 2, image + 1

    return FeatureCache(encode, gigabytes), encoded


def image(value: int) -> Tensor:
    return torch.full((1, 3, 10, 10), float(value))


def test_each_image_is_encoded_once() -> None:
    features, encoded = cache(1.0)
    for index in (0, 1, 0, 2, 1, 2, 0):
        double, more = features(index, image(index))
        assert double.unique().item() == 2 * index and more.unique().item() == index + 1
    assert encoded == [0, 1, 2]
    assert features.held == 3 * 2 * 300 * 4


def test_the_least_recently_used_leave_first_and_the_bound_holds() -> None:
    features, encoded = cache(2 * 2400e-9)  # two images of 2 x 300 float32
    for index in (0, 1, 0, 2):  # 1 leaves
        features(index, image(index))
        assert features.held <= features.bound
    features(0, image(0))
    assert encoded == [0, 1, 2]
    features(1, image(1))
    assert encoded == [0, 1, 2, 1]


def test_nothing_is_kept_with_a_bound_of_zero() -> None:
    features, encoded = cache(0)
    for _ in range(2):
        assert features(3, image(3))[0].unique().item() == 6
    assert encoded == [3, 3] and features.held == 0
