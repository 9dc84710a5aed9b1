"""What training minimises: an encoded batch, and the terms of the loss, the configuration group ``loss``.

A term is any `torch.nn.Module` that takes a `LossInput` and returns a number:

>>> class FirstImageLoss(Loss):
...     def forward(self, batch):
...         return pair_loss(batch.logits[0], batch.targets[0], "ignored")
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.data.dataset import CliqueBatch, PairBatch
from coseg.errors import CosegError, unknown_choice
from coseg.instantiate import build, target_class
from coseg.labels import BACKGROUND, COMMON, VOID, pair_targets
from coseg.metrics.mask_counts import VOID_RULES
from coseg.models.base import CosegNetwork, EncoderDecoderNetwork, Size, image_size
from coseg.models.features import take

_IGNORED = -100


class LossInput(NamedTuple):
    """What a term of the loss is given: B pairs of a batch, after the network.

    Attributes:
        logits: (B, 2, H, W) of the first images and (B, 2, H', W') of the second; channel 1 is the foreground.
        targets: uint8 (B, H, W) and (B, H', W'): 0 background, 1 common object, 2 other object, 255 void.
        common: bool (B, K), the classes that both images of a pair show; all False in a negative pair.
        features: what ``network.encode`` gives for the first images and for the second, in the order of the pairs.
        labelled: features with label maps, uint8 (M, H, W): 0 background, k + 1 class k, 255 void. Each image of the
            batch occurs once, however many pairs it is in.
    """

    logits: tuple[Tensor, Tensor]
    targets: tuple[Tensor, Tensor]
    common: Tensor
    features: tuple[Any, Any]
    labelled: list[tuple[Any, Tensor]]

    @property
    def sides(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and targets of the first images, then of the second."""
        return zip(self.logits, self.targets, strict=True)


class EncodedPairs(NamedTuple):
    """A training batch of P pairs after its encoding, whether its images come in pairs or in cliques.

    Attributes:
        sizes: height and width of the first images and of the second.
        positive: bool (P,), whether a pair has a common class.
        features, targets, common, labelled: see `LossInput`.
    """

    features: tuple[Any, Any]
    sizes: tuple[Size, Size]
    targets: tuple[Tensor, Tensor]
    common: Tensor
    positive: Tensor
    labelled: list[tuple[Any, Tensor]]

    def loss_input(self, logits: tuple[Tensor, Tensor]) -> LossInput:
        """These pairs with the logits of the network."""
        return LossInput(logits, self.targets, self.common, self.features, self.labelled)


def encode_batch(network: CosegNetwork, batch: PairBatch | CliqueBatch) -> EncodedPairs:
    """Encode each image of a batch once."""
    positive = batch["common"].any(1)
    if "pairs" in batch:
        batch = cast(CliqueBatch, batch)
        features, labels, pairs = network.encode(batch["images"]), batch["labels"], batch["pairs"]
        size = image_size(batch["images"])
        target_a, target_b = (pair_targets(labels[places], batch["common"]) for places in pairs.unbind(1))
        features_a, features_b = (take(features, places) for places in pairs.unbind(1))
        targets, labelled = (target_a, target_b), [(features, labels)]
        return EncodedPairs((features_a, features_b), (size, size), targets, batch["common"], positive, labelled)
    features_a, features_b = network.encode_pairs(batch["image_a"], batch["image_b"])
    return EncodedPairs(
        features=(features_a, features_b),
        sizes=(image_size(batch["image_a"]), image_size(batch["image_b"])),
        targets=(batch["target_a"], batch["target_b"]),
        common=batch["common"],
        positive=positive,
        labelled=[(features_a, batch["labels_a"]), (features_b, batch["labels_b"])],
    )


class Loss(nn.Module):
    """A term of the training loss; a base for typing, which a module need not have.

    A class whose constructor has an argument ``network`` or ``classes`` is given the network that is trained, or the
    number of classes K, when it is made from a configuration. Its ``weight`` is the task's, not the module's.
    """

    def forward(self, batch: LossInput) -> Tensor:
        """The value for a batch: 0-dimensional, finite, and differentiable with respect to `batch.logits` or features.

        The network, and so ``batch``, may be in half precision: take sums over many pixels in float32.
        """
        raise NotImplementedError


def pair_loss(logits: Tensor, target: Tensor, void: str) -> Tensor:
    """Cross-entropy of one image of each pair, the mean over its pixels.

    Args:
        logits: (B, 2, H, W), background and foreground.
        target: uint8 (B, H, W): 0 background, 1 common object, 2 other object (background here), 255 void.
        void: ``ignored`` leaves void pixels out, ``background`` counts them as background.
    """
    truth = (target == COMMON).long()
    if void == "ignored":
        truth[target == VOID] = _IGNORED
    # The mean over no pixel at all is nan: images that are nothing but void add nothing instead.
    total = F.cross_entropy(logits, truth, ignore_index=_IGNORED, reduction="sum")
    return total / (truth != _IGNORED).sum().clamp(min=1)


