"""Matching of embeddings in which channels mean classes, made of several levels of a pretrained encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.errors import CosegError
from coseg.models.base import EncoderDecoderNetwork, Size, image_size, require_group
from coseg.models.decoder import ConvBlock, SkipDecoder
from coseg.models.encoders.base import Encoder, require_encoder
from coseg.models.exemplar import Exemplar, contrasted, given, nearer

Features = tuple[Tensor, Tensor, Tensor]
"""What `SkipDecoder.prepared` makes of the first level and of the embedding, which comes last, as it is."""

GROUP_POSITIONS = 2048
"""Positions of all partners together that an image of a group is compared with: so its cost is linear."""

EXEMPLAR_POSITIONS = 8192
"""Likewise, of all exemplars together, of the object and of the rest each."""


class EmbeddingMatchingNetwork(EncoderDecoderNetwork):
    r"""Siamese encoder, embedding of several levels, attention to the partner's alike positions, decoder with a skip.

    Our own. The paper correlates an encoder's last features, which training for pairs alone teaches slowly to tell
    classes apart. Here a pretrained encoder may stay frozen, and what is matched is an embedding e, (B, C, h, w) at the
    stride of the encoder's second level, made of all levels from there on by a pyramid (`_Pyramid`), which sees far
    around a position. It is what `feature_map` gives, so that ``task.semantic`` teaches it classes. With u the
    embeddings at unit length, p a position of image A and q one of B:

    - similarity c(p, q) = <u_A(p), u_B(q)>
    - attended m(p) = Σ_q softmax_q(t c(p, q)) e_B(q), (B, C, h, w); t is learned.
    - alikeness a(p), (B, 3, h, w): the largest c(p, q), the mean of the largest `top` of them, and of five times as
      many.
    - Decoder: 3 x 3 convolution of e, 1 x 1 of [m, e m] and 3 x 3 of a, summed; batch norm, ReLU; a residual block;
      enlarged to the first level, which joins by a 1 x 1 convolution; a block, 3 x 3 convolution to two logits there,
      enlarged to the input's size.

    Features of an image are what the decoder's convolutions make of it alone, and e: a test encodes an image once, and
    decodes it in every pair.

    Group of n images: the mean of m and a over all partners, decoded once an image. Above a number of images the
    partners' embeddings are averaged over cells of a grid, so that the cost is linear in n.

    An encoder of one level (a vision transformer) has no skip.

    Args:
        encoder: shared by both images; all of its levels are used.
        channels: C.
        pyramid_channels: of the pyramid's levels.
        skip_channels: of the first level where it joins.
        decoder_width: of the decoder at the stride of e; half of them after the skip.
        top: share of the partner's positions, see above.
        matching: false: without m and a, each image by itself; the control.
        dropout: probability of a channel to be left out before the 3 x 3 convolution of e, in training.
        input_size: see `CosegNetwork`.

    Raises:
        CosegError: a value is out of its range.

    Example:
        >>> import torch
        >>> from coseg.models.encoders.vgg import VGG16Encoder
        >>> network = EmbeddingMatchingNetwork(VGG16Encoder(width=0.125), channels=16)
        >>> [tuple(logits.shape) for logits in network(torch.rand(2, 3, 33, 47), torch.rand(2, 3, 20, 20))]
        [(2, 2, 33, 47), (2, 2, 20, 20)]
    """

    decoder: SkipDecoder

    def __init__(
        self,
        encoder: Encoder,
        channels: int = 128,
        pyramid_channels: int = 192,
        skip_channels: int = 24,
        decoder_width: int = 96,
        top: float = 0.02,
        matching: bool = True,
        dropout: float = 0.1,
        input_size: int | None = None,
    ) -> None:
        for name, value in (
            ("channels", channels),
            ("pyramid_channels", pyramid_channels),
            ("skip_channels", skip_channels),
            ("decoder_width", decoder_width),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or not 1 < value <= 4096:
                raise CosegError(f"model.{name} is '{value}', but must be a whole number from 2 to 4096.")
        if isinstance(top, bool) or not isinstance(top, float | int) or not 0 < top <= 0.2:
            raise CosegError(f"model.top is '{top}', but must be above 0 and at most 0.2.")
        if isinstance(dropout, bool) or not isinstance(dropout, float | int) or not 0 <= dropout < 1:
            raise CosegError(f"model.dropout is '{dropout}', but must be at least 0 and below 1.")
        widths, strides = require_encoder(encoder).level_channels, encoder.level_strides
        several = len(widths) > 1
        decoder = SkipDecoder(channels, skip_channels if several else 0, decoder_width, strides[0], matching)
        super().__init__(encoder, decoder, input_size)
        self.skip = ConvBlock(widths[0], skip_channels, 1) if several else None
        self.pyramid = _Pyramid(widths[int(several) :], pyramid_channels)
        self.embed = nn.Sequential(
            nn.Dropout2d(dropout), ConvBlock(pyramid_channels, channels), nn.Conv2d(channels, channels, 1)
        )
        self.temperature = nn.Parameter(torch.tensor(3.0))  # the logarithm of t
        self.channels, self.top, self.matching = channels, top, matching

    @property
    def feature_channels(self) -> int:
        """C of the embedding."""
        return self.channels

    @property
    def map_stride(self) -> int:
        """Pixels between neighbours of the embedding."""
        return self.encoder.level_strides[0 if self.skip is None else 1]

    def encode(self, images: Tensor) -> Features:
        """What the decoder's first convolutions make of an image alone, and the embedding e; see the base class."""
        levels = self.encoder.levels(self.resize(images))
        coarse = levels if self.skip is None else levels[1:]
        skip = levels[0][:, :0] if self.skip is None else self.skip(levels[0])
        return self.decoder.prepared(skip, self.embed(self.pyramid(coarse)))

    def match(self, base: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
        """The attended m (B, C, h, w) and the alikeness a (B, 3, h, w) of `base` (B, C, h, w).

        `partner`, (B, C, P), holds the embedding's positions of the other image. A `base` of batch 1 is compared with
        each of B partners.
        """
        return self._matched(self.similarity(base, partner), partner, image_size(base))

    @staticmethod
    def similarity(base: Tensor, partner: Tensor) -> Tensor:
        """c of the positions of `base` (B, C, h, w) with those of `partner` (B, C, P): (B, hw, P)."""
        return F.normalize(base, dim=1).flatten(2).transpose(1, 2) @ F.normalize(partner, dim=1)

    def _matched(self, cosine: Tensor, partner: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        attention = (cosine * self.temperature.exp()).softmax(-1)
        attended = (partner @ attention.transpose(1, 2)).unflatten(2, size)
        count = cosine.shape[-1]
        few, many = (max(1, round(share * count)) for share in (self.top, 5 * self.top))
        best = _largest(cosine, many)
        means = best.amax(-1), _largest(best, few).mean(-1), best.mean(-1)
        return attended, torch.stack(means, 1).unflatten(2, size)

    def match_chosen(self, base: Tensor, partner: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """As `match` with the chosen positions alone, bool (B, P), at least one of each partner (B, C, P)."""
        cosine, outside = self.similarity(base, partner), ~chosen[:, None]
        attention = (cosine * self.temperature.exp()).masked_fill(outside, -torch.inf).softmax(-1)
        attended = (partner @ attention.transpose(1, 2)).unflatten(2, image_size(base))
        count = chosen.sum(1).double()
        few, many = ((share * count).round().clamp(min=1).int()[:, None, None] for share in (self.top, 5 * self.top))
        best = _largest(cosine.masked_fill(outside, -2), int(many.max())).sort(-1, descending=True).values
        order = torch.arange(best.shape[-1], device=best.device)
        means = [best.where(order < number, 0).sum(-1) / number[..., 0] for number in (few, many)]
        return attended, torch.stack((best[..., 0], *means), 1).unflatten(2, image_size(base))

    def cosegment(
        self, features_a: Features, features_b: Features, size_a: Size, size_b: Size
    ) -> tuple[Tensor, Tensor]:
        """See `CosegNetwork.cosegment`."""
        decoded_a, decoded_b = self._decoded(*self._joined(features_a, features_b))
        return self.restore(decoded_a, size_a), self.restore(decoded_b, size_b)

    def _decoded(self, joined_a: Sequence[Tensor], joined_b: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The decoder's output for its input of each side."""
        if any(a.shape[1:] != b.shape[1:] for a, b in zip(joined_a, joined_b, strict=True)):
            return self.decoder(*joined_a), self.decoder(*joined_b)
        both = (torch.cat(sides) for sides in zip(joined_a, joined_b, strict=True))  # batch norm sees both sides
        decoded_a, decoded_b = self.decoder(*both).split((len(joined_a[0]), len(joined_b[0])))
        return decoded_a, decoded_b

    def _joined(self, features_a: Features, features_b: Features) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The decoder's input for each side of a pair; the similarities are computed once for both."""
        if not self.matching:
            return features_a, features_b
        (*_, a), (*_, b) = features_a, features_b
        cosine = self.similarity(a, b.flatten(2))
        # One by one: of a matrix alone torch has a fast transposition.
        turned = torch.stack([matrix.t().contiguous() for matrix in cosine])
        matched_a = self._matched(cosine, b.flatten(2), image_size(a))
        return (*features_a, *matched_a), (*features_b, *self._matched(turned, a.flatten(2), image_size(b)))

    def cosegment_group(
        self, features: Sequence[Features], sizes: Sequence[Size], members: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Logits (1, 2, *size) of each image, given the mean of what matching makes of it and each of the others.

        Raises:
            CosegError: the group has fewer than two images.
        """
        return self._group(features, sizes, require_group(features, members))

    def _group(self, features: Sequence[Features], sizes: Sequence[Size], members: Sequence[int]) -> Iterator[Tensor]:
        positions = [_pooled(embedding, GROUP_POSITIONS // (len(features) - 1)) for *_, embedding in features]
        for i in members:
            image = features[i]
            matched: tuple[Tensor, ...] = ()
            if self.matching:
                partners = positions[:i] + positions[i + 1 :]
                parts = [self.match(image[-1], torch.cat(group)) for group in _of_one_shape(partners)]
                matched = tuple(torch.cat(maps).mean(0, keepdim=True) for maps in zip(*parts, strict=True))
            yield self.restore(self.decoder(*image, *matched), sizes[i])

    def cosegment_exemplars(
        self, exemplars: Sequence[Exemplar], features: Sequence[Features], sizes: Sequence[Size]
    ) -> Iterator[Tensor]:
        """Logits (1, 2, *size) of each image for the object of the exemplars; two passes of the decoder an image.

        The image is decoded given the exemplars' positions of the object as its partner, then given those of the rest;
        see `coseg.models.exemplar.contrasted`, and `coseg.models.exemplar.nearer` for the largest c.

        Raises:
            CosegError: the network was made without matching.
        """
        self._require_matching()
        parts: tuple[list[Tensor], list[Tensor]] = [], []
        for exemplar in exemplars:
            for part, chosen in zip(parts, self.exemplar_positions(exemplar), strict=True):
                part.append(exemplar.features[-1][..., chosen])
        thing, rest = (_thinned(torch.cat(part, 2)) for part in parts)
        for image, size in zip(features, sizes, strict=True):
            decoded, near = self._given(image, thing)
            beside = None
            if rest.shape[2]:
                of_rest, near_rest = self._given(image, rest)
                decoded = nearer(decoded, near - near_rest)
                beside = self.restore(of_rest, size)
            yield contrasted(self.restore(decoded, size), beside)

    def cosegment_shown(
        self,
        features_a: Features,
        features_b: Features,
        size_a: Size,
        size_b: Size,
        region_a: Tensor,
        region_b: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See `CosegNetwork.cosegment_shown`.

        Raises:
            CosegError: the network was made without matching.
        """
        self._require_matching()
        (*_, a), (*_, b) = features_a, features_b
        side_a = given(features_a, b, *self.shown_positions(features_b, size_b, region_b))
        side_b = given(features_b, a, *self.shown_positions(features_a, size_a, region_a))
        joined_a, joined_b = (
            (*side.images, *self.match_chosen(side.images[-1], side.partners.flatten(2), side.chosen.flatten(1)))
            for side in (side_a, side_b)
        )
        decoded_a, decoded_b = self._decoded(joined_a, joined_b)
        decoded_a, decoded_b = (
            side_a.nearer(decoded_a, joined_a[-1][:, :1]),
            side_b.nearer(decoded_b, joined_b[-1][:, :1]),
        )
        return side_a.contrasted(self.restore(decoded_a, size_a)), side_b.contrasted(self.restore(decoded_b, size_b))

    def _given(self, image: Features, partner: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded logits of an image, given the positions (1, C, P) of its partner; and the largest c, (1, 1, h, w)."""
        matched = self.match(image[-1], partner)
        return self.decoder(*image, *matched), matched[-1][:, :1]

    def _require_matching(self) -> None:
        if not self.matching:
            raise CosegError("A network with model.matching=false does not compare images, so it has no exemplars.")


def _thinned(positions: Tensor) -> Tensor:
    """(1, C, P) as at most `EXEMPLAR_POSITIONS` of them, evenly spaced."""
    return positions[..., :: -(positions.shape[-1] // -EXEMPLAR_POSITIONS) or 1]


def _pooled(embedding: Tensor, most: int) -> Tensor:
    """(1, C, h, w) as at most `most` positions, (1, C, P): all of them, or the means of the cells of a square grid."""
    if embedding.shape[-2] * embedding.shape[-1] <= most:
        return embedding.flatten(2)
    side = max(1, int(most**0.5))
    return F.adaptive_avg_pool2d(embedding, (side, side)).flatten(2)


def _largest(values: Tensor, count: int) -> Tensor:
    """The `count` largest of the last axis, in any order.

    On a CPU by numpy, whose partial sort has vector instructions: `topk` takes four to nine times as long.
    """
    before = values.shape[-1] - count
    if before == 0:
        return values
    if values.device.type != "cpu" or torch.compiler.is_compiling():
        return values.topk(count, -1, sorted=False).values
    numbers = values.detach().float().numpy()
    if values.requires_grad:
        return values.gather(-1, torch.from_numpy(np.argpartition(numbers, before)[..., before:]))
    return torch.from_numpy(np.partition(numbers, before)[..., before:]).to(values.dtype)


def _of_one_shape(positions: Sequence[Tensor]) -> list[list[Tensor]]:
    """`positions` in lists of one shape each."""
    lists: dict[int, list[Tensor]] = {}
    for tensor in positions:
        lists.setdefault(tensor.shape[-1], []).append(tensor)
    return list(lists.values())


class _Pyramid(nn.Module):
    """Several levels as one map at the first one's stride, from the deepest level up (Lin et al. 2017).

    A level is the sum of its 1 x 1 convolution and of the level below, enlarged bilinearly. The deepest is given the
    mean over the image by a 1 x 1 convolution. A residual block of two 3 x 3 convolutions follows on each level but the
    first: what surrounds a position is seen where maps are small, so it costs little.
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvBlock(width, channels, 1) for width in widths)
        self.surround = nn.Conv2d(channels, channels, 1)
        refined = max(1, len(widths) - 1)  # a single level is refined, too
        self.refine = nn.ModuleList(
            nn.Sequential(ConvBlock(channels, channels), ConvBlock(channels, channels)) for _ in range(refined)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """(B, width, h, w) of each level, the deepest last, to (B, channels, h, w) of the first."""
        total = self.lateral[-1](levels[-1])
        total = total + self.surround(total.mean((2, 3), keepdim=True)).relu()
        for k in range(len(levels) - 1, 0, -1):
            total = total + self.refine[k - 1](total)
            enlarged = self.lateral[k - 1](levels[k - 1])
            if total.shape[-2:] != enlarged.shape[-2:]:
                total = F.interpolate(total, enlarged.shape[-2:], mode="bilinear", align_corners=False)
            total = total + enlarged
        return total if len(levels) > 1 else total + self.refine[0](total)
