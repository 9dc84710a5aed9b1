"""The control: the same network without matching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor

from coseg.models.base import EncoderDecoderNetwork, Size, require_encoder, require_group
from coseg.models.decoder import Decoder
from coseg.models.encoders.base import Encoder


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
        input_size: int | None = None,
    ) -> None:
        encoder = require_encoder(encoder)
        decoder = Decoder(encoder.out_channels, encoder.stride, decoder_channels, batch_norm=batch_norm)
        super().__init__(encoder, decoder, input_size)

    def cosegment(self, features_a: Tensor, features_b: Tensor, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        """See `CosegNetwork.cosegment`."""
        logits_a, logits_b = self.decode((features_a, features_b), (size_a, size_b))
        return logits_a, logits_b

    def cosegment_group(self, features: Sequence[Tensor], sizes: Sequence[Size]) -> Iterator[Tensor]:
        """Logits (1, 2, *size) of each image by itself, which equal all of its pairwise logits.

        Raises:
            CosegError: the group has fewer than two images.
        """
        require_group(features)
        return (self.decode((image,), (size,))[0] for image, size in zip(features, sizes, strict=True))
