"""Every network that can be exported, as two modules, gives its own logits; the others say why not."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from facts import naming

from coseg.errors import CosegError
from coseg.export.graphs import graphs_of, unwrapped
from coseg.models.base import CosegNetwork
from coseg.models.channel_spatial_attention import ChannelSpatialAttentionNetwork
from coseg.models.conditional_siamese import ConditionalSiameseNetwork
from coseg.models.cross_correlation import CrossCorrelationNetwork
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


NETWORKS = {
    "the paper's": lambda: correlation(),
    "rescaled": lambda: correlation(rescale=True, normalization="l2", use="gate"),
    "largest": lambda: correlation(pooling="max", fusion="max", use="add"),
    "mixed": lambda: correlation(pooling="strided", normalization="none", fusion="concatenate", use="correlation"),
    "ordinary": lambda: correlation(correlation="ordinary", rescale=True),
    "siamese": lambda: SiameseNetwork(encoder()),
    "semantic": lambda: SemanticAttentionNetwork(encoder(32)),
    "semantic, of both": lambda: SemanticAttentionNetwork(encoder(), attention="fused"),
    "semantic, where": lambda: SemanticAttentionNetwork(encoder(), attention="channel_spatial"),
    "channel and spatial": lambda: ChannelSpatialAttentionNetwork(encoder(32)),
    "high level": lambda: ChannelSpatialAttentionNetwork(encoder(), low_level=False),
    "mutual": lambda: MutualCorrelationNetwork(encoder(), input_size=40),
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
    assert graphs.group
    assert torch.allclose(logits, expected[0], atol=1e-5)
    assert not graphs_of(correlation(fusion="max")).group


def test_the_network_itself_stays_as_it_is() -> None:
    network = SemanticAttentionNetwork(encoder()).train()
    before = {name: type(module) for name, module in network.named_modules()}
    graphs_of(network)
    assert network.training and before == {name: type(module) for name, module in network.named_modules()}


def test_a_mirrored_network_is_its_own_graphs_twice() -> None:
    torch.manual_seed(0)
    mirrored = MirroredNetwork(spread_statistics(correlation())).eval()
    network, was = unwrapped(mirrored)
    assert was and not unwrapped(network)[1]
    graphs = graphs_of(network)
    a, b = torch.randint(256, (2, 1, 3, 40, 56), dtype=torch.uint8)
    with torch.no_grad():
        expected, _ = mirrored(a, b)
        plain = graphs.cosegment(graphs.encode(a)[0], graphs.encode(b)[1])
        turned = graphs.cosegment(graphs.encode(a.flip(-1))[0], graphs.encode(b.flip(-1))[1])
    assert torch.allclose((plain + turned.flip(-1)) / 2, expected, atol=1e-5)


def test_what_cannot_be_exported_says_so_and_what_can() -> None:
    with pytest.raises(CosegError, match=naming("ConditionalSiameseNetwork", "export", "CrossCorrelationNetwork")):
        graphs_of(ConditionalSiameseNetwork(encoder(), input_size=64))
    with pytest.raises(CosegError, match=naming("transformer", "--size")):
        graphs_of(SiameseNetwork(TimmEncoder("test_vit", [0])))
