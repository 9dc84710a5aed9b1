"""A training batch after its encoding, whether its images come in pairs or in cliques."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from coseg.data.cliques import CliqueBatch
from coseg.data.dataset import PairBatch, pair_targets
from coseg.models.network import CosegNetwork, Size, image_size


class EncodedPairs(NamedTuple):
    """P pairs.

    Attributes:
        features: of the first images and of the second, the pairs first.
        sizes: height and width of both.
        targets: uint8 (P, H, W) of both.
        positive: bool (P,), whether a pair has a common class.
        labelled: features of images with their label maps, uint8 (M, H, W); each image is in one of them, once.
    """

    features: tuple[Any, Any]
    sizes: tuple[Size, Size]
    targets: tuple[Tensor, Tensor]
    positive: Tensor
    labelled: list[tuple[Any, Tensor]]


def encode_batch(network: CosegNetwork, batch: PairBatch | CliqueBatch) -> EncodedPairs:
    """Encode each image of a batch once."""
    positive = batch["common"].any(1)
    if "pairs" in batch:
        batch = cast(CliqueBatch, batch)
        features, labels, pairs = network.encode(batch["images"]), batch["labels"], batch["pairs"]
        size = image_size(batch["images"])
        target_a, target_b = (pair_targets(labels[places], batch["common"]) for places in pairs.unbind(1))
        features_a, features_b = (chosen(features, places) for places in pairs.unbind(1))
        return EncodedPairs(
            (features_a, features_b), (size, size), (target_a, target_b), positive, [(features, labels)]
        )
    features_a, features_b = network.encode_pairs(batch["image_a"], batch["image_b"])
    return EncodedPairs(
        features=(features_a, features_b),
        sizes=(image_size(batch["image_a"]), image_size(batch["image_b"])),
        targets=(batch["target_a"], batch["target_b"]),
        positive=positive,
        labelled=[(features_a, batch["labels_a"]), (features_b, batch["labels_b"])],
    )


def chosen(features: Any, places: Tensor) -> Any:
    """The features at these places of a batch, int64 (P,); an image may be taken often."""
    if isinstance(features, Tensor):
        return torch.index_select(features, 0, places)
    return tuple(chosen(part, places) for part in features)
