"""Exemplars: images in which a person has shown the object that is to be searched for in others."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from coseg.labels import COMMON, VOID
from coseg.models.features import concatenate, take

_INSIDE = 0.5
"""A position of a feature map is of the object if this share of its pixels is, at least."""

_OUTSIDE = 0.1
"""And of the rest if less than this share is, and half of it at most is void or padding."""

_NEARER = 5.0
"""What a difference of 1 of cosine similarities is worth as logit. Of 0, 2, 5 and 10 the best on photographs of a
training split: the decoder was trained on pairs, and gives such differences less than they are worth here."""


class Exemplar(NamedTuple):
    """An encoded image and the object in it.

    Attributes:
        features: from the network's `encode`, a batch of one.
        size: (height, width) of the encoded image.
        region: uint8 (H, W), of any size, over the whole image: 1 the object, 0 the rest, 255 neither.
        another: it shows another object than the one that is searched for: that object is the rest, all else neither.
        positions: bool (h, w) each, the positions of the network's `feature_map` that `region` gives the object and the
            rest; None: they are computed whenever they are needed.
    """

    features: Any
    size: tuple[int, int]
    region: Tensor
    another: bool = False
    positions: tuple[Tensor, Tensor] | None = None


def coverage(regions: Tensor, size: tuple[int, int], positions: tuple[int, int], stride: int) -> tuple[Tensor, Tensor]:
    """The share of the object, and of void, in each position of feature maps: float32 (B, h, w), 0..1.

    Args:
        regions: (B, H, W), see `Exemplar`.
        size: (height, width) at which the encoder saw the images.
        positions: (h, w) of the feature map, which covers the image from its top left corner, and padding beyond.
        stride: of the feature map in pixels.
    """
    shares = torch.stack((regions == COMMON, regions == VOID), 1).float()
    shares = F.interpolate(shares, size, mode="area")
    height, width = (n * stride for n in positions)
    shares = shares[..., :height, :width]
    padded = F.pad(shares, (0, width - shares.shape[-1], 0, height - shares.shape[-2]))
    padded[:, 1, size[0] :] = 1
    padded[:, 1, :, size[1] :] = 1
    inside, void = F.avg_pool2d(padded, stride).unbind(1)
    return inside, void


def object_and_rest(inside: Tensor, void: Tensor) -> tuple[Tensor, Tensor]:
    """The positions of the object and those of the rest, bool (B, h, w), from the shares of `coverage`.

    An object smaller than a position has the positions of which it covers most; all are of one that covers nothing.
    """
    objects = inside >= inside.amax((1, 2), keepdim=True).clamp(max=_INSIDE)
    return objects, (inside < _OUTSIDE) & (void <= 0.5) & ~objects


class Given(NamedTuple):
    """N images of one side of pairs, each to be decoded given some positions of its partner.

    First the B images of the side given their partners' object; then those whose partner shows something else too,
    given that.

    Attributes:
        images: features, a batch of N.
        partners: the partners' `feature_map`, (N, C, h, w).
        chosen: bool (N, h, w), at least one of each.
        rows: int64 (N - B,), which of the B images the others are.
    """

    images: Any
    partners: Tensor
    chosen: Tensor
    rows: Tensor

    def nearer(self, decoded: Tensor, near: Tensor) -> Tensor:
        """`nearer` for the decoded N images, (N, 2, H, W), by the largest similarities of each, (N, 1, h, w)."""
        first = len(decoded) - len(self.rows)
        return decoded.index_copy(0, self.rows, nearer(decoded[self.rows], near[self.rows] - near[first:]))

    def contrasted(self, logits: Tensor) -> Tensor:
        """The logits of the side, (B, 2, H, W), of those of the N images; see `contrasted`."""
        of_objects, of_rest = logits.split((len(logits) - len(self.rows), len(self.rows)))
        return of_objects.index_copy(0, self.rows, contrasted(of_objects[self.rows], of_rest))


def given(images: Any, partners: Tensor, objects: Tensor, rest: Tensor) -> Given:
    """What is decoded of B images, given the positions of the object and of the rest of their partners.

    Args:
        images: features.
        partners: (B, C, h, w), the partners' `feature_map`.
        objects: bool (B, h, w), at least one position each.
        rest: bool (B, h, w).
    """
    rows = rest.flatten(1).any(1).nonzero().flatten()
    return Given(
        concatenate((images, take(images, rows))),
        torch.cat((partners, partners[rows])),
        torch.cat((objects, rest[rows])),
        rows,
    )


def nearer(decoded: Tensor, difference: Tensor) -> Tensor:
    """Decoded logits (B, 2, H, W), higher where a position is more similar to the object than to the rest.

    Args:
        decoded: given the object's positions.
        difference: (B, 1, h, w), of the largest cosine similarities with positions of the object and of the rest.
    """
    enlarged = F.interpolate(difference, decoded.shape[-2:], mode="bilinear")
    return decoded + _NEARER * torch.cat((torch.zeros_like(enlarged), enlarged), 1)


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
