"""The correlation against a loop over its definition; pooling against torch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from coseg.errors import CosegError
from coseg.models.correlation import DepthwiseCorrelation, pool

SIZES = [(1, 1), (2, 3), (5, 7), (12, 12), (33, 17)]


def naive(base: Tensor, kernel: Tensor) -> Tensor:
    """The sum over the kernel at each position, term by term, in Python's numbers."""
    batch, channels, height, width = base.shape
    size = kernel.shape[-1]
    r = size // 2
    f, k = base.tolist(), kernel.tolist()
    result = torch.zeros(base.shape, dtype=torch.float64)
    for b in range(batch):
        for z in range(channels):
            for y in range(height):
                for x in range(width):
                    total = 0.0
                    for v in range(size):
                        for u in range(size):
                            if 0 <= y + v - r < height and 0 <= x + u - r < width:
                                total += f[b][z][y + v - r][x + u - r] * k[b][z][v][u]
                    result[b, z, y, x] = total
    return result.float()


def naive_scales(base: Tensor, other: Tensor, sizes: tuple[int, ...], normalization: str) -> list[Tensor]:
    results = []
    for size in sizes:
        kernel = pool(other, size, "average")
        if normalization == "l2":
            kernel = kernel / kernel.square().sum((2, 3), keepdim=True).sqrt()
        results.append(naive(base, kernel) / (size**2 if normalization == "area" else 1))
    return results


