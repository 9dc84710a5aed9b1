"""A network as two modules that can be traced: image to features and kernels, features and kernels to logits.

The first takes images only. The second takes the features of an image and the kernels of its partner, of any form. So
one graph serves a pair (called twice, or once with both sides in a batch) and a group. `graphs_of` makes both; a class
of networks without a function here is traced as it is, by `coseg.export.any_network`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.errors import CosegError
from coseg.export.mirrored import mirrored_graphs
from coseg.export.operations import (
    largest_means,
    pooled,
    prepared,
    replace_reflections,
    replace_same_padding,
    slid,
)
from coseg.models.base import CosegNetwork, EncoderDecoderNetwork
from coseg.models.channel_spatial_attention import LOW_STRIDE, ChannelSpatialAttentionNetwork
from coseg.models.correlation import mean_kernel
from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.models.decoder import skip_levels
from coseg.models.embedding_matching import EmbeddingMatchingNetwork
from coseg.models.mirrored import MirroredNetwork
from coseg.models.mutual_correlation import MutualCorrelationNetwork, mutual_correlation
from coseg.models.semantic_attention import SemanticAttentionNetwork
from coseg.models.siamese import SiameseNetwork

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Graphs:
    """Both modules and their properties.

    Attributes:
        encode: images, uint8 (B, 3, H, W), to features and kernels.
        cosegment: features of B images and kernels of their partners, to logits, float32 (B, 2, stride h, stride w).
        features: name to stride, of maps (B, C, h, w); 0: one number an image, (B,).
        kernels: name to those of its axes, beside the batch, whose length is free, with their names.
        stride: images are padded to multiples of it, and so are the logits.
        size: the side of the only images that the graphs take; None: any.
        group: what becomes of the kernels of a group's other images, as in `cosegment_group`: their ``mean``, or
            ``join``, one after the other on axis 1. None: the logits of the pairs are averaged.
        single: a batch has one image.
    """

    encode: nn.Module
    cosegment: nn.Module
    features: dict[str, int]
    kernels: dict[str, dict[int, str]]
    stride: int
    size: int | None
    group: str | None
    single: bool = False

    @property
    def names(self) -> list[str]:
        """Of the outputs of `encode`, which are the inputs of `cosegment`, in their order."""
        return [*self.features, *self.kernels]


class Encode(nn.Module):
    """Images, uint8 (B, 3, H, W), to what joins the decoder and the features, or the outputs of `after` for these."""

    def __init__(self, network: EncoderDecoderNetwork, after: nn.Module | None = None) -> None:
        super().__init__()
        self.network = network
        self.after = after

    def forward(self, images: Tensor) -> Tensors:
        """Skips, features and kernels."""
        images = prepared(self.network.encoder, images)
        levels = self.network.with_skips(images) if self.network.has_skips else (self.network.encoder.deepest(images),)
        skips, features = levels[:-1], levels[-1]
        return (*skips, features) if self.after is None else (*skips, *self.after(features))


class _Kernels(nn.Module):
    """Features (B, C, h, w) to themselves and their kernels; for ``fusion=mean`` one, the mean over the sizes."""

    def __init__(self, network: CrossCorrelationNetwork) -> None:
        super().__init__()
        self.correlation = network.correlation

    def forward(self, features: Tensor) -> Tensors:
        matching = self.correlation
        kernels = [matching.normalise(pooled(features, s, matching.pooling)) for s in matching.kernel_sizes]
        return features, *([mean_kernel(kernels)] if matching.fusion == "mean" else kernels)


class _Correlate(nn.Module):
    def __init__(self, network: CrossCorrelationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        count = len(skip_levels(self.network.encoder)) if self.network.has_skips else 0
        skips, (features, *kernels) = inputs[:count], inputs[count:]
        matched = self.network.correlation.fuse([slid(features, kernel) for kernel in kernels])
        logits: Tensor = self.network.decoder(self.network.join(features, matched), *skips)
        return logits


def _cross_correlation(network: CrossCorrelationNetwork) -> Graphs:
    matching = network.correlation
    names = ["kernels"] if matching.fusion == "mean" else [f"kernels_{s}" for s in matching.kernel_sizes]
    kernels: dict[str, dict[int, str]] = {name: {} for name in names}
    group = "mean" if matching.linear else None
    return _graphs(network, Encode(network, _Kernels(network)), _Correlate(network), kernels, group=group)


class _Decode(nn.Module):
    def __init__(self, network: SiameseNetwork) -> None:
        super().__init__()
        self.decoder = network.decoder

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.decoder(inputs[-1], *inputs[:-1])
        return logits


def _siamese(network: SiameseNetwork) -> Graphs:
    return _graphs(network, Encode(network), _Decode(network), {})


class _Attend(nn.Module):
    def __init__(self, network: SemanticAttentionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensors:
        return features, self.network.attend(features)


class _Select(nn.Module):
    def __init__(self, network: SemanticAttentionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        features, attention = inputs
        mine = self.network.attend(features) if self.network.attention == "fused" else attention
        logits: Tensor = self.network.decoder(self.network.select(features, mine, attention))
        return logits


def _semantic_attention(network: SemanticAttentionNetwork) -> Graphs:
    replace_reflections(network)
    return _graphs(network, Encode(network, _Attend(network)), _Select(network), {"attention": {}})


class _EncodeLevels(nn.Module):
    def __init__(self, network: ChannelSpatialAttentionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensors:
        levels = self.network.levels(prepared(self.network.encoder, images))
        return *levels, *self.network.attend(levels)


class _Enhance(nn.Module):
    def __init__(self, network: ChannelSpatialAttentionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        count = len(inputs) // 2
        logits: Tensor = self.network.decoder(*self.network.enhance(inputs[:count], inputs[count:]))
        return logits


def _channel_spatial_attention(network: ChannelSpatialAttentionNetwork) -> Graphs:
    features = {"features": network.encoder.stride}
    if network.low_level is not None:
        features = {"features_low": LOW_STRIDE, **features}
    kernels: dict[str, dict[int, str]] = {name.replace("features", "attention"): {} for name in features}
    return _graphs(network, _EncodeLevels(network), _Enhance(network), kernels, features)


class _EncodeFully(nn.Module):
    def __init__(self, network: MutualCorrelationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensors:
        encoder = self.network.encoder
        features: Tensor = self.network.fully(encoder.deepest(prepared(encoder, images)))
        return (features,)


class _Displace(nn.Module):
    """The kernels of the partner are its features: each position is compared with all positions."""

    def __init__(self, network: MutualCorrelationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        features, partner = inputs
        correlation = mutual_correlation(features, partner, self.network.reach)
        logits: Tensor = self.network.decoder(torch.cat((self.network.squeeze(features), correlation), 1))
        return logits


class _TakeItself(nn.Module):
    """Features that are also the kernels. Each output of a graph has a name, so they are returned twice."""

    def __init__(self, encode: nn.Module) -> None:
        super().__init__()
        self.encode = encode

    def forward(self, images: Tensor) -> Tensors:
        (features,) = self.encode(images)
        return features, features.clone()


def _mutual_correlation(network: MutualCorrelationNetwork) -> Graphs:
    encode = _TakeItself(_EncodeFully(network))
    return _graphs(network, encode, _Displace(network), {"kernels": {}}, size=network.input_size, group=None)


class _Embed(nn.Module):
    """Images to what `EmbeddingMatchingNetwork.encode` gives, and the positions of the embedding, (B, 1, C, P)."""

    def __init__(self, network: EmbeddingMatchingNetwork) -> None:
        super().__init__()
        self.network = network
        network.input_size = None  # images come at their final size
        encoder = network.encoder
        encoder.prepare = lambda images: prepared(encoder, images)  # type: ignore[method-assign]

    def forward(self, images: Tensor) -> Tensors:
        detail, base, embedding = self.network.encode(images)
        features = (detail, base) if self.network.skip is not None else (base,)
        return (*features, embedding, embedding.flatten(2)[:, None].clone()) if self.network.matching else features


class _Match(nn.Module):
    """Features of images, and the positions of N partners of each, (B, N, C, P), to logits."""

    def __init__(self, network: EmbeddingMatchingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.network.skip is None:
            inputs = inputs[0][:, :0], *inputs
        if not self.network.matching:
            detail, base = inputs
            logits: Tensor = self.network.decoder(detail, base, base)
            return logits
        detail, base, embedding, partners = inputs
        units = F.normalize(embedding, dim=1).flatten(2).transpose(1, 2)[:, None]
        cosine = units @ F.normalize(partners, dim=2)  # (B, N, hw, P)
        attention = (cosine * self.network.temperature.exp()).softmax(-1)
        size = embedding.shape[-2:]
        attended = (partners @ attention.transpose(2, 3)).mean(1).unflatten(2, size)
        top = self.network.top
        alike = largest_means(cosine, (top, 5 * top)).mean(1).transpose(1, 2).unflatten(2, size)
        logits = self.network.decoder(detail, base, embedding, attended, alike)
        return logits


def _embedding_matching(network: EmbeddingMatchingNetwork) -> Graphs:
    several = network.skip is not None
    fine, coarse = network.encoder.level_strides[0], network.encoder.level_strides[int(several)]
    features = {"detail": fine} if several else {}
    features |= {"base": coarse} | ({"embedding": coarse} if network.matching else {})
    kernels = {"positions": {1: "partners", 3: "positions"}} if network.matching else {}
    fixed = None if network.encoder.graph_of_any_size else network.input_size
    return _graphs(network, _Embed(network), _Match(network), kernels, features, fixed, "join")


def _graphs(
    network: EncoderDecoderNetwork,
    encode: nn.Module,
    cosegment: nn.Module,
    kernels: dict[str, dict[int, str]],
    features: dict[str, int] | None = None,
    size: int | None = None,
    group: str | None = "mean",
) -> Graphs:
    stride = network.encoder.stride
    if not network.encoder.graph_of_any_size:
        size = network.input_size if size is None else size
        if size is None:
            raise CosegError(
                "A vision transformer of any input size can't be exported, its positions are interpolated outside of "
                "the graph: give the side of its input by --size, 224 say."
            )
    strides = [network.encoder.level_strides[k] for k in skip_levels(network.encoder)] if network.has_skips else []
    usual = {f"skip_{finer}": finer for finer in strides} | {"features": stride}
    return Graphs(encode, cosegment, features or usual, kernels, stride, size, group)


_MAKERS: dict[type[CosegNetwork], Callable[..., Graphs]] = {
    CrossCorrelationNetwork: _cross_correlation,
    SiameseNetwork: _siamese,
    SemanticAttentionNetwork: _semantic_attention,
    ChannelSpatialAttentionNetwork: _channel_spatial_attention,
    MutualCorrelationNetwork: _mutual_correlation,
    EmbeddingMatchingNetwork: _embedding_matching,
}


def has_graphs(network: CosegNetwork) -> bool:
    """Whether `graphs_of` knows the class of a network; others are traced by `coseg.export.any_network`."""
    return type(network.network if isinstance(network, MirroredNetwork) else network) in _MAKERS


def graphs_of(network: CosegNetwork) -> Graphs:
    """The two modules of a network, on the CPU, in evaluation mode and float32; the network itself is not changed.

    Those of a `MirroredNetwork` see the mirror images, too, and take the mean, as it does.

    Raises:
        CosegError: a network of this class, or with this encoder, can't be exported.
    """
    if isinstance(network, MirroredNetwork):
        return mirrored_graphs(graphs_of(network.network))
    for network_class, make in _MAKERS.items():
        if type(network) is network_class:
            copied = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
            replace_same_padding(copied)
            # With weights in the channels-last layout, tracing turns the layout into a condition on sizes.
            return make(copied.to(memory_format=torch.contiguous_format))
    names = ", ".join(network_class.__name__ for network_class in _MAKERS)
    raise CosegError(f"A {type(network).__name__} has no graphs of its own in coseg, as these have: {names}.")
