"""The decoder, from features (and what matching made of them) to two logits at the input's size, and its parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.errors import CosegError
from coseg.models.encoders.base import Encoder, pad_by_reflection

_WIDEST = 512
"""Channels from which the default widths count down at most: 2048 would give the first block alone 38 M weights."""


SKIP_STRIDES = (4, 8)
"""Of the levels that a decoder may take besides the deepest."""

_PART = 2**24
"""Bytes of the largest map of the images that a CPU decodes at once. The memory of larger ones (32 MiB with glibc) is
taken from the system anew each time, which takes nearly as long as the convolution."""


class Decoder(nn.Module):
    """Blocks of 3 x 3 convolution, batch norm, ReLU and two-fold bilinear upsampling, then a convolution to 2 logits.

    There are log2(stride) blocks, rounded up, so that the logits have the size of the (padded) input; where the
    stride is no power of two, the last block enlarges by less than two (7/4 at 14). Maps of finer levels may join
    behind the block that reaches their stride.

    Args:
        in_channels: channels of the input.
        stride: pixels of the image to one of the input, two or more.
        channels: those of each block; None: half of `features`, a quarter, ..., at most 256 and at least 16.
        features: channels of the encoder's features, from which the default of `channels` counts down; None:
            `in_channels`.
        batch_norm: normalise after each convolution but the last.
        skip_strides: of the maps that join.
        skip_channels: of each of them.

    Raises:
        CosegError: `channels` has not one positive number for each block.
    """

    def __init__(
        self,
        in_channels: int,
        stride: int,
        channels: Iterable[int] | None = None,
        features: int | None = None,
        batch_norm: bool = True,
        skip_strides: Sequence[int] = (),
        skip_channels: int = 0,
    ) -> None:
        super().__init__()
        widths = decoder_widths(channels, stride, halved_widths(features or in_channels, stride))
        self.in_channels = in_channels
        layers: list[nn.Module] = []
        last, reached = in_channels, float(stride)
        self.joins: dict[int, int] = {}  # from a layer of `blocks` to the map that joins behind it
        self.largest = 0.0  # numbers in the largest input of a block, for each position of the decoder's
        for factor, width in zip(upsamplings(stride), widths, strict=True):
            conv = nn.Conv2d(last, width, 3, padding=1, bias=not batch_norm)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            layers += [conv, nn.BatchNorm2d(width)] if batch_norm else [conv]
            layers += [nn.ReLU(inplace=True), nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)]
            self.largest = max(self.largest, last * (stride / reached) ** 2)
            last, reached = width, reached / factor
            if reached in skip_strides:
                self.joins[len(layers) - 1] = skip_strides.index(int(reached))
                last += skip_channels
        self.blocks = nn.Sequential(*layers)
        self.logits = nn.Conv2d(last, 2, 3, padding=1)

    def own_part(self, features: Tensor) -> Tensor:
        """What the first convolution makes of an image's own features, (B, C, H, W), the first C channels of its input.

        A convolution is linear: this is made once an image, and added to what it makes of the other channels.
        """
        return F.conv2d(features, self.blocks.get_parameter("0.weight")[:, : features.shape[1]], padding=1)

    def forward(self, features: Tensor, *joining: Tensor) -> Tensor:
        """Logits (B, 2, stride H, stride W) of (B, in_channels, H, W) and the maps that join.

        These are (B, skip_channels, stride / s H, stride / s W) for each s of `skip_strides`. Before them comes
        `own_part` of the first channels, if `features` are the others alone.
        """
        if self.training or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return self._decode(features, *joining)
        if features.device.type != "cpu":
            return self._decode(features, *joining, fast=True)
        # Convolutions and enlarging take half of the time in this layout.
        inputs = [maps.contiguous(memory_format=torch.channels_last) for maps in (features, *joining)]
        image_bytes = self.largest * features.shape[-2] * features.shape[-1] * features.element_size()
        parts = zip(*(maps.split(max(1, int(_PART / image_bytes))) for maps in inputs), strict=True)
        logits = [self._decode(*part, fast=True) for part in parts]
        return torch.cat(logits) if len(logits) > 1 else logits[0]

    def _decode(self, features: Tensor, *joining: Tensor, fast: bool = False) -> Tensor:
        """See `forward`."""
        first, *layers = self.blocks
        if features.shape[1] == self.in_channels:
            features = first(features)
        else:
            weight, bias = first.get_parameter("weight"), getattr(first, "bias", None)
            features = F.conv2d(features, weight[:, -features.shape[1] :], bias, padding=1) + joining[0]
            joining = joining[1:]
        for position, layer in enumerate(layers, 1):
            if fast and position == len(layers) and layer.scale_factor == 2 and min(features.shape[-2:]) > 1:
                return enlarged_convolution(features, self.logits)
            features = layer(features)
            if position in self.joins:
                features = torch.cat((features, joining[self.joins[position]]), 1)
        logits: Tensor = self.logits(features)
        return logits


_PHASES = ((0.75, 0.25, 0), (0.25, 0.75, 0.75), (0, 0, 0.25)), ((0.25, 0, 0), (0.75, 0.75, 0.25), (0, 0.25, 0.75))
"""How much of each weight of a 3-tap filter, the columns, falls on the values i - 1, i and i + 1, the rows, where it is
applied to values that were enlarged twofold, at the positions 2 i and 2 i + 1."""


def enlarged_convolution(maps: Tensor, conv: nn.Conv2d) -> Tensor:
    """``conv(maps enlarged twofold)``, bilinearly, for a 3 x 3 convolution padded by zeros, without the enlarged maps.

    Both are linear, so that each of the four outputs at a position is a 3 x 3 convolution of the maps as they are. It
    has the same products; for few output channels it saves the time to write and read the enlarged maps. Only two rows
    and columns along the border, where zeros meet the maps rather than the enlarged maps, are computed from these.

    Args:
        maps: (B, C, H, W), two rows and columns at least.
        conv: of C channels, 3 x 3.

    Returns:
        (B, conv.out_channels, 2 H, 2 W).
    """
    phases = conv.weight.new_tensor(_PHASES)
    weight = torch.einsum("aik,bjl,ockl->oabcij", phases, phases, conv.weight).flatten(0, 2)
    bias = None if conv.bias is None else conv.bias.repeat_interleave(4)
    result = F.pixel_shuffle(F.conv2d(maps, weight, bias, padding=1).contiguous(), 2)
    for axis in (2, 3):
        length = maps.shape[axis]
        for start, edge in ((0, 0), (length - 2, 2)):
            strip = F.interpolate(maps.narrow(axis, start, 2), scale_factor=2, mode="bilinear", align_corners=False)
            result.narrow(axis, 2 * start + edge, 2).copy_(conv(strip).narrow(axis, edge, 2))
    return result


def skip_levels(encoder: Encoder) -> list[int]:
    """Which levels of an encoder have one of `SKIP_STRIDES`, finer than its last."""
    strides = encoder.level_strides
    return [k for k, stride in enumerate(strides[:-1]) if stride in SKIP_STRIDES and stride < strides[-1]]


def skip_modules(encoder: Encoder, channels: int, batch_norm: bool = True) -> list[nn.Module]:
    """A 1 x 1 convolution from each of `skip_levels` to so many channels; none for 0 channels.

    Raises:
        CosegError: `channels` is negative, or the encoder has no such level.
    """
    if not isinstance(channels, int) or isinstance(channels, bool) or channels < 0:
        raise CosegError(f"model.skip_channels is '{channels}', but must be a whole number, 0 or more.")
    if not channels:
        return []
    levels = skip_levels(encoder)
    if not levels:
        strides = " or ".join(map(str, SKIP_STRIDES))
        raise CosegError(
            f"model.skip_channels={channels}, but the encoder has no level at a stride of {strides} before its last: "
            "set model.skip_channels=0, or choose another encoder."
        )
    return [ConvBlock(encoder.level_channels[k], channels, 1, batch_norm) for k in levels]


def skip_strides(encoder: Encoder, channels: int) -> list[int]:
    """The strides of `skip_levels`; none for 0 channels."""
    return [encoder.level_strides[k] for k in skip_levels(encoder)] if channels else []


def upsamplings(stride: int) -> list[float]:
    """The factors by which a decoder enlarges, from `stride` to 1: each 2, but the last less where it must.

    Sizes stay whole: at 14 the map of eight times its size is enlarged by 7/4.
    """
    blocks = (stride - 1).bit_length()
    return [2.0] * (blocks - 1) + [stride / 2 ** (blocks - 1)] if blocks else []


def halved_widths(features: int, stride: int) -> list[int]:
    """A half of `features`, a quarter, ..., at most 256 and at least 16: one number for each of `upsamplings`."""
    return [max(16, min(features, _WIDEST) >> (k + 1)) for k in range(len(upsamplings(stride)))]


def decoder_widths(channels: Iterable[int] | None, stride: int, default: Sequence[int]) -> tuple[int, ...]:
    """``model.decoder_channels``, one number for each of `upsamplings`, or `default` where they are None.

    Raises:
        CosegError: they are not so many positive numbers.
    """
    if channels is None:
        return tuple(default)
    widths = () if isinstance(channels, int | str) else tuple(channels)
    if len(widths) != len(default) or not all(isinstance(width, int) and width > 0 for width in widths):
        given = channels if isinstance(channels, int | str) else list(widths)
        raise CosegError(
            f"model.decoder_channels is {given}, but with model.encoder.stride={stride} it must be null or a list "
            f"of {len(default)} positive numbers, one for each upsampling."
        )
    return widths


class ReflectConv2d(nn.Conv2d):
    """A convolution to a map of the same size, padded by reflection; maps of any size, torch's own needs larger ones.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: odd.
        bias: whether it has one.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        return super().forward(pad_by_reflection(input, *(self.kernel_size[0] // 2,) * 4))


class ConvBlock(nn.Sequential):
    """A convolution to a map of the same size, batch norm, and a rectifier; weights after He et al. 2015.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: odd.
        batch_norm: whether there is one; if not, the convolution has a bias.
        slope: of the rectifier below zero: 0 for ReLU.
        reflect: pad by reflection, not by zeros.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        batch_norm: bool = True,
        slope: float = 0.0,
        reflect: bool = False,
    ) -> None:
        if reflect:
            conv: nn.Conv2d = ReflectConv2d(in_channels, out_channels, kernel_size, bias=not batch_norm)
        else:
            conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=not batch_norm)
        super().__init__(conv, *normalised(conv, out_channels, batch_norm, slope))


def normalised(
    conv: nn.Conv2d | nn.ConvTranspose2d, channels: int, batch_norm: bool, slope: float = 0.0
) -> list[nn.Module]:
    """What follows on `conv`, batch norm and a (leaky) rectifier; the weights of `conv` are drawn for it."""
    # Of a transposed convolution of stride s, 1 / s² of the kernel meets each output.
    fan = conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1]
    if isinstance(conv, nn.ConvTranspose2d):
        fan //= conv.stride[0] * conv.stride[1]
    nn.init.normal_(conv.weight, std=(2 / (1 + slope**2) / fan) ** 0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    rectifier = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
    return [nn.BatchNorm2d(channels), rectifier] if batch_norm else [rectifier]


class SkipDecoder(nn.Module):
    """From skip, embedding and what matching made of it to (B, 2, H, W)."""

    def __init__(self, channels: int, skip: int, wide: int, stride: int, matching: bool) -> None:
        super().__init__()
        self.base = nn.Conv2d(channels, wide, 3, padding=1, bias=False)
        if matching:
            self.attended = nn.Conv2d(2 * channels, wide, 1, bias=False)
            self.alike = nn.Conv2d(3, wide, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(wide)
        self.second = ConvBlock(wide, wide)
        self.third = ConvBlock(wide + skip, wide // 2)
        self.logits = nn.Conv2d(wide // 2, 2, 3, padding=1)
        self.stride = stride

    def prepared(self, skip: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The parts of `third` and of `base` that depend on one image alone, so that a test computes them once."""
        detail = F.conv2d(skip, self._halves()[1], padding=1) if skip.shape[1] else skip
        return detail, self.base(embedding), embedding

    def _halves(self) -> tuple[Tensor, Tensor]:
        """The weights of `third` for the maps before it, and for the skip."""
        weight, wide = self.third.get_parameter("0.weight"), self.norm.num_features
        return weight[:, :wide], weight[:, wide:]

    def forward(
        self,
        detail: Tensor,
        base: Tensor,
        embedding: Tensor,
        attended: Tensor | None = None,
        alike: Tensor | None = None,
    ) -> Tensor:
        """Logits of what `prepared` gives, and of what matching gives where there is any."""
        maps = base
        if attended is not None:
            maps = maps + self.attended(torch.cat((attended, embedding * attended), 1)) + self.alike(alike)
        maps = self.norm(maps).relu()
        maps = maps + self.second(maps)
        if detail.shape[1]:
            if not torch.compiler.is_compiling():  # enlarging is several times as fast in this layout
                maps = maps.contiguous(memory_format=torch.channels_last)
            maps = F.interpolate(maps, detail.shape[-2:], mode="bilinear", align_corners=False)
        maps = F.conv2d(maps, self._halves()[0], padding=1)
        _, norm, rectifier = self.third
        maps = rectifier(norm(maps + detail if detail.shape[1] else maps))
        logits = self.logits(maps).contiguous()
        return F.interpolate(logits, scale_factor=self.stride, mode="bilinear", align_corners=False)
