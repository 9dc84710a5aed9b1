"""What training minimises."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.data.catalog import BACKGROUND, VOID
from coseg.data.dataset import COMMON
from coseg.errors import CosegError
from coseg.models.network import CosegNetwork, EncoderDecoderNetwork

_IGNORED = -100


def pair_loss(logits: Tensor, target: Tensor, void: str) -> Tensor:
    """Cross-entropy of one image of each pair, the mean over its pixels.

    Args:
        logits: (B, 2, H, W), background and foreground.
        target: uint8 (B, H, W), the values of `coseg.data.dataset`; other objects are background.
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
    weighs the same, however small its object, as it does in the score `jaccard`.

    Args:
        logits: (B, 2, H, W), background and foreground.
        target: uint8 (B, H, W), the values of `coseg.data.dataset`; other objects are background.
        void: ``ignored`` leaves void pixels out, ``background`` counts them as background.
    """
    truth = (target == COMMON).float()
    seen = (target != VOID).float() if void == "ignored" else torch.ones_like(truth)
    foreground = logits.float().softmax(1)[:, 1]
    both = (foreground * truth).sum((1, 2))
    either = ((foreground + truth) * seen).sum((1, 2)) - both
    present = truth.sum((1, 2)) > 0
    each = 1 - both / either.clamp(min=1e-6)
    return (each * present).sum() / present.sum().clamp(min=1)


class SemanticLoss(nn.Module):
    """Cross-entropy of the class of each pixel, told from the features of its image alone by a linear layer.

    Training adds it to the loss of the pairs so that features tell classes apart, which matching needs and pairs by
    themselves teach slowly. The layer is drawn at random and stays as it is: it gives each class a direction, and the
    features learn to point there (a fixed classifier, Hoffer, Hubara, Soudry 2018). A network is used without it.

    Args:
        network: its encoder gives the number of channels.
        classes: K.

    Raises:
        CosegError: `network` has no single feature map.
    """

    def __init__(self, network: CosegNetwork, classes: int) -> None:
        super().__init__()
        if not isinstance(network, EncoderDecoderNetwork):
            raise CosegError(
                f"task.semantic needs a network with one encoder, which {type(network).__name__} has not: set it to 0."
            )
        self.layer = nn.Conv2d(network.feature_channels, classes + 1, 1).requires_grad_(False)

    def forward(self, features: Any, labels: Tensor) -> Tensor:
        """The mean over background pixels and the mean over objects, halved: they weigh the same.

        So does each class that an image shows, as it does in the Jaccard index of masks: else the large object of an
        image hides the small one beside it. Of classes with less than a hundredth of an image each pixel weighs as if
        it had that. Every second pixel of each row and column is enough.

        Args:
            features: (B, C, h, w), or a tuple that ends with them.
            labels: uint8 (B, H, W): 0 background, k + 1 class k, 255 void.
        """
        features = features if isinstance(features, Tensor) else features[-1]
        truth = labels[:, ::2, ::2].long()
        logits = F.interpolate(self.layer(features).float(), truth.shape[-2:], mode="bilinear", align_corners=False)
        cost = F.cross_entropy(logits, truth.where(truth != VOID, _IGNORED), ignore_index=_IGNORED, reduction="none")
        classes = torch.arange(self.layer.out_channels, device=truth.device)
        places = truth.flatten(1)
        pixels = (places[..., None] == classes).sum(1).clamp(min=places.shape[1] / 100)  # (B, K + 1)
        weight = pixels.reciprocal().gather(1, places.clamp(max=len(classes) - 1)).view_as(cost)
        background = _weighted_mean(cost, (truth == BACKGROUND).float())
        objects = _weighted_mean(cost, weight * ((truth != BACKGROUND) & (truth != VOID)))
        return (background + objects) / 2


def _weighted_mean(cost: Tensor, weight: Tensor) -> Tensor:
    """0 where nothing has weight."""
    return (cost * weight).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
