"""Choices of the paper's network that its correlation and decoder do not test."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from coseg.errors import CosegError
from coseg.models.correlation import DepthwiseCorrelation
from coseg.models.cross_correlation import USES, CrossCorrelationNetwork
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.exemplar import Exemplar, contrasted
from coseg.models.siamese import SiameseNetwork


def network(**settings: object) -> CrossCorrelationNetwork:
    torch.manual_seed(0)
    return CrossCorrelationNetwork(VGG16Encoder(width=0.125, stride=8), **settings).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("normalization", ["area", "l2", "none"])
@pytest.mark.parametrize("fusion", ["mean", "max", "concatenate"])
@pytest.mark.parametrize("use", ["concatenate", "correlation"])
def test_a_group_is_decoded_from_the_mean_of_the_pairwise_correlations(
    normalization: str, fusion: str, use: str
) -> None:
    net = network(normalization=normalization, fusion=fusion, use=use, kernel_sizes=[1, 3])
    sizes = [(33, 47), (40, 40), (17, 5), (1, 1)]
    with torch.no_grad():
        features = [net.encode(torch.rand(1, 3, *size)) for size in sizes]
        found = list(net.cosegment_group(features, sizes))
        for i, base in enumerate(features):
            pairs = [net.correlation(base, other) for j, other in enumerate(features) if j != i]
            joined = net.join(base, torch.stack(pairs).mean(0))
            torch.testing.assert_close(found[i], net.decode([joined], [sizes[i]])[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("use", USES)
def test_a_group_of_an_ordinary_correlation(use: str) -> None:
    net = network(correlation="ordinary", use=use, rescale=True)
    sizes = [(33, 47), (40, 40), (17, 5)]
    with torch.no_grad():
        features = [net.encode(torch.rand(1, 3, *size)) for size in sizes]
        found = list(net.cosegment_group(features, sizes))
        for i, base in enumerate(features):
            pairs = [net.correlation(base, other) for j, other in enumerate(features) if j != i]
            assert pairs[0].shape == (1, 1, *base.shape[-2:])
            joined = net.join(base, torch.stack(pairs).mean(0))
            assert joined.shape[1] == net.decoder.in_channels == {"concatenate": 65, "correlation": 1}.get(use, 64)
            torch.testing.assert_close(found[i], net.decode([joined], [sizes[i]])[0], atol=1e-5, rtol=1e-5)


def test_a_linear_group_costs_one_correlation_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    for fusion, wanted in (("mean", 5), ("max", 20)):
        net = network(fusion=fusion)
        calls = []
        correlate = net.correlation.correlate
        monkeypatch.setattr(net.correlation, "correlate", lambda *a, c=calls, f=correlate: (c.append(1), f(*a))[1])
        with torch.no_grad():
            list(net.cosegment_group([net.encode(torch.rand(1, 3, 16, 16)) for _ in range(5)], [(16, 16)] * 5))
        assert len(calls) == wanted


@pytest.mark.parametrize("network_class", [CrossCorrelationNetwork, SiameseNetwork])
def test_finer_levels_reach_the_decoder_in_pairs_and_groups(network_class: type[CrossCorrelationNetwork]) -> None:
    """The logits change with a finer level alone; a group of two is the pair; sides of other sizes decode apart."""
    torch.manual_seed(0)
    net = network_class(VGG16Encoder(width=0.125, stride=16), skip_channels=4).eval()
    images, sizes = [torch.rand(1, 3, 33, 47), torch.rand(1, 3, 40, 40)], [(33, 47), (40, 40)]
    with torch.no_grad():
        features = [net.encode(image) for image in images]
        assert [tuple(level.shape[1:]) for level in features[0]] == [(4, 12, 12), (4, 6, 6), (64, 3, 3)]
        pair = net.cosegment(*features, *sizes)
        for logits, grouped in zip(pair, net.cosegment_group(features, sizes), strict=True):
            torch.testing.assert_close(logits, grouped, atol=1e-5, rtol=1e-5)
        fine, *rest = features[0]
        other, partner = net.cosegment((fine + 1, *rest), features[1], *sizes)
    assert not torch.allclose(other, pair[0]) and torch.equal(partner, pair[1])


def test_join_is_what_its_name_says() -> None:
    base, match = torch.randn(2, 64, 3, 4), torch.randn(2, 64, 3, 4)
    wanted = {
        "concatenate": torch.cat((base, match), 1),
        "add": base + match,
        "gate": base / (1 + torch.exp(-match)),
        "correlation": match,
    }
    assert set(wanted) == set(USES)
    for use, each in wanted.items():
        torch.testing.assert_close(network(use=use).join(base, match), each)


def test_rescaled_correlation_has_the_norm_of_its_base() -> None:
    base, match = torch.randn(2, 64, 3, 4), 1e-3 * torch.randn(2, 64, 3, 4)
    joined = network(use="correlation", rescale=True).join(base, match)
    torch.testing.assert_close(joined.flatten(1).norm(dim=1), base.flatten(1).norm(dim=1))
    torch.testing.assert_close(
        joined / joined.flatten(1).norm(dim=1)[:, None, None, None],
        match / match.flatten(1).norm(dim=1)[:, None, None, None],
    )
    one = network(use="correlation", correlation="ordinary", rescale=True).join(base, match[:, :1])
    torch.testing.assert_close(one.square().mean((1, 2, 3)), base.square().mean((1, 2, 3)))  # for each of its values
    nothing = torch.zeros(1, 64, 3, 4, requires_grad=True)
    network(use="add", rescale=True).join(base[:1], nothing).sum().backward()
    assert nothing.grad is not None and nothing.grad.isfinite().all()


def test_the_partner_matters_here_and_not_to_the_control() -> None:
    images = torch.rand(3, 1, 3, 32, 32)
    control = SiameseNetwork(VGG16Encoder(width=0.125)).eval()
    with torch.no_grad():
        assert not torch.allclose(network()(images[0], images[1])[0], network()(images[0], images[2])[0])
        torch.testing.assert_close(control(images[0], images[1])[0], control(images[0], images[2])[0])


def test_matching_learns_nothing_of_its_own() -> None:
    net, control = network(), SiameseNetwork(VGG16Encoder(width=0.125, stride=8))
    assert not list(net.correlation.parameters())
    ours, theirs = ({k: v.shape for k, v in n.state_dict().items()} for n in (net, control))
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if ours[key] != theirs[key]] == ["decoder.blocks.0.weight"]
    assert ours["decoder.blocks.0.weight"][1] == 2 * theirs["decoder.blocks.0.weight"][1]


def test_the_paper_s_network_has_vgg16_s_convolutions() -> None:
    with torch.device("meta"):
        encoder = VGG16Encoder()
        net = CrossCorrelationNetwork(encoder)
    assert sum(p.numel() for p in encoder.parameters()) == 14_714_688 + 2 * 4224  # VGG16's, and of 13 batch norms
    assert net.decoder.in_channels == 1024


def test_lists_of_a_configuration_are_accepted() -> None:
    from omegaconf import OmegaConf

    config = OmegaConf.create({"kernel_sizes": [1, 3], "decoder_channels": [24, 16, 8]})
    net = network(**config)
    assert net.correlation.kernel_sizes == (1, 3)
    assert type(net.correlation.kernel_sizes[0]) is int


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"use": "concat"}, r"model\.use.*'concat'.*'concatenate'"),
        ({"pooling": "avg"}, r"model\.pooling.*'avg'"),
        ({"normalization": "L2"}, r"model\.normalization.*'L2'"),
        ({"correlation": "depth-wise"}, r"model\.correlation.*'depth-wise'.*'depthwise'"),
        ({"fusion": "sum"}, r"model\.fusion.*'sum'"),
        ({"kernel_sizes": [3, 4]}, r"model\.kernel_sizes.*\[3, 4\].*odd"),
        ({"kernel_sizes": []}, r"model\.kernel_sizes.*\[\]"),
        ({"kernel_sizes": 3}, r"model\.kernel_sizes.*\b3\b.*list"),
        ({"decoder_channels": [64, 32]}, r"model\.decoder_channels.*\[64, 32\].*\b3\b"),
    ],
)
def test_bad_values_are_refused_with_a_sentence(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(CosegError, match=sentence):
        network(**settings)


@pytest.mark.parametrize("pooling", ["average", "max", "strided"])
def test_an_exemplar_that_is_all_object_is_a_partner(pooling: str) -> None:
    net = network(pooling=pooling, input_size=32, rescale=True)
    with torch.no_grad():
        image, partner = net.encode(torch.rand(1, 3, 33, 47)), net.encode(torch.rand(1, 3, 40, 50))
        expected, _ = net.cosegment(image, partner, (33, 47), (40, 50))
        shown = Exemplar(partner, (40, 50), torch.ones(80, 100, dtype=torch.uint8))
        (logits,) = net.cosegment_exemplars([shown, shown], [image], [(33, 47)])
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_an_exemplar_has_kernels_of_its_object_and_of_its_rest() -> None:
    net = network(kernel_sizes=[1, 3])
    region = torch.zeros(40, 48, dtype=torch.uint8)
    region[:, :24] = 1
    with torch.no_grad():
        image, partner = net.encode(torch.rand(1, 3, 33, 47)), net.encode(torch.rand(1, 3, 40, 48))
        parts = [net.join(image, net.correlation(image, side)) for side in partner.chunk(2, -1)]
        (logits,) = net.cosegment_exemplars([Exemplar(partner, (40, 48), region)], [image], [(33, 47)])
        expected = contrasted(*(net.decode([part], [(33, 47)])[0] for part in parts))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_kernels_and_the_share_of_the_base_are_made_once_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    matching = network(kernel_sizes=[3, 5])
    calls: Counter[str] = Counter()
    pooled = DepthwiseCorrelation.kernels
    monkeypatch.setattr(DepthwiseCorrelation, "kernels", lambda *inputs: calls.update(["pool"]) or pooled(*inputs))
    seen: list[int] = []
    matching.decoder.blocks[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1]))
    with torch.no_grad():
        a, b, c = (matching.encode_for_pairs(torch.rand(1, 3, 32, 32)) for _ in range(3))
        for first, second in ((a, b), (a, c), (b, c)):
            matching.cosegment(first, second, (32, 32), (32, 32))
    assert calls["pool"] == 3 and not seen  # the first convolution never sees base and correlation together


class Cosegments(CrossCorrelationNetwork):
    """A subclass of a user's, with a `cosegment` of its own."""

    def cosegment(self, features_a: Any, features_b: Any, size_a: Any, size_b: Any) -> tuple[Tensor, Tensor]:
        joined = self.join(features_a, features_b.mean((2, 3), keepdim=True).expand_as(features_a))
        turned = self.join(features_b, features_a.mean((2, 3), keepdim=True).expand_as(features_b))
        logits_a, logits_b = self.decode((joined, turned), (size_a, size_b))
        return logits_a, logits_b


class Joins(CrossCorrelationNetwork):
    """Likewise, with a `join` of its own."""

    def join(self, base: Tensor, correlation: Tensor) -> Tensor:
        return torch.cat((base.relu(), 2 * correlation), 1)


@pytest.mark.parametrize("subclass", [Cosegments, Joins])
def test_a_test_of_pairs_gives_subclasses_what_they_expect(subclass: type[CrossCorrelationNetwork]) -> None:
    torch.manual_seed(0)
    net = subclass(VGG16Encoder(width=0.125, stride=8), [3]).eval()
    a, b = torch.rand(2, 1, 3, 33, 47)
    with torch.no_grad():
        pair = net.cosegment(net.encode_for_pairs(a), net.encode_for_pairs(b), (33, 47), (33, 47))
        for found, wanted in zip(pair, net(a, b), strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
