"""The control: the same network without matching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor

from coseg.models.base import CosegNetwork, EncoderDecoderNetwork, Size, WrappedNetwork, image_size, require_group
from coseg.models.decoder import Decoder, skip_modules, skip_strides
from coseg.models.encoders.base import Encoder, require_encoder
from coseg.models.features import deepest, inherits


class SiameseNetwork(EncoderDecoderNetwork):
    """Encoder and decoder of `CrossCorrelationNetwork`, but each image by itself: what saliency alone can reach.

    With encoder E and decoder D, the logits of image A are D(E(A)), whatever its partner. It is no published method but
    the control to compare matching networks with.

    The decoder sees the features of one image only, so its first convolution has C input channels where
    `CrossCorrelationNetwork` with ``use=concatenate`` has 2 C; all else is equal.

    Args:
        encoder: shared by both images.
        decoder_channels: see `coseg.models.decoder.Decoder`.
        batch_norm: in the decoder.
        skip_channels: of the encoder's levels at strides of 4 and 8, where each joins the decoder; 0: none.
        input_size: see `CosegNetwork`.

    Raises:
        CosegError: a value is out of its range or not one of the choices above.

    Example:
        >>> import torch
        >>> from coseg.models.encoders.vgg import VGG16Encoder
        >>> network = SiameseNetwork(VGG16Encoder(width=0.125))
        >>> [tuple(logits.shape) for logits in network(torch.rand(2, 3, 33, 47), torch.rand(2, 3, 20, 20))]
        [(2, 2, 33, 47), (2, 2, 20, 20)]
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder_channels: Iterable[int] | None = None,
        batch_norm: bool = True,
        skip_channels: int = 0,
        input_size: int | None = None,
    ) -> None:
        encoder = require_encoder(encoder)
        skips = skip_modules(encoder, skip_channels, batch_norm)
        decoder = Decoder(
            encoder.out_channels,
            encoder.stride,
            decoder_channels,
            batch_norm=batch_norm,
            skip_strides=skip_strides(encoder, skip_channels),
            skip_channels=skip_channels,
        )
        super().__init__(encoder, decoder, input_size, skips)

    def encode_for_pairs(self, images: Tensor) -> Any:
        """The logits of each image, which are the same in all of its pairs; those of `encode` in some subclasses."""
        features = self.encode(images)
        if not inherits(self, SiameseNetwork, "cosegment"):
            return features
        return (tuple(self.decode((deepest(features),), (image_size(images),), (features,))),)

    def cosegment(self, features_a: Any, features_b: Any, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        """See `CosegNetwork.cosegment`."""
        features = features_a, features_b
        if isinstance(features_a, tuple) and isinstance(features_a[0], tuple):  # of `encode_for_pairs`
            return deepest(features_a), deepest(features_b)
        logits_a, logits_b = self.decode([deepest(side) for side in features], (size_a, size_b), features)
        return logits_a, logits_b

    def cosegment_group(
        self, features: Sequence[Any], sizes: Sequence[Size], members: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Logits (1, 2, *size) of each image by itself, which equal all of its pairwise logits.

        Raises:
            CosegError: the group has fewer than two images.
        """
        members = require_group(features, members)
        images = ((features[k], sizes[k]) for k in members)
        return (self.decode((deepest(image),), (size,), (image,))[0] for image, size in images)


def gives_logits(network: CosegNetwork) -> bool:
    """Whether what `encode_for_pairs` of a network gives are the logits, which no partner changes."""
    while isinstance(network, WrappedNetwork):
        network = network.network
    return isinstance(network, SiameseNetwork) and inherits(network, SiameseNetwork, "encode_for_pairs", "cosegment")