@pytest.fixture(params=[((5, 6), (9, 7)), ((2, 3), (1, 2)), ((7, 4), (7, 4))], ids=str)
def maps(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    (base, other) = request.param
    return torch.randn(2, 3, *base), torch.randn(2, 3, *other)


@pytest.mark.parametrize("normalization", ["area", "l2", "none"])
@pytest.mark.parametrize("sizes", [(1,), (3,), (3, 5, 7), (5, 1)])
def test_equals_the_definition(maps: tuple[Tensor, Tensor], sizes: tuple[int, ...], normalization: str) -> None:
    scales = torch.stack(naive_scales(*maps, sizes, normalization))
    for fusion, wanted in (("mean", scales.mean(0)), ("max", scales.amax(0)), ("concatenate", scales.mean(0))):
        layer = DepthwiseCorrelation(sizes, "average", normalization, fusion, channels=3)
        torch.testing.assert_close(layer(*maps), wanted, atol=1e-5, rtol=1e-5)


def test_concatenation_is_a_convolution_of_all_sizes(maps: tuple[Tensor, Tensor]) -> None:
    layer = DepthwiseCorrelation((1, 3), fusion="concatenate", channels=3)
    torch.nn.init.normal_(layer.mix.weight)
    scales = torch.cat(naive_scales(*maps, (1, 3), "area"), 1)
    wanted = torch.einsum("bchw,dc->bdhw", scales, layer.mix.weight[..., 0, 0])
    torch.testing.assert_close(layer(*maps), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fusion", ["mean", "max", "concatenate"])
def test_ordinary_correlation_is_the_sum_over_channels(maps: tuple[Tensor, Tensor], fusion: str) -> None:
    layer = DepthwiseCorrelation((1, 3), fusion=fusion, channels=3, mode="ordinary")
    summed = torch.stack(naive_scales(*maps, (1, 3), "area")).sum(2, keepdim=True)
    wanted = summed.amax(0) if fusion == "max" else summed.mean(0)
    torch.testing.assert_close(layer(*maps), wanted, atol=1e-5, rtol=1e-5)
    assert sum(parameter.numel() for parameter in layer.parameters()) == (3 if fusion == "concatenate" else 0)


def test_kernel_is_centred_and_not_flipped() -> None:
    base = torch.zeros(1, 1, 5, 5)
    base[0, 0, 2, 2] = 1
    kernel = torch.arange(9.0).view(1, 1, 3, 3)
    found = DepthwiseCorrelation([3]).correlate(base, [kernel])
    # The point meets the kernel's element (v, u) where the centre lies at (3 - v, 3 - u).
    assert torch.equal(found[0, 0, 1:4, 1:4], kernel[0, 0].flip(0, 1))
    assert found.sum() == kernel.sum()


def test_channels_and_images_do_not_mix() -> None:
    torch.manual_seed(0)
    base, other = torch.randn(2, 3, 6, 6), torch.randn(2, 3, 6, 6)
    layer = DepthwiseCorrelation()
    before = layer(base, other)
    other[1, 2] = 0
    changed = (layer(base, other) != before).flatten(2).any(-1)
    assert changed.tolist() == [[False] * 3, [False, False, True]]


def test_gradients_are_right() -> None:
    torch.manual_seed(0)
    base = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    kernels = [torch.randn(1, 2, s, s, dtype=torch.float64, requires_grad=True) for s in (3, 5)]
    for fusion in ("mean", "max"):
        layer = DepthwiseCorrelation((3, 5), fusion=fusion)
        assert torch.autograd.gradcheck(lambda f, *k, layer=layer: layer.correlate(f, k), (base, *kernels))


@pytest.mark.parametrize("fusion", ["mean", "max"])
def test_bfloat16_loses_no_more_than_its_rounding(fusion: str) -> None:
    torch.manual_seed(0)
    base, other = torch.rand(2, 3, 12, 12).bfloat16(), torch.rand(2, 3, 12, 12).bfloat16()
    layer = DepthwiseCorrelation(fusion=fusion)
    wanted = layer(base.float(), other.float())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(base, other).float(), wanted, atol=0, rtol=2e-2)


def test_unit_kernels() -> None:
    layer = DepthwiseCorrelation((3, 5), normalization="l2")
    features = torch.rand(2, 3, 8, 9)
    features[0, 0] = 0  # a channel that is silent has no direction: it stays silent
    for kernel in layer.kernels(features):
        norms = kernel.flatten(2).norm(dim=-1)
        assert norms[0, 0] == 0
        torch.testing.assert_close(norms.flatten()[1:], torch.ones(5))


def test_linear_in_the_kernels_where_it_says_so() -> None:
    torch.manual_seed(0)
    base, first, second = (torch.randn(1, 2, 5, 5) for _ in range(3))
    for fusion in ("mean", "max", "concatenate"):
        layer = DepthwiseCorrelation((1, 3), fusion=fusion, channels=2)
        k, m = layer.kernels(first), layer.kernels(second)
        mean = layer.correlate(base, [(x + y) / 2 for x, y in zip(k, m, strict=True)])
        equal = torch.allclose(mean, (layer.correlate(base, k) + layer.correlate(base, m)) / 2, atol=1e-6)
        assert equal == layer.linear == (fusion != "max")
    assert DepthwiseCorrelation([3], fusion="max").linear
    layer = DepthwiseCorrelation((1, 3), mode="ordinary")
    k, m = layer.kernels(first), layer.kernels(second)
    mean = layer.correlate(base, [(x + y) / 2 for x, y in zip(k, m, strict=True)])
    torch.testing.assert_close(mean, (layer.correlate(base, k) + layer.correlate(base, m)) / 2)
    assert layer.linear


def test_concatenation_needs_the_number_of_channels() -> None:
    with pytest.raises(CosegError, match="channels"):
        DepthwiseCorrelation(fusion="concatenate")


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_average_and_max_are_torch_s_adaptive_pooling(shape: tuple[int, int], size: int) -> None:
    features = torch.randn(2, 3, *shape)
    torch.testing.assert_close(pool(features, size, "average"), F.adaptive_avg_pool2d(features, size))
    assert torch.equal(pool(features, size, "max"), F.adaptive_max_pool2d(features, size))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("size", [1, 3, 7])
def test_strided_takes_the_position_nearest_to_the_middle_of_each_bin(shape: tuple[int, int], size: int) -> None:
    features = torch.randn(2, 3, *shape)
    rows, columns = ([int((i + 0.5) * n / size) for i in range(size)] for n in shape)
    assert torch.equal(pool(features, size, "strided"), features[:, :, rows][..., columns])


def test_pooling_by_hand() -> None:
    row = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 10.0, 12.0]).expand(1, 1, 7, 7)
    # Bins of 7 positions in 3: 0..2, 2..4, 4..6; their middles 1, 3, 5.
    assert pool(row, 3, "average")[0, 0, 1].tolist() == pytest.approx([1, 3, 26 / 3])
    assert pool(row, 3, "max")[0, 0, 1].tolist() == [2, 4, 12]
    assert pool(row, 3, "strided")[0, 0, 1].tolist() == [1, 3, 10]


