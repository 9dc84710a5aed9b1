"""The paper's network: depth-wise cross-correlation between the two images' features, at several scales."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from coseg.errors import unknown_choice
from coseg.models.base import EncoderDecoderNetwork, Size, require_group
from coseg.models.correlation import DepthwiseCorrelation
from coseg.models.decoder import Decoder, skip_modules, skip_strides
from coseg.models.encoders.base import Encoder, require_encoder
from coseg.models.exemplar import Exemplar, contrasted, given
from coseg.models.features import deepest, inherits, means_of_others

USES = ("concatenate", "add", "gate", "correlation")


class CrossCorrelationNetwork(EncoderDecoderNetwork):
    r"""Encoder, matching by depth-wise cross-correlation both ways, decoder; only the first and last are learned.

    The paper's method: with features f_A and f_B, (B, C, H, W), kernels k_s = pool(f_B), (B, C, s, s), S the
    kernel sizes, D the decoder, and * the correlation of each channel by itself (see `DepthwiseCorrelation`),

    .. math:: c_A = \frac{1}{|S|} \sum_{s \in S} \frac{1}{s^2} \, f_A * k_s, \qquad logits_A = D([f_A, c_A]),

    and the same with A and B exchanged.

    Args:
        encoder: shared by both images.
        kernel_sizes: see `DepthwiseCorrelation`, as are the next three.
        pooling: how kernels are made.
        normalization: of the kernels.
        fusion: of the sizes.
        correlation: ``depthwise``, a map for each channel, or ``ordinary``, one map, their sum.
        use: what the decoder sees of the base f and the correlation c: ``concatenate`` [f, c] (2 C channels),
            ``add`` f + c, ``gate`` f sigmoid(c), or ``correlation`` c alone. An ordinary correlation has one channel:
            C + 1 to concatenate, the same for each channel of f to add and gate, and 1 alone.
        rescale: before that, scale the correlation of each image to the root mean square of its base. The paper does
            not. Without it the correlation of a fresh encoder is 2 to 11 times smaller than the base beside it.
        decoder_channels: see `coseg.models.decoder.Decoder`.
        batch_norm: in the decoder.
        skip_channels: of the encoder's levels at strides of 4 and 8, where each joins the decoder; 0: none, as in the
            paper.
        input_size: see `CosegNetwork`.

    Raises:
        CosegError: a value is out of its range or not one of the choices above.

    Example:
        >>> import torch
        >>> from coseg.models.encoders.vgg import VGG16Encoder
        >>> network = CrossCorrelationNetwork(VGG16Encoder(width=0.125), kernel_sizes=[3])
        >>> [tuple(logits.shape) for logits in network(torch.rand(2, 3, 33, 47), torch.rand(2, 3, 20, 20))]
        [(2, 2, 33, 47), (2, 2, 20, 20)]
    """

    def __init__(
        self,
        encoder: Encoder,
        kernel_sizes: Iterable[int] = (3, 5, 7),
        pooling: str = "average",
        normalization: str = "area",
        fusion: str = "mean",
        correlation: str = "depthwise",
        use: str = "concatenate",
        rescale: bool = False,
        decoder_channels: Iterable[int] | None = None,
        batch_norm: bool = True,
        skip_channels: int = 0,
        input_size: int | None = None,
    ) -> None:
        if use not in USES:
            raise unknown_choice("model.use", use, USES)
        channels = require_encoder(encoder).out_channels
        matching = DepthwiseCorrelation(kernel_sizes, pooling, normalization, fusion, channels, correlation)
        maps = channels if correlation == "depthwise" else 1
        in_channels = {"concatenate": channels + maps, "correlation": maps}.get(use, channels)
        skips = skip_modules(encoder, skip_channels, batch_norm)
        strides = skip_strides(encoder, skip_channels)
        decoder = Decoder(in_channels, encoder.stride, decoder_channels, channels, batch_norm, strides, skip_channels)
        super().__init__(encoder, decoder, input_size, skips)
        self.correlation = matching
        self.use = use
        self.rescale = rescale

    def encode_for_pairs(self, images: Tensor) -> Any:
        """The kernels of each image; the features of `encode`, and before them `Decoder.own_part` if they join.

        Those of `encode` alone in a subclass with a `cosegment` of its own.
        """
        features = self.encode(images)
        if not inherits(self, CrossCorrelationNetwork, "cosegment"):
            return features
        levels = features if isinstance(features, tuple) else (features,)
        if self._splits():
            levels = cast(Decoder, self.decoder).own_part(levels[-1]), *levels
        return tuple(self.correlation.fused(self.correlation.kernels(levels[-1]))), levels

    def cosegment(self, features_a: Any, features_b: Any, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        """See `CosegNetwork.cosegment`."""
        join = self.join
        if isinstance(features_a, tuple) and isinstance(features_a[0], tuple):  # of `encode_for_pairs`
            join = self._rescaled if self._splits() else join
            (kernels_a, features_a), (kernels_b, features_b) = features_a, features_b
        else:
            kernels_a, kernels_b = (self.correlation.kernels(deepest(side)) for side in (features_a, features_b))
        base_a, base_b = deepest(features_a), deepest(features_b)
        joined_a = join(base_a, self.correlation.correlate(base_a, kernels_b))
        joined_b = join(base_b, self.correlation.correlate(base_b, kernels_a))
        logits_a, logits_b = self.decode((joined_a, joined_b), (size_a, size_b), (features_a, features_b))
        return logits_a, logits_b

    def cosegment_group(
        self, features: Sequence[Any], sizes: Sequence[Size], members: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Logits (1, 2, *size) of each image, decoded once from the mean of its correlations with all others.

        Where the correlation is linear in the kernel (every choice but ``fusion=max``), that mean is one correlation
        with the mean kernel of the others: n images cost n correlations, not n².

        Raises:
            CosegError: the group has fewer than two images.
        """
        return self._group(features, sizes, require_group(features, members))

    def _group(self, features: Sequence[Any], sizes: Sequence[Size], members: Sequence[int]) -> Iterator[Tensor]:
        kernels = [self.correlation.kernels(deepest(image)) for image in features]
        means = None
        if self.correlation.linear:
            means = list(zip(*(means_of_others(scale) for scale in zip(*kernels, strict=True)), strict=True))
        for i in members:
            image = features[i]
            base = deepest(image)
            if means is not None:
                matched = self.correlation.correlate(base, means[i])
            else:
                partners = kernels[:i] + kernels[i + 1 :]
                matched = torch.stack([self.correlation.correlate(base, other) for other in partners]).mean(0)
            yield from self.decode((self.join(base, matched),), (sizes[i],), (image,))

    def cosegment_exemplars(
        self, exemplars: Sequence[Exemplar], features: Sequence[Any], sizes: Sequence[Size]
    ) -> Iterator[Tensor]:
        """Logits (1, 2, *size) of each image for the object of the exemplars; two passes of the decoder an image.

        Kernels are pooled from the exemplars' positions of the object alone, and others from those of the rest, each
        the mean over the exemplars; see `coseg.models.exemplar.contrasted`.
        """
        kernels: tuple[list[list[Tensor]], list[list[Tensor]]] = [], []
        for exemplar in exemplars:
            for part, chosen in zip(kernels, self.exemplar_positions(exemplar), strict=True):
                if chosen.any():
                    part.append(self.correlation.kernels_of(deepest(exemplar.features), chosen[None]))
        thing, rest = ([torch.stack(scale).mean(0) for scale in zip(*part, strict=True)] for part in kernels)
        for image, size in zip(features, sizes, strict=True):
            logits = self._given(image, thing, size)
            yield contrasted(logits, self._given(image, rest, size) if rest else None)

    def _given(self, image: Any, kernels: Sequence[Tensor], size: Size) -> Tensor:
        """Logits (1, 2, *size) of an image, given kernels."""
        base = deepest(image)
        (logits,) = self.decode((self.join(base, self.correlation.correlate(base, kernels)),), (size,), (image,))
        return logits

    def cosegment_shown(
        self, features_a: Any, features_b: Any, size_a: Size, size_b: Size, region_a: Tensor, region_b: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `CosegNetwork.cosegment_shown`."""
        sides = (
            given(features_a, deepest(features_b), *self.shown_positions(features_b, size_b, region_b)),
            given(features_b, deepest(features_a), *self.shown_positions(features_a, size_a, region_a)),
        )
        joined = []
        for side in sides:
            base = deepest(side.images)
            kernels = self.correlation.kernels_of(side.partners, side.chosen)
            joined.append(self.join(base, self.correlation.correlate(base, kernels)))
        logits = self.decode(joined, (size_a, size_b), [side.images for side in sides])
        logits_a, logits_b = (side.contrasted(maps) for side, maps in zip(sides, logits, strict=True))
        return logits_a, logits_b

    def join(self, base: Tensor, correlation: Tensor) -> Tensor:
        """What the decoder sees of base and correlation, both (B, C, H, W); an ordinary correlation is (B, 1, H, W)."""
        correlation = self._rescaled(base, correlation)
        if self.use == "concatenate":
            return torch.cat((base, correlation), 1)
        if self.use == "add":
            return base + correlation
        return base * correlation.sigmoid() if self.use == "gate" else correlation

    def _splits(self) -> bool:
        """Whether the decoder's first convolution may see base and correlation one by one; see `Decoder.own_part`."""
        joins = inherits(self, CrossCorrelationNetwork, "join", "decode")
        return self.use == "concatenate" and joins and isinstance(self.decoder, Decoder)

    def _rescaled(self, base: Tensor, correlation: Tensor) -> Tensor:
        if not self.rescale:
            return correlation
        width = (correlation.shape[1] / base.shape[1]) ** 0.5  # a norm grows with the root of the channels
        factor = width * _norm(base) / _norm(correlation).clamp_min(1e-6)
        return correlation * factor.to(correlation.dtype)


def _norm(features: Tensor) -> Tensor:
    dtype = torch.promote_types(features.dtype, torch.float32)  # half precision overflows in the sum of squares
    return torch.linalg.vector_norm(features, dim=(1, 2, 3), keepdim=True, dtype=dtype)
