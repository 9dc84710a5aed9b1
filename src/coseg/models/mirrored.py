"""Any network, seeing each image and its mirror image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor

from coseg.models.base import Size, WrappedNetwork
from coseg.models.features import group_logits


class MirroredNetwork(WrappedNetwork):
    """Averages the logits of a trained network over the images and their mirror images (test-time augmentation).

    It has no parameters of its own and costs twice as much. Features are pairs: of the image, and of its mirror image.

    Args:
        network: the one that is asked; kept as `network`, whose `input_size` is this one's.

    Example:
        >>> import torch
        >>> from coseg.models.encoders.vgg import VGG16Encoder
        >>> from coseg.models.siamese import SiameseNetwork
        >>> network = MirroredNetwork(SiameseNetwork(VGG16Encoder(width=0.125))).eval()
        >>> images = torch.rand(2, 1, 3, 32, 48)
        >>> logits, mirrored = (network(*seen)[0] for seen in (images, images.flip(-1)))
        >>> torch.allclose(logits, mirrored.flip(-1), atol=1e-5)
        True
    """

    @property
    def name(self) -> str:
        """That of the network within, and that it is mirrored."""
        return f"{self.network.name}, mirrored"

    def encode(self, images: Tensor) -> tuple[Any, Any]:
        """Features of the images (B, 3, H, W), and of their mirror images."""
        return self.network.encode(images), self.network.encode(images.flip(-1))

    def encode_for_pairs(self, images: Tensor) -> tuple[Any, Any]:
        """Likewise, as the network within gives them."""
        return self.network.encode_for_pairs(images), self.network.encode_for_pairs(images.flip(-1))

    def feature_map(self, features: Any) -> Tensor:
        """That of the images as they are."""
        return self.network.feature_map(features[0])

    def cosegment(self, features_a: Any, features_b: Any, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        """See `CosegNetwork.cosegment`."""
        (plain_a, mirrored_a), (plain_b, mirrored_b) = features_a, features_b
        logits_a, logits_b = self.network.cosegment(plain_a, plain_b, size_a, size_b)
        turned_a, turned_b = self.network.cosegment(mirrored_a, mirrored_b, size_a, size_b)
        return _mean(logits_a, turned_a), _mean(logits_b, turned_b)

    def cosegment_group(
        self, features: Sequence[Any], sizes: Sequence[Size], members: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Logits (1, 2, *size) of each image of a group; its cost is twice that of the network within.

        Raises:
            CosegError: the group has fewer than two images.
        """
        return self._group(*(group_logits(self.network, _Side(features, k), sizes, members) for k in (0, 1)))

    def _group(self, plain: Iterable[Tensor], mirrored: Iterable[Tensor]) -> Iterator[Tensor]:
        for logits, turned in zip(plain, mirrored, strict=True):
            yield _mean(logits, turned)


class _Side(Sequence[Any]):
    """Of each image the features of one side, as they are asked for: those of a large group may wait elsewhere."""

    def __init__(self, features: Sequence[Any], side: int) -> None:
        self.features = features
        self.side = side

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, k: Any) -> Any:
        return self.features[k][self.side]


def _mean(logits: Tensor, mirrored: Tensor) -> Tensor:
    return (logits + mirrored.flip(-1)) / 2
