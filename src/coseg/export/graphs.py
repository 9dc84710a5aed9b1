"""A network as two modules that can be traced: image to features and kernels, features and kernels to logits.

The first, `Encode`, takes images only. The second takes the features of an image and the kernels of its partner, which
may be of any form. So the same graph serves a pair (called twice, or once with both sides in a batch) and a group (with
the mean kernels of the other images). `graphs_of` makes both; each class of networks needs a function here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from coseg.errors import CosegError
from coseg.export.operations import padded_to_multiple, pooled, replace_reflections, slid
from coseg.models.base import CosegNetwork, EncoderDecoderNetwork
from coseg.models.channel_spatial_attention import LOW_STRIDE, ChannelSpatialAttentionNetwork
from coseg.models.correlation import mean_kernel
from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.models.encoders.base import Encoder
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
        features: name to stride, of maps (B, C, h, w).
        kernels: name to whether the kernel is a map whose size depends on the size of the image.
        stride: images are padded to multiples of it, and so are the logits.
        size: the side of the only images that the graphs take; None: any.
        group: whether a group can use the mean kernels of the other images, as `cosegment_group` does.
    """

    encode: nn.Module
    cosegment: nn.Module
    features: dict[str, int]
    kernels: dict[str, bool]
    stride: int
    size: int | None
    group: bool

    @property
    def names(self) -> list[str]:
        """Of the outputs of `encode`, which are the inputs of `cosegment`, in their order."""
        return [*self.features, *self.kernels]


class Encode(nn.Module):
    """Images, uint8 (B, 3, H, W), to the features of the encoder, or to the outputs of `after` for them."""

    def __init__(self, encoder: Encoder, after: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.after = after

    def forward(self, images: Tensor) -> Tensors:
        """Features and kernels."""
        features: Tensor = self.encoder.deepest(prepared(self.encoder, images))
        return (features,) if self.after is None else self.after(features)


def prepared(encoder: Encoder, images: Tensor) -> Tensor:
    """As `Encoder.prepare`, of uint8 images."""
    return padded_to_multiple((images.float() / 255 - encoder.mean) / encoder.std, encoder.stride)


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
        features, *kernels = inputs
        matched = self.network.correlation.fuse([slid(features, kernel) for kernel in kernels])
        logits: Tensor = self.network.decoder(self.network.join(features, matched))
        return logits


def _cross_correlation(network: CrossCorrelationNetwork) -> Graphs:
    matching = network.correlation
    names = ["kernels"] if matching.fusion == "mean" else [f"kernels_{s}" for s in matching.kernel_sizes]
    encode = Encode(network.encoder, _Kernels(network))
    kernels = dict.fromkeys(names, False)
    return _graphs(network, encode, _Correlate(network), kernels, group=matching.linear)


class _Decode(nn.Module):
    def __init__(self, network: SiameseNetwork) -> None:
        super().__init__()
        self.decoder = network.decoder

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.decoder(*inputs)
        return logits


def _siamese(network: SiameseNetwork) -> Graphs:
    return _graphs(network, Encode(network.encoder), _Decode(network), {})


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
    return _graphs(network, Encode(network.encoder, _Attend(network)), _Select(network), {"attention": False})


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
    kernels = {name.replace("features", "attention"): False for name in features}
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
    return _graphs(network, encode, _Displace(network), {"kernels": True}, size=network.input_size, group=False)


def _graphs(
    network: EncoderDecoderNetwork,
    encode: nn.Module,
    cosegment: nn.Module,
    kernels: dict[str, bool],
    features: dict[str, int] | None = None,
    size: int | None = None,
    group: bool = True,
) -> Graphs:
    stride = network.encoder.stride
    if not network.encoder.graph_of_any_size:
        if network.input_size is None:
            raise CosegError(
                "A vision transformer of any input size can't be exported, its positions are interpolated outside of "
                "the graph: give the side of its input by --size, 224 say."
            )
        size = network.input_size
    return Graphs(encode, cosegment, features or {"features": stride}, kernels, stride, size, group)


_MAKERS: dict[type[CosegNetwork], Callable[..., Graphs]] = {
    CrossCorrelationNetwork: _cross_correlation,
    SiameseNetwork: _siamese,
    SemanticAttentionNetwork: _semantic_attention,
    ChannelSpatialAttentionNetwork: _channel_spatial_attention,
    MutualCorrelationNetwork: _mutual_correlation,
}


def unwrapped(network: CosegNetwork) -> tuple[CosegNetwork, bool]:
    """The inner network of a `MirroredNetwork`, which runs the same graphs twice, and True; or `network` and False."""
    return (network.network, True) if isinstance(network, MirroredNetwork) else (network, False)


def graphs_of(network: CosegNetwork) -> Graphs:
    """The two modules of a network, on the CPU, in evaluation mode and float32; the network itself is not changed.

    Raises:
        CosegError: a network of this class, or with this encoder, can't be exported.
    """
    for network_class, make in _MAKERS.items():
        if type(network) is network_class:
            copied = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
            # With weights in the channels-last layout, tracing turns the layout into a condition on sizes.
            return make(copied.to(memory_format=torch.contiguous_format))
    names = ", ".join(network_class.__name__ for network_class in _MAKERS)
    raise CosegError(
        f"A {type(network).__name__} can't be exported, its logits need both images at once; these can: {names}. "
        "Share its weights instead: --format safetensors."
    )
