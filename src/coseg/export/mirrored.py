"""The graphs of a network that also sees the mirror image of each image: `coseg.export.graphs` uses them.

`coseg.models.mirrored.MirroredNetwork` turns the logits of the mirror image back before it takes the mean. The graph of
the logits knows only the size of the padded image, so ``width``, the image's own, is one of the features.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from coseg.export.graphs import Graphs

PREFIX = "mirrored_"
"""Before the names of what is made of the mirror images."""

WIDTH = "width"


class EncodeMirrored(nn.Module):
    """Images to their features, those of the mirror images, the width (B,), their kernels, those of the mirror images.

    Args:
        encode: images to features and kernels.
        count: the number of features.
    """

    def __init__(self, encode: nn.Module, count: int) -> None:
        super().__init__()
        self.encode = encode
        self.count = count

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Features and kernels."""
        plain, turned = self.encode(images), self.encode(images.flip(-1))
        width = torch.ones_like(images[:, 0, 0, 0], dtype=torch.int64) * images.shape[-1]
        return *plain[: self.count], *turned[: self.count], width, *plain[self.count :], *turned[self.count :]


class CosegmentMirrored(nn.Module):
    """What `EncodeMirrored` gives of images, features, and of partners, kernels, to the mean of both logits.

    Args:
        cosegment: features and kernels to logits.
        count: the number of features.
    """

    def __init__(self, cosegment: nn.Module, count: int) -> None:
        super().__init__()
        self.cosegment = cosegment
        self.count = count

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits, float32 (B, 2, stride h, stride w); the columns from the image's width on have no meaning."""
        count = self.count
        features, turned, width = inputs[:count], inputs[count : 2 * count], inputs[2 * count]
        kernels, turned_kernels = _halves(inputs[2 * count + 1 :])
        logits: Tensor = self.cosegment(*features, *kernels)
        mirrored: Tensor = self.cosegment(*turned, *turned_kernels)
        columns = width.amax(0) - 1 - torch.arange(logits.shape[-1], device=logits.device)
        return (logits + mirrored.index_select(-1, columns.clamp(min=0))) / 2


def mirrored_graphs(graphs: Graphs) -> Graphs:
    """The graphs of a `MirroredNetwork` from those of its inner network."""
    count = len(graphs.features)
    features = {**graphs.features, **{PREFIX + name: stride for name, stride in graphs.features.items()}, WIDTH: 0}
    kernels = {**graphs.kernels, **{PREFIX + name: axes for name, axes in graphs.kernels.items()}}
    encode, cosegment = EncodeMirrored(graphs.encode, count), CosegmentMirrored(graphs.cosegment, count)
    return replace(graphs, encode=encode, cosegment=cosegment, features=features, kernels=kernels)


def _halves(tensors: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    return tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]
