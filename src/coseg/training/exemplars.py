"""Training with exemplars: in some pairs of a batch each image shows which object is meant, by its label map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from coseg.data.dataset import CliqueBatch, PairBatch
from coseg.data.pair_index import mix
from coseg.errors import CosegError
from coseg.instantiate import target_class
from coseg.labels import pair_targets
from coseg.models.base import CosegNetwork


class ShownPairs(NamedTuple):
    """P pairs of a batch, in some of which the images are exemplars for each other.

    Attributes:
        regions: of the first images and of the second, uint8 (P, H, W), for `CosegNetwork.cosegment_shown`: without
            an object where an image is no exemplar.
        targets: likewise; 1 is the object of the partner's region or, where it has none, the common objects.
    """

    regions: tuple[Tensor, Tensor]
    targets: tuple[Tensor, Tensor]


def show(
    batch: PairBatch | CliqueBatch, targets: tuple[Tensor, Tensor], probability: float, seed: int, epoch: int
) -> ShownPairs:
    """The pairs of a batch, each with this probability as pair of exemplars.

    An exemplar shows one class: any of the common ones that its label map still has after augmentation. An image of a
    pair without a common class shows any class of its own, which the partner lacks: its target is then empty. An image
    that shows no such class is no exemplar.

    What is chosen depends on seed, epoch and the two images alone: not on the workers, the processes, or a stop.

    Args:
        batch: as the data module gives it.
        targets: the target maps of its pairs.
        probability: of a pair, 0 to 1.
        seed: of the training.
        epoch: the current one.
    """
    if "pairs" in batch:
        cliques = cast(CliqueBatch, batch)
        places_a, places_b = cliques["pairs"].unbind(1)
        labels, images = (cliques["labels"][places_a], cliques["labels"][places_b]), cliques["image"][cliques["pairs"]]
    else:
        labels, images = (batch["labels_a"], batch["labels_b"]), batch["pair"]
    common = batch["common"]
    samples = torch.tensor(
        [[mix(seed, epoch, i, j, way) / 2**64 for way in range(3)] for i, j in images.tolist()], device=common.device
    )
    chosen = [
        _one_of(common.where(common.any(1, keepdim=True), True) & _present(maps, common.shape[1]), samples[:, 1 + side])
        & (samples[:, :1] < probability)
        for side, maps in enumerate(labels)
    ]
    regions = [pair_targets(maps, classes) for maps, classes in zip(labels, chosen, strict=True)]
    shown = [
        target.where(~classes.any(1)[:, None, None], pair_targets(maps, classes))
        for target, maps, classes in zip(targets, labels, reversed(chosen), strict=True)
    ]
    return ShownPairs((regions[0], regions[1]), (shown[0], shown[1]))


def _present(labels: Tensor, classes: int) -> Tensor:
    """Which of K classes label maps (P, H, W) have, bool (P, K)."""
    present = torch.zeros(len(labels), 256, dtype=torch.bool, device=labels.device)
    return present.scatter_(1, labels.flatten(1).long(), True)[:, 1 : classes + 1]


def _one_of(candidates: Tensor, samples: Tensor) -> Tensor:
    """One True of each row of bool (P, K), all equally likely for a sample from 0 to 1; of a row without any, none."""
    order = candidates.cumsum(1)
    wanted = (samples * order[:, -1]).long().clamp(max=(order[:, -1] - 1).clamp(min=0)) + 1
    return candidates & (order == wanted[:, None])


def require_exemplars(network: CosegNetwork) -> None:
    """Refuse a network that can't be trained with exemplars.

    Raises:
        CosegError: it has no `cosegment_shown`, or losses of its own, or does not match.
    """
    _require(type(network), getattr(network, "matching", True))


def require_configured(task: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """`require_exemplars` of the network that `model` describes, before it is made, if `task` asks for exemplars.

    Raises:
        CosegError: the network can't be trained with them.
    """
    if task.get("exemplars"):
        network = target_class(model, "model")
        if isinstance(network, type) and issubclass(network, CosegNetwork):
            _require(network, model.get("matching", True))


def _require(network: type[CosegNetwork], matching: Any) -> None:
    remedy = "set task.exemplars=0, or take model=embedding_matching or model=cross_correlation."
    if network.cosegment_shown is CosegNetwork.cosegment_shown:
        raise CosegError(f"{network.__name__} can't be trained with exemplars, it has no cosegment_shown: {remedy}")
    if network.learn is not CosegNetwork.learn:
        raise CosegError(f"{network.__name__} has losses of its own, which exemplars would leave out: {remedy}")
    if matching is False:
        raise CosegError("A network with model.matching=false does not compare images: set task.exemplars=0.")