@pytest.mark.parametrize("pooling", ["average", "max", "strided"])
def test_gradient_of_pooling(pooling: str) -> None:
    features = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: pool(f, 3, pooling), features)


def test_unknown_pooling() -> None:
    with pytest.raises(CosegError, match="Did you mean 'average'"):
        pool(torch.rand(1, 1, 3, 3), 3, "averag")


@pytest.mark.parametrize("pooling", ["average", "max", "strided"])
def test_kernels_of_chosen_positions_pool_these_alone(pooling: str) -> None:
    features = torch.randn(1, 4, 9, 8)
    chosen = torch.zeros(9, 8, dtype=torch.bool)
    chosen[1:7, 2:5] = True
    matching = DepthwiseCorrelation([1, 3], pooling=pooling, normalization="none")
    for kernel, expected in zip(
        matching.kernels_of(features, chosen[None]), matching.kernels(features[..., 1:7, 2:5]), strict=True
    ):
        torch.testing.assert_close(kernel, expected)
    changed = features.clone()
    chosen[1, 2] = chosen[5, 3] = False
    changed[..., ~chosen] = 1e6
    for kernel, expected in zip(
        matching.kernels_of(changed, chosen[None]), matching.kernels_of(features, chosen[None]), strict=True
    ):
        assert torch.equal(kernel, expected)


def test_a_bin_without_a_chosen_position_is_zero() -> None:
    chosen = torch.eye(6, dtype=torch.bool)
    for pooling in ("average", "max"):
        (kernel,) = DepthwiseCorrelation([3], pooling=pooling, normalization="none").kernels_of(
            torch.full((1, 1, 6, 6), -2.0), chosen[None]
        )
        assert torch.equal(kernel[0, 0], -2 * torch.eye(3))


@pytest.mark.parametrize("pooling", ["average", "max", "strided"])
def test_kernels_of_a_batch_are_those_of_loops_over_bins(pooling: str) -> None:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(5, 2, 9, 7, generator=generator)
    chosen = torch.rand(5, 9, 7, generator=generator) < torch.tensor([0.05, 0.2, 0.5, 0.9, 1.1])[:, None, None]
    chosen[0, 8, 0] = True
    (kernels,) = DepthwiseCorrelation([3], pooling=pooling, normalization="none").kernels_of(features, chosen)
    for image, places, kernel in zip(features, chosen, kernels, strict=True):
        (top, bottom), (left, right) = ((int(at.min()), int(at.max()) + 1) for at in places.nonzero().T)
        for i in range(3):
            for j in range(3):
                ranges = []
                for k, start, end in ((i, top, bottom), (j, left, right)):
                    n = end - start
                    middle = start + (2 * k + 1) * n // 6
                    bin_ = range(start + k * n // 3, start - (-(k + 1) * n // 3))
                    ranges.append(range(middle, middle + 1) if pooling == "strided" else bin_)
                values = [image[:, y, x] for y in ranges[0] for x in ranges[1] if places[y, x]] or [torch.zeros(2)]
                stacked = torch.stack(values)
                expected = stacked.amax(0) if pooling == "max" else stacked.mean(0)
                torch.testing.assert_close(kernel[:, i, j], expected)
