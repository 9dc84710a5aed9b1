"""Channel and spatial attention at two levels: which channels the partner asks for, and where they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from coseg.errors import CosegError
from coseg.models.base import EncoderDecoderNetwork, Size, image_size, require_group
from coseg.models.decoder import ConvBlock, decoder_widths, halved_widths, upsamplings
from coseg.models.encoders.base import Encoder, require_encoder
from coseg.models.features import means_of_others

LOW_STRIDE = 4
_SPATIAL = 7  # side of the kernel of the spatial attention

Levels = tuple[Tensor, ...]


class ChannelSpatialAttentionNetwork(EncoderDecoderNetwork):
    """Siamese encoder with low- and high-level features, attention at both levels, decoder.

    After Chen et al. 2021, *Channel and spatial attention based deep object co-segmentation*, Knowledge-Based Systems.
    Of it we could read the abstract alone: a Siamese encoder extracts low- and high-level features, an improved
    attention in the channel and the spatial domain enhances the features of common objects at several levels, and a
    decoder makes the masks. The rest is inferred from the attention of Woo et al. 2018 (CBAM), whose channel attention
    is here made from the partner; see ``docs/methods.md``. At each level, with f the features, (B, C, h, w):

    - Channel attention a = sigmoid(M(mean(f)) + M(max(f))), (B, C): mean and maximum over all positions; M, two linear
      layers with ReLU between, C / reduction channels there.
    - g = f_A a_B, the channels of A weighted by the attention of B.
    - Spatial attention s = sigmoid(7 x 7 convolution of [mean of g, maximum of g] over the channels), (B, 1, h, w).
    - Enhanced features g s, (B, C, h, w).

    Levels and decoder, for plain VGG16 at stride 32:

    - low: the encoder's level at a stride of 4, conv3_3, (B, 256, H/4, W/4); high: its features,
      (B, 512, H/32, W/32). An encoder that has no level at a stride of 4, or ends there, has the high level alone.
    - Blocks of 3 x 3 convolution, batch norm, ReLU and two-fold bilinear upsampling as in the other networks, to
      256, 128, 64 channels at H/4; there the low level joins, by a 1 x 1 convolution to as many channels, and two
      more blocks go on to 32 and 16 at H x W; 3 x 3 convolution to (B, 2, H, W).

    Group of n images: a_B is the mean attention of the others, so that the cost is linear in n.

    Args:
        encoder: shared by both images.
        reduction: see above; at least 8 channels are left.
        low_level: false: the high level alone.
        decoder_channels: see `coseg.models.decoder.Decoder`.
        input_size: see `CosegNetwork`.

    Raises:
        CosegError: a value is out of its range or not one of the choices above.

    Example:
        >>> import torch
        >>> from coseg.models.encoders.vgg import VGG16Encoder
        >>> network = ChannelSpatialAttentionNetwork(VGG16Encoder(width=0.125, stride=32))
        >>> [tuple(logits.shape) for logits in network(torch.rand(2, 3, 33, 47), torch.rand(2, 3, 20, 20))]
        [(2, 2, 33, 47), (2, 2, 20, 20)]
    """

    decoder: _SkipDecoder

    def __init__(
        self,
        encoder: Encoder,
        reduction: int = 16,
        low_level: bool = True,
        decoder_channels: Iterable[int] | None = None,
        input_size: int | None = None,
    ) -> None:
        if not isinstance(reduction, int) or isinstance(reduction, bool) or reduction < 1:
            raise CosegError(f"model.reduction is '{reduction}', but must be a positive whole number.")
        channels, stride = require_encoder(encoder).out_channels, encoder.stride
        widths = decoder_widths(decoder_channels, stride, halved_widths(channels, stride))
        low = (
            encoder.level_strides.index(LOW_STRIDE) if low_level and LOW_STRIDE in encoder.level_strides[:-1] else None
        )
        levels = (channels,) if low is None else (encoder.level_channels[low], channels)
        super().__init__(encoder, _SkipDecoder(levels, widths, stride), input_size)
        self.low_level = low
        self.channel_attention = nn.ModuleList(_ChannelAttention(width, reduction) for width in levels)
        self.spatial_attention = nn.ModuleList(nn.Conv2d(2, 1, _SPATIAL, padding=_SPATIAL // 2) for _ in levels)

    def encode(self, images: Tensor) -> Levels:
        """The low and the high level, or the latter alone; see the base class."""
        return self.levels(self.encoder.prepare(self.resize(images)))

    def levels(self, prepared: Tensor) -> Levels:
        """As `encode`, of images as `Encoder.prepare` gives them."""
        if self.low_level is None:
            return (self.encoder.deepest(prepared),)
        levels = self.encoder.levels_of(prepared)
        return levels[self.low_level], levels[-1]

    def attend(self, features: Levels) -> Levels:
        """The channel attention a of each level, (B, C)."""
        return tuple(attention(level) for attention, level in zip(self.channel_attention, features, strict=True))

    def enhance(self, features: Levels, partner_attention: Levels) -> Levels:
        """The enhanced features of each level, (B, C, h, w), given the partner's channel attention."""
        enhanced = []
        for level, channel, spatial in zip(features, partner_attention, self.spatial_attention, strict=True):
            selected = level * channel[..., None, None]
            where = torch.cat((selected.mean(1, keepdim=True), selected.amax(1, keepdim=True)), 1)
            enhanced.append(selected * spatial(where).sigmoid())
        return tuple(enhanced)

    def cosegment(self, features_a: Levels, features_b: Levels, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        """See `CosegNetwork.cosegment`."""
        enhanced_a = self.enhance(features_a, self.attend(features_b))
        enhanced_b = self.enhance(features_b, self.attend(features_a))
        if image_size(enhanced_a[-1]) == image_size(enhanced_b[-1]):  # one batch, so that batch norm sees both sides
            joined = [torch.cat(levels) for levels in zip(enhanced_a, enhanced_b, strict=True)]
            decoded_a, decoded_b = self.decoder(*joined).chunk(2)
        else:
            decoded_a, decoded_b = self.decoder(*enhanced_a), self.decoder(*enhanced_b)
        return self.restore(decoded_a, size_a), self.restore(decoded_b, size_b)

    def cosegment_group(
        self, features: Sequence[Levels], sizes: Sequence[Size], members: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Logits (1, 2, *size) of each image, given the mean channel attention of all others.

        Raises:
            CosegError: the group has fewer than two images.
        """
        members = require_group(features, members)
        levels = zip(*(self.attend(image) for image in features), strict=True)
        means = list(zip(*(means_of_others(level) for level in levels), strict=True))
        return (self.restore(self.decoder(*self.enhance(features[k], means[k])), sizes[k]) for k in members)


class _ChannelAttention(nn.Module):
    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(8, channels // reduction)
        self.layers = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels))

    def forward(self, features: Tensor) -> Tensor:
        attention: Tensor = self.layers(features.mean((2, 3))) + self.layers(features.amax((2, 3)))
        return attention.sigmoid()


class _SkipDecoder(nn.Module):
    """From the levels, the high one last, to (B, 2, stride H, stride W)."""

    def __init__(self, levels: tuple[int, ...], widths: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.lateral: nn.Module | None = None
        self.joins = -1
        last, at = levels[-1], float(stride)
        for k, (factor, width) in enumerate(zip(upsamplings(stride), widths, strict=True)):
            if len(levels) > 1 and at == LOW_STRIDE:
                self.joins, self.lateral = k, ConvBlock(levels[0], last, 1)
                last *= 2
            up = nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)
            self.blocks.append(nn.Sequential(ConvBlock(last, width), up))
            last, at = width, at / factor
        self.logits = nn.Conv2d(last, 2, 3, padding=1)

    def forward(self, *levels: Tensor) -> Tensor:
        maps = levels[-1]
        for k, block in enumerate(self.blocks):
            if k == self.joins:
                assert self.lateral is not None
                maps = torch.cat((maps, self.lateral(levels[0])), 1)
            maps = block(maps)
        logits: Tensor = self.logits(maps)
        return logits