def jaccard_loss(logits: Tensor, target: Tensor, void: str) -> Tensor:
    """One minus the Jaccard index of the foreground's probabilities, the mean over the masks that have foreground.

    With p the probability and t the truth of a pixel, a mask has Σpt / Σ(p + t - pt) (Rahman and Wang 2016). Each mask
    has the same weight, however small its object, as in the score `jaccard`.

    Args:
        logits: (B, 2, H, W), background and foreground.
        target: uint8 (B, H, W): 0 background, 1 common object, 2 other object (background here), 255 void.
        void: ``ignored`` leaves void pixels out, ``background`` counts them as background.
    """
    truth = (target == COMMON).float()
    counted = (target != VOID).float() if void == "ignored" else torch.ones_like(truth)
    foreground = logits.float().softmax(1)[:, 1]
    both = (foreground * truth).sum((1, 2))
    either = ((foreground + truth) * counted).sum((1, 2)) - both
    present = truth.sum((1, 2)) > 0
    losses = 1 - both / either.clamp(min=1e-6)  # (B,)
    return (losses * present).sum() / present.sum().clamp(min=1)


class PairLoss(Loss):
    """`pair_loss` of the first images plus that of the second.

    Args:
        void: ``ignored`` leaves void pixels out, ``background`` counts them as background.

    Raises:
        CosegError: `void` is neither.
    """

    def __init__(self, void: str = "ignored") -> None:
        super().__init__()
        self.void = _checked_void(void)

    def forward(self, batch: LossInput) -> Tensor:
        """See `Loss.forward`."""
        loss_a, loss_b = (pair_loss(logits, target, self.void) for logits, target in batch.sides)
        return loss_a + loss_b


class JaccardLoss(Loss):
    """`jaccard_loss` of the first images plus that of the second; its argument is that of `PairLoss`."""

    def __init__(self, void: str = "ignored") -> None:
        super().__init__()
        self.void = _checked_void(void)

    def forward(self, batch: LossInput) -> Tensor:
        """See `Loss.forward`."""
        return torch.stack([jaccard_loss(logits, target, self.void) for logits, target in batch.sides]).sum()


class SemanticLoss(Loss):
    """Cross-entropy of the class of each pixel, predicted from the features of its image alone by a linear layer.

    Added to the loss of the pairs, it separates the features of different classes, which matching needs and pairs
    alone teach slowly. The layer has random weights that are not trained: it gives each class a direction, and the
    features learn to point there (a fixed classifier, Hoffer, Hubara, Soudry 2018). It is no part of the network.

    Args:
        network: its `feature_map` gives the features.
        classes: K.

    Raises:
        CosegError: `network.feature_map` gives no map (B, C, h, w).
    """

    def __init__(self, network: CosegNetwork, classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(_map_channels(network), classes + 1, 1).requires_grad_(False)
        self._network = (network,)  # in a tuple: its parameters are not the loss's

    def forward(self, batch: LossInput) -> Tensor:
        """The mean of `of_images` over the parts of the batch; see `Loss.forward`."""
        values = [self.of_images(features, labels) for features, labels in batch.labelled]
        total: Tensor = sum(values[1:], values[0]) / len(values)
        return total

    def of_images(self, features: Any, labels: Tensor) -> Tensor:
        """The mean over background pixels and the mean over objects, halved: both have the same weight.

        So has each class that an image shows, as in the Jaccard index of masks: otherwise a large object of an image
        hides a small one beside it. The pixels of a class that covers less than a hundredth of an image are weighted
        as if it covered that. Only every second pixel of each row and column is used.

        Args:
            features: what ``network.encode`` gives; `CosegNetwork.feature_map` makes (B, C, h, w) of them.
            labels: uint8 (B, H, W): 0 background, k + 1 class k, 255 void; objects of no class (K + 1) count as void.
        """
        features = self._network[0].feature_map(features)
        truth = labels[:, ::2, ::2].long()
        truth = truth.where(truth < self.layer.out_channels, VOID)
        logits = F.interpolate(self.layer(features).float(), truth.shape[-2:], mode="bilinear", align_corners=False)
        cost = F.cross_entropy(logits, truth.where(truth != VOID, _IGNORED), ignore_index=_IGNORED, reduction="none")
        classes = torch.arange(self.layer.out_channels, device=truth.device)
        places = truth.flatten(1)
        pixels = (places[..., None] == classes).sum(1).clamp(min=places.shape[1] / 100)  # (B, K + 1)
        weight = pixels.reciprocal().gather(1, places.clamp(max=len(classes) - 1)).view_as(cost)
        background = _weighted_mean(cost, (truth == BACKGROUND).float())
        objects = _weighted_mean(cost, weight * ((truth != BACKGROUND) & (truth != VOID)))
        return (background + objects) / 2


def _map_channels(network: CosegNetwork) -> int:
    """C of `network.feature_map`: those of coseg state it, of others a small image is encoded.

    Raises:
        CosegError: it gives no map.
    """
    if isinstance(network, EncoderDecoderNetwork) and type(network).__module__.startswith("coseg."):
        return network.feature_channels
    modes = {module: module.training for module in network.modules()}
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    network.eval()
    try:
        with torch.no_grad():
            maps = network.feature_map(network.encode(torch.zeros(1, 3, 64, 64, dtype=torch.uint8, device=device)))
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not isinstance(maps, Tensor) or maps.ndim != 4 or not maps.is_floating_point():
        shape = f"a {type(maps).__name__}"
        if isinstance(maps, Tensor):
            shape = f"a tensor {tuple(maps.shape)} of {str(maps.dtype).removeprefix('torch.')}"
        raise CosegError(
            f"task.semantic needs a map of features, float (B, C, h, w), of each image, but feature_map of "
            f"{type(network).__name__} gives {shape}: let `encode` return such a map as the last of its features, "
            "define feature_map(features), or set task.semantic=0."
        )
    return maps.shape[1]


def _weighted_mean(cost: Tensor, weight: Tensor) -> Tensor:
    """0 where all weights are 0."""
    return (cost * weight).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)


