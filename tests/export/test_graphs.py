"""Every network that can be exported, as two modules, gives its own logits; the others say why not."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from facts import naming

from coseg.errors import CosegError
from coseg.export.graphs import graphs_of, has_graphs
from coseg.models.base import CosegNetwork
from coseg.models.channel_spatial_attention import ChannelSpatialAttentionNetwork
from coseg.models.conditional_siamese import ConditionalSiameseNetwork
from coseg.models.cross_correlation import CrossCorrelationNetwork
from coseg.models.embedding_matching import GROUP_POSITIONS, EmbeddingMatchingNetwork, _pooled
from coseg.models.encoders.timm import TimmEncoder
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.mirrored import MirroredNetwork
from coseg.models.mutual_correlation import MutualCorrelationNetwork
from coseg.models.semantic_attention import SemanticAttentionNetwork
from coseg.models.siamese import SiameseNetwork


def encoder(stride: int = 8) -> VGG16Encoder:
    return VGG16Encoder(width=0.125, stride=stride)


def correlation(**settings: Any) -> CrossCorrelationNetwork:
    return CrossCorrelationNetwork(encoder(), kernel_sizes=[1, 3, 5], **settings)


def embedding(**settings: Any) -> EmbeddingMatchingNetwork:
    settings = {"channels": 8, "skip_channels": 4, "decoder_width": 8, **settings}
    return EmbeddingMatchingNetwork(TimmEncoder("tf_efficientnet_lite0", [1, 2, 3]), **settings)


NETWORKS = {
    "the paper's": lambda: correlation(),
    "rescaled": lambda: correlation(rescale=True, normalization="l2", use="gate"),
    "largest": lambda: correlation(pooling="max", fusion="max", use="add"),
    "mixed": lambda: correlation(pooling="strided", normalization="none", fusion="concatenate", use="correlation"),
    "ordinary": lambda: correlation(correlation="ordinary", rescale=True),
    "siamese": lambda: SiameseNetwork(encoder()),
    "with skips": lambda: correlation(skip_channels=3),
    "siamese with skips": lambda: SiameseNetwork(TimmEncoder("tf_efficientnet_lite0", [1, 2, 3]), skip_channels=4),
    "semantic": lambda: SemanticAttentionNetwork(encoder(32)),
    "semantic, of both": lambda: SemanticAttentionNetwork(encoder(), attention="fused"),
    "semantic, where": lambda: SemanticAttentionNetwork(encoder(), attention="channel_spatial"),
    "channel and spatial": lambda: ChannelSpatialAttentionNetwork(encoder(32)),
    "high level": lambda: ChannelSpatialAttentionNetwork(encoder(), low_level=False),
    "mutual": lambda: MutualCorrelationNetwork(encoder(), input_size=40),
    "embedding": lambda: embedding(),
    "embedding, alone": lambda: embedding(matching=False),
    "embedding, one level": lambda: EmbeddingMatchingNetwork(TimmEncoder("test_vit", [1]), 8, input_size=64),
    "mirrored": lambda: MirroredNetwork(correlation()),
    "mirrored embedding": lambda: MirroredNetwork(embedding()),
    "transformer": lambda: CrossCorrelationNetwork(TimmEncoder("test_vit", [1]), input_size=64),
}


def spread_statistics(network: CosegNetwork) -> CosegNetwork:
    """Batch norm as after a training: each channel with statistics of its own."""
    for name, values in network.named_buffers():
        if name.endswith("running_mean"):
            values.normal_(std=0.1)
        if name.endswith("running_var"):
            values.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_two_graphs_give_the_networks_logits(name: str) -> None:
    torch.manual_seed(0)
    network = spread_statistics(NETWORKS[name]())
    graphs = graphs_of(network)
    sizes = [(graphs.size,) * 2] if graphs.size else [(1, 1), (37, 64), (101, 35)]
    count = len(graphs.features)
    for (height, width), size_b in product(sizes, repeat=2):
        a = torch.randint(256, (2, 3, height, width), dtype=torch.uint8)
        b = torch.randint(256, (2, 3, *size_b), dtype=torch.uint8)
        with torch.no_grad():
            expected, _ = network(a, b)
            logits = graphs.cosegment(*graphs.encode(a)[:count], *graphs.encode(b)[count:])
        assert all(side % graphs.stride == 0 for side in logits.shape[-2:])
        # relative, too: kernels of unit norm give logits in the tens
        assert torch.allclose(logits[..., :height, :width], expected, atol=1e-5, rtol=1e-5)


def test_means_of_kernels_are_a_groups() -> None:
    torch.manual_seed(0)
    network = spread_statistics(correlation(rescale=True))
    graphs = graphs_of(network)
    images = [torch.randint(256, (1, 3, 40, 48 + 8 * k), dtype=torch.uint8) for k in range(3)]
    with torch.no_grad():
        encoded = [graphs.encode(image) for image in images]
        sizes = [(40, 48 + 8 * k) for k in range(3)]
        expected = list(network.cosegment_group([network.encode(image) for image in images], sizes))
        mean = (encoded[1][1] + encoded[2][1]) / 2
        logits = graphs.cosegment(encoded[0][0], mean)
    assert graphs.group == "mean"
    assert torch.allclose(logits, expected[0], atol=1e-5)
    assert not graphs_of(correlation(fusion="max")).group


def test_the_network_itself_stays_as_it_is() -> None:
    network = SemanticAttentionNetwork(encoder()).train()
    before = {name: type(module) for name, module in network.named_modules()}
    graphs_of(network)
    assert network.training and before == {name: type(module) for name, module in network.named_modules()}


@pytest.mark.parametrize("count", [3, 6])
def test_joined_positions_are_a_groups(count: int) -> None:
    """Also where the network averages the positions of many partners over cells: 6 images of 24 x 24 positions."""
    torch.manual_seed(0)
    network = spread_statistics(embedding())
    graphs = graphs_of(network)
    assert graphs.group == "join"
    images = [torch.randint(256, (1, 3, 192, 192), dtype=torch.uint8) for _ in range(count)]
    with torch.no_grad():
        encoded = [graphs.encode(image) for image in images]
        expected = list(network.cosegment_group([network.encode(image) for image in images], [(192, 192)] * count))
        maps = [positions[:, 0].unflatten(2, (24, 24)) for *_, positions in encoded[1:]]
        pooled = [_pooled(embedded, GROUP_POSITIONS // (count - 1))[:, None] for embedded in maps]
        logits = graphs.cosegment(*encoded[0][:3], torch.cat(pooled, 1))
    assert (pooled[0].shape[-1] < 24 * 24) == (count == 6)
    assert torch.allclose(logits, expected[0], atol=1e-5)


def test_what_cannot_be_exported_says_so_and_what_can() -> None:
    other = ConditionalSiameseNetwork(encoder(), input_size=64)
    assert not has_graphs(other) and has_graphs(NETWORKS["siamese"]())
    with pytest.raises(CosegError, match=naming("ConditionalSiameseNetwork", "CrossCorrelationNetwork")):
        graphs_of(other)
    with pytest.raises(CosegError, match=naming("transformer", "--size")):
        graphs_of(SiameseNetwork(TimmEncoder("test_vit", [0])))
