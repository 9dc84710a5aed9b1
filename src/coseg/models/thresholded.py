"""Any network with another threshold than 0.5, so that the scores of a test are those of the masks a user gets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor

from coseg.models.base import CosegNetwork, Size, WrappedNetwork
from coseg.models.features import group_logits

_NEAREST = 1e-6
"""To 0 and 1: a threshold there has no finite logit."""


class ThresholdedNetwork(WrappedNetwork):
    """Lowers the foreground's logits, so that they win where the probability is above a threshold.

    Args:
        network: the one that is asked; kept as `network`, whose `input_size` is this one's.
        threshold: probability above which a pixel is foreground, 0..1.

    Example:
        >>> import torch
        >>> from coseg.models.encoders.vgg import VGG16Encoder
        >>> from coseg.models.siamese import SiameseNetwork
        >>> network = SiameseNetwork(VGG16Encoder(width=0.125)).eval()
        >>> images = torch.rand(1, 3, 32, 48)
        >>> plain, lowered = (asked(images, images)[0] for asked in (network, ThresholdedNetwork(network, 0.75)))
        >>> torch.equal(plain.softmax(1)[:, 1] > 0.75, lowered.argmax(1) == 1)
        True
    """

    def __init__(self, network: CosegNetwork, threshold: float) -> None:
        super().__init__(network)
        self.threshold = threshold
        inside = min(max(threshold, _NEAREST), 1 - _NEAREST)
        self.shift = math.log(inside / (1 - inside))

    @property
    def name(self) -> str:
        """That of the network within, and the threshold."""
        return f"{self.network.name}, threshold {self.threshold:g}"

    def encode(self, images: Tensor) -> Any:
        """Features of the images (B, 3, H, W), as the network within gives them."""
        return self.network.encode(images)

    def encode_for_pairs(self, images: Tensor) -> Any:
        """Likewise."""
        return self.network.encode_for_pairs(images)

    def feature_map(self, features: Any) -> Tensor:
        """That of the network within."""
        return self.network.feature_map(features)

    def cosegment(self, features_a: Any, features_b: Any, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        """See `CosegNetwork.cosegment`."""
        logits_a, logits_b = self.network.cosegment(features_a, features_b, size_a, size_b)
        return self._lowered(logits_a), self._lowered(logits_b)

    def cosegment_group(
        self, features: Sequence[Any], sizes: Sequence[Size], members: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Logits (1, 2, *size) of each image of a group.

        Raises:
            CosegError: the group has fewer than two images.
        """
        return self._group(group_logits(self.network, features, sizes, members))

    def _group(self, group: Iterable[Tensor]) -> Iterator[Tensor]:
        for logits in group:
            yield self._lowered(logits)

    def _lowered(self, logits: Tensor) -> Tensor:
        return logits - logits.new_tensor([0.0, self.shift])[:, None, None]