LOSSES: dict[str, type[Loss]] = {
    f"coseg.training.losses.{loss.__name__}": loss for loss in (PairLoss, JaccardLoss, SemanticLoss)
}
"""The classes that a checkpoint may name without ``trust``. Files hold these names: don't rename them."""


def standard_losses(void: str = "ignored", jaccard: float = 0.0, semantic: float = 0.0) -> dict[str, dict[str, Any]]:
    """The configuration ``loss=standard`` with these values of ``task``."""
    place = "coseg.training.losses"
    return {
        "pair": {"_target_": f"{place}.PairLoss", "weight": 1.0, "void": void},
        "jaccard": {"_target_": f"{place}.JaccardLoss", "weight": jaccard, "void": void},
        "semantic": {"_target_": f"{place}.SemanticLoss", "weight": semantic},
    }


def make_loss(
    name: str, settings: Mapping[str, Any], network: CosegNetwork, classes: int, trust: bool
) -> tuple[float, nn.Module | None]:
    """The weight and the module of a term, from ``{"_target_": class, "weight": 1.0, …}``; at weight 0 no module.

    Args:
        name: of the term, for messages.
        settings: the arguments of the class, and ``weight``.
        network: given to a class whose constructor has an argument of this name, as `classes`, K.
        trust: the class may be any, and is imported; False: only one of `LOSSES`.

    Raises:
        CosegError: the weight is no number from 0, or the class can't be used.
    """
    weight = settings.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        raise CosegError(f"loss.{name}.weight is '{weight}', but must be a finite number of at least 0.")
    if weight == 0:
        return 0.0, None
    arguments = {key: value for key, value in settings.items() if key != "weight"}
    loss_class = LOSSES.get(str(arguments.get("_target_")))
    if loss_class is None and not trust:
        raise CosegError(
            f"loss.{name} is of the class {str(arguments.get('_target_'))[:120]!r}, which is not one of coseg's: "
            "give trust=True if it is your own, or you trust who made the file."
        )
    chosen = loss_class or target_class(arguments, f"loss.{name}")
    if not issubclass(chosen, nn.Module):
        raise CosegError(f"loss.{name} is a {chosen.__name__}, but must be a torch.nn.Module.")
    signature = inspect.signature(chosen).parameters
    given = {key: value for key, value in {"network": network, "classes": classes}.items() if key in signature}
    if loss_class is None:
        return weight, build(arguments, nn.Module, f"loss.{name}", **given)  # type: ignore[type-abstract]
    plain = {key: value for key, value in arguments.items() if key != "_target_"}
    unknown = plain.keys() - signature.keys() | plain.keys() & given.keys()
    if unknown:
        raise CosegError(f"loss.{name} has a setting {sorted(unknown)[0]!r} that {loss_class.__name__} does not take.")
    return weight, loss_class(**plain, **given)


def _checked_void(void: object) -> str:
    if not isinstance(void, str) or void not in VOID_RULES:
        raise unknown_choice("task.void", void, VOID_RULES)
    return void
