"""Semantic-aware attention: one image says which channels of the other are to be kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor, nn

from coseg.errors import CosegError, unknown_choice
from coseg.models.base import EncoderDecoderNetwork, Size, require_group
from coseg.models.decoder import ConvBlock, ReflectConv2d, decoder_widths, halved_widths, upsamplings
from coseg.models.encoders.base import Encoder, require_encoder
from coseg.models.features import means_of_others

ATTENTIONS = ("channel", "fused", "channel_spatial")
_WIDEST = 512
_HIDDEN = 8  # times the encoder's channels, as 4096 are of 512


class SemanticAttentionNetwork(EncoderDecoderNetwork):
    """Siamese encoder, attention from one image to the channels of the other, decoder.

    After Chen, Huang and Nakayama 2018, *Semantic aware attention based deep object co-segmentation*, ACCV. With f the
    features of an image, C channels; shapes for plain VGG16 at stride 32 (32.7 M parameters):

    - Attention a = sigmoid(W2 tanh(W1 mean(f))), the mean over all positions: 512 to 4096 to 512, (B, 512).
    - What is decoded of image A, (B, 512, H/32, W/32), is, with ``attention``

      ``channel``
          f_A a_B, each channel of A weighted by the attention of B.
      ``fused``
          f_A a_A a_B: channels that are strong in both images.
      ``channel_spatial``
          g s, where g = f_A a_B and s = sigmoid(1 x 1 convolution of g) is a map (B, 1, H/32, W/32).

    - Decoder: two residual blocks (3 x 3 convolution, batch norm, ReLU, 3 x 3 convolution, batch norm; added to
      their input), (B, 512, H/32, W/32); five times nearest 2 x upsampling, 5 x 5 convolution, batch norm and ReLU, to
      256, 128, 64, 32, 16 channels at H x W; 7 x 7 convolution to (B, 2, H, W). All are padded by reflection.

    Group of n images: a_B is the mean attention of the others, so that the cost is linear in n.

    Args:
        encoder: shared by both images.
        attention: see above.
        hidden: channels between W1 and W2; None: 8 times the encoder's, at most 4096.
        decoder_channels: of each upsampling; None: half the encoder's, a quarter, ..., 256 to 16.
        input_size: see `CosegNetwork`.

    Raises:
        CosegError: a value is out of its range or not one of the choices above.

    Example:
        >>> import torch
        >>> from coseg.models.encoders.vgg import VGG16Encoder
        >>> network = SemanticAttentionNetwork(VGG16Encoder(width=0.125, stride=32))
        >>> [tuple(logits.shape) for logits in network(torch.rand(2, 3, 33, 47), torch.rand(2, 3, 20, 20))]
        [(2, 2, 33, 47), (2, 2, 20, 20)]
    """

    def __init__(
        self,
        encoder: Encoder,
        attention: str = "channel",
        hidden: int | None = None,
        decoder_channels: Iterable[int] | None = None,
        input_size: int | None = None,
    ) -> None:
        if attention not in ATTENTIONS:
            raise unknown_choice("model.attention", attention, ATTENTIONS)
        if hidden is not None and (not isinstance(hidden, int) or isinstance(hidden, bool) or hidden < 1):
            raise CosegError(f"model.hidden is '{hidden}', but must be a positive whole number or null.")
        channels, stride = require_encoder(encoder).out_channels, encoder.stride
        widths = decoder_widths(decoder_channels, stride, halved_widths(channels, stride))
        super().__init__(encoder, _ResidualDecoder(channels, widths, stride), input_size)
        hidden = hidden or min(_HIDDEN * channels, _HIDDEN * _WIDEST)
        self.learner = nn.Sequential(nn.Linear(channels, hidden), nn.Tanh(), nn.Linear(hidden, channels), nn.Sigmoid())
        self.spatial = nn.Conv2d(channels, 1, 1) if attention == "channel_spatial" else None
        self.attention = attention

    def attend(self, features: Tensor) -> Tensor:
        """The attention a, (B, C), of features (B, C, H, W)."""
        attention: Tensor = self.learner(features.mean((2, 3)))
        return attention

    def select(self, features: Tensor, attention: Tensor, partner_attention: Tensor) -> Tensor:
        """The decoder's input from `features` (B, C, H, W), given the attention of image and partner, (B, C)."""
        weight = attention * partner_attention if self.attention == "fused" else partner_attention
        selected = features * weight[..., None, None]
        return selected if self.spatial is None else selected * self.spatial(selected).sigmoid()

    def cosegment(self, features_a: Tensor, features_b: Tensor, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        """See `CosegNetwork.cosegment`."""
        attention_a, attention_b = self.attend(features_a), self.attend(features_b)
        selected_a = self.select(features_a, attention_a, attention_b)
        selected_b = self.select(features_b, attention_b, attention_a)
        logits_a, logits_b = self.decode((selected_a, selected_b), (size_a, size_b))
        return logits_a, logits_b

    def cosegment_group(
        self, features: Sequence[Tensor], sizes: Sequence[Size], members: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Logits (1, 2, *size) of each image, given the mean attention of all others.

        Raises:
            CosegError: the group has fewer than two images.
        """
        members = require_group(features, members)
        attention = [self.attend(image) for image in features]
        partner_attention = means_of_others(attention)
        return (
            self.decode((self.select(features[k], attention[k], partner_attention[k]),), (sizes[k],))[0]
            for k in members
        )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels, reflect=True)
        self.second = ReflectConv2d(channels, channels, 3, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.norm(self.second(self.first(inputs)))  # type: ignore[no-any-return]


class _ResidualDecoder(nn.Module):
    """From (B, in_channels, H, W) to (B, 2, stride H, stride W)."""

    def __init__(self, in_channels: int, widths: tuple[int, ...], stride: int) -> None:
        super().__init__()
        last = min(in_channels, _WIDEST)
        # Features of a wide encoder are brought to the width of VGG16's first.
        layers: list[nn.Module] = [] if last == in_channels else [ConvBlock(in_channels, last, 1)]
        layers += [_Residual(last), _Residual(last)]
        for factor, width in zip(upsamplings(stride), widths, strict=True):
            layers += [nn.Upsample(scale_factor=factor, mode="nearest"), ConvBlock(last, width, 5, reflect=True)]
            last = width
        self.blocks = nn.Sequential(*layers)
        self.logits = ReflectConv2d(last, 2, 7)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.logits(self.blocks(inputs))
        return logits
