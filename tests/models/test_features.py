"""Features in nested tuples: held in half precision, joined, repeated and taken, level by level."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from facts import naming

from coseg.errors import CosegError
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.features import (
    concatenate,
    deepest,
    dtypes,
    group_logits,
    halves,
    inherits,
    map_levels,
    repeat,
    restore,
    size_in_bytes,
    take,
    tensors,
    to_half_on_cpu,
)
from coseg.models.siamese import SiameseNetwork


def test_levels_keep_their_places() -> None:
    features = (torch.ones(1, 2), (torch.ones(1, 3), torch.ones(1, 4)))
    doubled = map_levels(lambda level, factor: level * factor, features, (2, (3, 4)))
    assert doubled[0].tolist() == [[2, 2]] and doubled[1][0].tolist() == [[3, 3, 3]]
    assert [level.shape[1] for level in tensors(doubled)] == [2, 3, 4]
    assert deepest(doubled) is doubled[1][1]
    assert size_in_bytes(features) == 9 * 4
    with pytest.raises(ValueError, match="argument"):
        map_levels(lambda level, factor: level * factor, features, (2,))


def test_batches_are_split_and_joined_again() -> None:
    features = (torch.arange(6).view(6, 1), (torch.arange(12).view(6, 2),))
    first, second = halves(features)
    assert first[0].flatten().tolist() == [0, 1, 2] and second[1][0][0].tolist() == [6, 7]
    joined = concatenate([first, second])
    assert all(torch.equal(a, b) for a, b in zip(tensors(joined), tensors(features), strict=True))
    assert concatenate([features]) is features


def test_rows_are_taken_and_one_is_repeated_without_a_copy() -> None:
    features = (torch.arange(4), (torch.arange(8).view(4, 2),))
    first, (second,) = take(features, torch.tensor([3, 3, 0]))
    assert first.tolist() == [3, 3, 0] and second.tolist() == [[6, 7], [6, 7], [0, 1]]
    single = torch.rand(1, 2, 3)
    assert repeat((single,), 5)[0].shape == (5, 2, 3)
    assert repeat(single, 5).data_ptr() == single.data_ptr()


def test_half_precision_is_clamped_and_leaves_whole_numbers() -> None:
    features = (torch.tensor([[1e6, -1e6, 1.0]]), torch.arange(3))
    held = to_half_on_cpu(features)
    assert held[0].dtype == torch.float16 and held[1].dtype == torch.int64
    restored = restore(held, dtypes(features), torch.device("cpu"))
    assert restored[0].dtype == torch.float32 and restored[0].tolist() == [[65504.0, -65504.0, 1.0]]


@pytest.mark.parametrize("features", [None, {"maps": torch.zeros(1)}, "maps", ()])
def test_what_is_no_features(features: Any) -> None:
    for use in (halves, deepest, lambda value: list(tensors(value))):
        with pytest.raises(CosegError, match=naming(type(features).__name__, "encode", "tuples")):
            use(features)


def test_a_network_that_takes_no_members_computes_all() -> None:
    class Plain:
        def cosegment_group(self, features: Any, sizes: Any) -> list[int]:
            return [10 * image for image in features]

    network: Any = Plain()
    assert list(group_logits(network, [0, 1, 2], [], None)) == [0, 10, 20]
    assert list(group_logits(network, [0, 1, 2], [], [0, 2])) == [0, 20]


def test_a_method_of_the_class_itself_or_of_a_subclass() -> None:
    class Mixed:
        def cosegment(self) -> None: ...

    class Heir(SiameseNetwork): ...

    class Other(Mixed, SiameseNetwork): ...

    assert inherits(Heir(VGG16Encoder(width=0.125)), SiameseNetwork, "cosegment", "encode")
    assert not inherits(Other(VGG16Encoder(width=0.125)), SiameseNetwork, "encode", "cosegment")
