"""Exemplars: images in which a person has shown the object that is to be searched for in others."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from coseg.labels import COMMON, VOID

_INSIDE = 0.5
"""A position of a feature map is of the object if this share of its pixels is, at least."""

_OUTSIDE = 0.1
"""And of the rest if less than this share is, and half of it at most is void or padding."""


class Exemplar(NamedTuple):
    """An encoded image and the object in it.

    Attributes:
        features: from the network's `encode`, a batch of one.
        size: (height, width) of the encoded image.
        region: uint8 (H, W), of any size, over the whole image: 1 the object, 0 the rest, 255 neither.
    """

    features: Any
    size: tuple[int, int]
    region: Tensor


def coverage(region: Tensor, size: tuple[int, int], positions: tuple[int, int], stride: int) -> tuple[Tensor, Tensor]:
    """The share of the object, and of void, in each position of a feature map: float32 (h, w), 0..1.

    Args:
        region: see `Exemplar`.
        size: (height, width) at which the encoder saw the image.
        positions: (h, w) of the feature map, which covers the image from its top left corner, and padding beyond.
        stride: of the feature map in pixels.
    """
    shares = torch.stack((region == COMMON, region == VOID)).float()[None]
    shares = F.interpolate(shares, size, mode="area")
    height, width = (n * stride for n in positions)
    shares = shares[..., :height, :width]
    padded = F.pad(shares, (0, width - shares.shape[-1], 0, height - shares.shape[-2]))
    padded[:, 1, size[0] :] = 1
    padded[:, 1, :, size[1] :] = 1
    inside, void = F.avg_pool2d(padded, stride)[0]
    return inside, void


def object_and_rest(inside: Tensor, void: Tensor) -> tuple[Tensor, Tensor]:
    """The positions of the object and those of the rest, bool, from the shares of `coverage`.

    An object smaller than a position has the positions of which it covers most.
    """
    objects = inside >= min(_INSIDE, float(inside.max()))
    return objects, (inside < _OUTSIDE) & (void <= 0.5) & ~objects


def contrasted(logits: Tensor, rest: Tensor | None) -> Tensor:
    """The logits of the object against background and against all that the exemplar shows beside it, (B, 2, H, W).

    With l those of the object and r those of the rest, each foreground less background, the three classes object, rest
    and background have the logits l, r and 0. The result is 0 and the logit of the object's softmax among the three:

    .. math:: -\\log(e^{-l} + e^{r - l}).

    Args:
        logits: (B, 2, H, W), given the object's positions of the exemplars.
        rest: likewise, given the positions of the rest; None: there are none.
    """
    if rest is None:
        return logits
    of_object, of_rest = (maps[:, 1] - maps[:, 0] for maps in (logits, rest))
    result = -torch.logaddexp(-of_object, of_rest - of_object)
    return torch.stack((torch.zeros_like(result), result), 1)
