"""Deep object co-segmentation by mutual correlation: every position of one image with every position of the other."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.errors import CosegError
from coseg.models.base import EncoderDecoderNetwork, Size, checked_input_size
from coseg.models.decoder import ConvBlock, decoder_widths, normalised, upsamplings
from coseg.models.encoders.base import Encoder, require_encoder, scaled

_SLOPE = 0.2
_WIDE, _SQUEEZED = 1024, 512
_WIDTHS = (512, 512, 256, 128, 64)  # of the decoder, from a stride of 32 on
_ENCODER = 512  # channels of VGG16, with which these numbers go


class MutualCorrelationNetwork(EncoderDecoderNetwork):
    """Siamese encoder, mutual correlation, decoder.

    After Li, Hosseini Jafari and Rother 2018, *Deep object co-segmentation*, ACCV. With n = input_size / stride,
    rounded up, and shapes at input 512, stride 32 and width 1 (n = 16; 69.3 M parameters):

    ==============================================================  =====================================
    encoder: plain VGG16, five pools                                (B, 512, 16, 16)
    two 3 x 3 convolutions, leaky ReLU of slope 0.2: f              (B, 1024, 16, 16)
    correlation c_AB(y, x; d, e) = <f_A(y, x), f_B(y+d, x+e)> / C   (B, (2n-1)² = 961, 16, 16)
    1 x 1 convolution of f                                          (B, 512, 16, 16)
    [squeezed f_A, c_AB]                                            (B, 1473, 16, 16)
    3 x 3 convolution, leaky ReLU                                   (B, 1024, 16, 16)
    5 times: 4 x 4 transposed convolution of stride 2, two 3 x 3    512 at 32 x 32, 512, 256, 128, 64 at
    convolutions, each with leaky ReLU                              512 x 512
    3 x 3 convolution                                               (B, 2, 512, 512)
    ==============================================================  =====================================

    And the same for B with A and B exchanged. The displacements (d, e) go from -(n-1) to n-1 on each axis; where the
    partner's position is outside its map, the correlation is zero. So the map of a smaller input fits too, its
    outer displacements being zero, and that of a larger one, whose displacements beyond n-1 are left out.

    Args:
        encoder: shared by both images.
        width: factor on all numbers of channels above but the encoder's and the displacements; None: the encoder's
            channels over 512, at most 1.
        batch_norm: in all layers after the encoder. Not in the paper; training from scratch needs it.
        decoder_channels: of each upsampling; None: the last of 512, 512, 256, 128, 64, one for each, times `width`.
        input_size: side to which images are resized; it sets n, so there must be one.

    Raises:
        CosegError: a value is out of its range or not one of the choices above.

    Example:
        >>> import torch
        >>> from coseg.models.encoders.vgg import VGG16Encoder
        >>> network = MutualCorrelationNetwork(VGG16Encoder(width=0.125, stride=32), input_size=64)
        >>> [tuple(logits.shape) for logits in network(torch.rand(2, 3, 33, 47), torch.rand(2, 3, 20, 20))]
        [(2, 2, 33, 47), (2, 2, 20, 20)]
    """

    def __init__(
        self,
        encoder: Encoder,
        width: float | None = None,
        batch_norm: bool = False,
        decoder_channels: Iterable[int] | None = None,
        input_size: int | None = 512,
    ) -> None:
        if checked_input_size(input_size, "model.input_size") is None:
            raise CosegError(
                "model.input_size is null, but mutual correlation has a channel for each displacement between two "
                "maps of one size: give the side of its input, 512 say."
            )
        assert input_size is not None
        if width is not None and (isinstance(width, bool) or not isinstance(width, float | int) or not 0 < width < 99):
            raise CosegError(f"model.width is '{width}', but must be a positive number such as 0.25, or null.")
        channels, stride = require_encoder(encoder).out_channels, encoder.stride
        factor = min(1.0, channels / _ENCODER) if width is None else width
        wide, squeezed = scaled(_WIDE, factor), scaled(_SQUEEZED, factor)
        blocks = len(upsamplings(stride))
        default = (_WIDTHS[0],) * (blocks - len(_WIDTHS)) + _WIDTHS[max(0, len(_WIDTHS) - blocks) :]
        widths = decoder_widths(decoder_channels, stride, [scaled(channels_at, factor) for channels_at in default])
        reach = math.ceil(input_size / stride) - 1
        decoder = _TransposedDecoder(squeezed + (2 * reach + 1) ** 2, wide, widths, stride, batch_norm)
        super().__init__(encoder, decoder, input_size)
        self.reach = reach
        self.fully = nn.Sequential(
            ConvBlock(channels, wide, batch_norm=batch_norm, slope=_SLOPE),
            ConvBlock(wide, wide, batch_norm=batch_norm, slope=_SLOPE),
        )
        self.squeeze = nn.Conv2d(wide, squeezed, 1)

    @property
    def feature_channels(self) -> int:
        """C of the features."""
        return self.squeeze.in_channels

    def encode(self, images: Tensor) -> Tensor:
        """f above; see the base class."""
        features: Tensor = self.fully(self.encoder(self.resize(images)))
        return features

    def cosegment(self, features_a: Tensor, features_b: Tensor, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        """See `CosegNetwork.cosegment`."""
        joined_a = torch.cat((self.squeeze(features_a), mutual_correlation(features_a, features_b, self.reach)), 1)
        joined_b = torch.cat((self.squeeze(features_b), mutual_correlation(features_b, features_a, self.reach)), 1)
        logits_a, logits_b = self.decode((joined_a, joined_b), (size_a, size_b))
        return logits_a, logits_b


def mutual_correlation(base: Tensor, other: Tensor, reach: int) -> Tensor:
    """The scalar products, over C, of each position with those of the other map at displacements of at most `reach`.

    All products are one matrix product. What belongs to one displacement lies on a diagonal of it, on each axis;
    padding and reading with rows one longer makes a row of each diagonal.

    Args:
        base: (B, C, H, W).
        other: (B, C, H', W').
        reach: r, 0 or more.

    Returns:
        (B, (2r+1)², H, W): channel (d + r) (2r+1) + e + r holds <base(y, x), other(y+d, x+e)> / C, or 0 outside.
    """
    batch, channels, height, width = base.shape
    products = base.flatten(2).transpose(1, 2) @ (other.flatten(2) / channels)
    products = products.view(batch, height, width, *other.shape[-2:])
    rows = _diagonals(products.permute(0, 2, 4, 1, 3), reach)  # B, W, W', H, D
    both = _diagonals(rows.permute(0, 3, 4, 1, 2), reach)  # B, H, D, W, E
    return both.permute(0, 2, 4, 1, 3).reshape(batch, (2 * reach + 1) ** 2, height, width)


def _diagonals(products: Tensor, reach: int) -> Tensor:
    """(..., P, Q) to (..., P, 2r+1): entry (p, k) of the result is (p, p + k - r), or 0 where there is none."""
    positions, partner_positions = products.shape[-2:]
    padded = F.pad(products, (reach, positions + reach - partner_positions))  # rows of P + 2r
    rows = F.pad(padded.flatten(-2), (0, positions)).unflatten(-1, (positions, positions + 2 * reach + 1))
    return rows[..., : 2 * reach + 1]


class _TransposedDecoder(nn.Module):
    """From (B, in_channels, H, W) to (B, 2, stride H, stride W)."""

    def __init__(self, in_channels: int, wide: int, widths: tuple[int, ...], stride: int, batch_norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvBlock(in_channels, wide, batch_norm=batch_norm, slope=_SLOPE)]
        last = wide
        for width in widths:
            up = nn.ConvTranspose2d(last, width, 4, 2, 1, bias=not batch_norm)
            layers += [up, *normalised(up, width, batch_norm, _SLOPE)]
            layers += [ConvBlock(width, width, batch_norm=batch_norm, slope=_SLOPE) for _ in range(2)]
            last = width
        self.blocks = nn.Sequential(*layers)
        self.logits = nn.Conv2d(last, 2, 3, padding=1)
        self.excess = stride / 2 ** len(widths)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.logits(self.blocks(inputs))
        if self.excess < 1:  # a stride that is no power of two
            logits = F.interpolate(logits, scale_factor=self.excess, mode="bilinear", align_corners=False)
        return logits
