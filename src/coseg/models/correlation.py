"""Depth-wise cross-correlation of one image's features with kernels made from another's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.errors import CosegError, unknown_choice
from coseg.models.fast_correlation import slide

POOLINGS = ("average", "max", "strided")
NORMALIZATIONS = ("area", "l2", "none")
FUSIONS = ("mean", "max", "concatenate")
MODES = ("depthwise", "ordinary")


class DepthwiseCorrelation(nn.Module):
    r"""Slides the subsampled features of one image over the features of another, each channel by itself.

    With a base f (C, H, W) and a kernel k = pool(g) (C, s, s) of the other image's features g, r = (s - 1) / 2,

    .. math:: c(z, y, x) = \frac{1}{s^2} \sum_{v=-r}^{r} \sum_{u=-r}^{r} f(z, y + v, x + u) \, k(z, v + r, u + r),

    where f is zero outside the map, so that each of its positions is a centre once. It has no learned parameters
    (but see `fusion`), and base and other image may be of any two sizes.

    Args:
        kernel_sizes: the odd numbers s.
        pooling: how the other's features become s x s, see `pool`.
        normalization: ``area``: by s², as above; ``l2``: each channel of each kernel is scaled to unit Euclidean norm
            over its s x s positions instead; ``none``: neither.
        fusion: of the results of several s: ``mean``, ``max``, or ``concatenate`` followed by a learned 1 x 1
            convolution to C channels, which starts as the mean.
        channels: C; only ``concatenate`` needs it.
        mode: ``depthwise``: as above; ``ordinary``: the sum of c(z, y, x) over the channels z, one map, as in ordinary
            cross-correlation (Bertinetto et al. 2016, SiamFC). C below is then 1.

    Raises:
        CosegError: a value is not one of the choices above.
    """

    def __init__(
        self,
        kernel_sizes: Iterable[int] = (3, 5, 7),
        pooling: str = "average",
        normalization: str = "area",
        fusion: str = "mean",
        channels: int | None = None,
        mode: str = "depthwise",
    ) -> None:
        super().__init__()
        self.kernel_sizes = _odd(kernel_sizes)
        for what, value, choices in (
            ("model.pooling", pooling, POOLINGS),
            ("model.normalization", normalization, NORMALIZATIONS),
            ("model.fusion", fusion, FUSIONS),
            ("model.correlation", mode, MODES),
        ):
            if value not in choices:
                raise unknown_choice(what, value, choices)
        self.pooling = pooling
        self.normalization = normalization
        self.fusion = fusion
        self.mode = mode
        if fusion == "concatenate":
            if channels is None:
                raise CosegError("The fusion 'concatenate' needs the number of channels; give channels=...")
            scales = len(self.kernel_sizes)
            channels = channels if mode == "depthwise" else 1
            self.mix = nn.Conv2d(scales * channels, channels, 1)
            with torch.no_grad():
                self.mix.weight.copy_(torch.eye(channels).repeat(1, scales)[..., None, None] / scales)
                self.mix.bias.zero_()  # type: ignore[union-attr]

    @property
    def linear(self) -> bool:
        """Whether the mean of correlations with several kernels is the correlation with their mean."""
        return self.fusion != "max" or len(self.kernel_sizes) == 1

    def kernels(self, features: Tensor) -> list[Tensor]:
        """The kernels of each image of (B, C, H, W), pooled and normalised: (B, C, s, s) for each s."""
        with torch.autocast(features.device.type, enabled=False):
            pooled = [pool(features.float(), size, self.pooling) for size in self.kernel_sizes]
            pooled = [self.normalise(kernel) for kernel in pooled]
        return [kernel.to(features.dtype) for kernel in pooled]

    def kernels_of(self, features: Tensor, chosen: Tensor) -> list[Tensor]:
        """The kernels (B, C, s, s) of the chosen positions of features (B, C, H, W): bool (B, H, W), at least one each.

        They are pooled from the rectangle around the chosen positions. A bin of the kernel pools those in it, and is 0
        where it has none.
        """
        with torch.autocast(features.device.type, enabled=False):
            values = features.float()
            pooled = [self.normalise(pool_chosen(values, chosen, size, self.pooling)) for size in self.kernel_sizes]
        return [kernel.to(features.dtype) for kernel in pooled]

    def normalise(self, kernel: Tensor) -> Tensor:
        """A pooled kernel (B, C, s, s), normalised."""
        if self.normalization == "area":
            return kernel / kernel.shape[-1] ** 2
        if self.normalization == "l2":
            return F.normalize(kernel.flatten(2), dim=-1, eps=1e-6).view_as(kernel)
        return kernel

    def correlate(self, base: Tensor, kernels: Sequence[Tensor]) -> Tensor:
        """Correlate each image of `base` (B, C, H, W) with its own `kernels`, and fuse: (B, C, H, W)."""
        return self.fuse([slide(base, kernel) for kernel in self.fused(kernels)])

    def fused(self, kernels: Sequence[Tensor]) -> Sequence[Tensor]:
        """What `correlate` slides: with ``fusion=mean`` one kernel, `mean_kernel`, as correlation is linear in it."""
        return [mean_kernel(kernels)] if self.fusion == "mean" and len(kernels) > 1 else kernels

    def fuse(self, results: Sequence[Tensor]) -> Tensor:
        """One map of the results (B, C, H, W) of the kernels; with ``mean``, of the one result of `mean_kernel`."""
        if self.mode == "ordinary":
            results = [result.sum(1, keepdim=True) for result in results]
        if self.fusion == "mean":
            (result,) = results
            return result
        if self.fusion == "max":
            return torch.stack(tuple(results)).amax(0)
        fused: Tensor = self.mix(torch.cat(tuple(results), 1))
        return fused

    def forward(self, base: Tensor, other: Tensor) -> Tensor:
        """Correlate `base` (B, C, H, W) with kernels made from `other` (B, C, H', W')."""
        return self.correlate(base, self.kernels(other))


def mean_kernel(kernels: Sequence[Tensor]) -> Tensor:
    """The mean of kernels (B, C, s, s) of several s, each padded with zeros to the largest."""
    largest = max(kernel.shape[-1] for kernel in kernels)
    padded = [F.pad(kernel, ((largest - kernel.shape[-1]) // 2,) * 4) for kernel in kernels]
    return torch.stack(padded).mean(0)


def _odd(kernel_sizes: Iterable[int]) -> tuple[int, ...]:
    sizes = () if isinstance(kernel_sizes, int | str) else tuple(kernel_sizes)
    if not sizes or not all(isinstance(size, int) and size > 0 and size % 2 for size in sizes):
        given = kernel_sizes if isinstance(kernel_sizes, int | str) else list(sizes)
        raise CosegError(
            f"model.kernel_sizes is {given}, but must be a list of odd numbers such as [3,5,7]; "
            "a kernel needs a middle."
        )
    return sizes


def pool(features: Tensor, size: int, pooling: str) -> Tensor:
    """Subsample (B, C, H, W) to (B, C, size, size).

    Bin i of an axis of n positions spans floor(i n / size) .. ceil((i + 1) n / size), torch's adaptive bins: where
    the map is smaller than the kernel, positions repeat.

    ``average`` and ``max`` are of each bin; ``strided`` takes the position nearest to its middle,
    floor((i + 1/2) n / size). The first and last are products with matrices: these have, unlike torch's adaptive
    pooling, a deterministic gradient on GPUs.

    Raises:
        CosegError: `pooling` is not in `POOLINGS`.
    """
    if pooling == "max":
        for axis in (-2, -1):
            bins = [(i * features.shape[axis] // size, -((i + 1) * -features.shape[axis] // size)) for i in range(size)]
            parts = [features.narrow(axis, start, stop - start).amax(axis) for start, stop in bins]
            features = torch.stack(parts, axis)
        return features
    rows, columns = (weights(n, size, pooling, features.device).to(features.dtype) for n in features.shape[-2:])
    return rows @ features @ columns.T


def pool_chosen(features: Tensor, chosen: Tensor, size: int, pooling: str) -> Tensor:
    """Subsample the chosen positions of (B, C, H, W) to (B, C, size, size), by the bins of the rectangle around them.

    Args:
        features: float32.
        chosen: bool (B, H, W), at least one position of each.
        size: bins of each axis; those that have no chosen position are 0.
        pooling: see `pool`.
    """
    rows, columns = (window_bins(chosen.any(axis), size, pooling).float() for axis in (2, 1))  # (B, size, H or W)
    rows, columns, inside = rows[:, None], columns[:, None], chosen[:, None].float()
    count = rows @ inside @ columns.mT
    if pooling != "max":
        return rows @ (features * inside) @ columns.mT / count.clamp_min(1)
    lowest = torch.finfo(features.dtype).min
    values = features.masked_fill(inside == 0, lowest)
    values = torch.stack([values.masked_fill(bin[..., None] == 0, lowest).amax(2) for bin in rows.unbind(2)], 2)
    values = torch.stack([values.masked_fill(bin[:, :, None] == 0, lowest).amax(3) for bin in columns.unbind(2)], 3)
    return torch.where(count > 0, values, 0)


def window_bins(present: Tensor, size: int, pooling: str) -> Tensor:
    """Which positions are in each bin of the stretch from the first to the last that is present.

    Args:
        present: bool (B, n), at least one of each.
        size: number of bins, which are those of `pool`.
        pooling: ``strided``: of each bin the position nearest to its middle alone.

    Returns:
        bool (B, size, n).
    """
    n = present.shape[1]
    first = present.int().argmax(1)
    length = (n - present.flip(1).int().argmax(1) - first)[:, None, None]
    i = torch.arange(size, device=present.device)[:, None]
    position = torch.arange(n, device=present.device) - first[:, None, None]
    if pooling == "strided":
        return position == (2 * i + 1) * length // (2 * size)
    return (position >= i * length // size) & (position * size < (i + 1) * length)


def weights(n: int, size: int, pooling: str, device: torch.device) -> Tensor:
    """The matrix (size, n) that makes a kernel's axis of a map's, for ``average`` and ``strided``.

    Raises:
        CosegError: `pooling` is not in `POOLINGS`.
    """
    if pooling not in POOLINGS:
        raise unknown_choice("model.pooling", pooling, POOLINGS)
    return _average(n, size, device) if pooling == "average" else _strided(n, size, device)


def bins(n: int, size: int, device: torch.device) -> Tensor:
    """Which of n positions are in each of the bins of `pool`, bool (size, n)."""
    i = torch.arange(size, device=device)[:, None]
    position = torch.arange(n, device=device)
    return (position >= i * n // size) & (position * size < (i + 1) * n)


def _average(n: int, size: int, device: torch.device) -> Tensor:
    inside = bins(n, size, device)
    return inside / inside.sum(1, keepdim=True)


def _strided(n: int, size: int, device: torch.device) -> Tensor:
    middle = (2 * torch.arange(size, device=device)[:, None] + 1) * n // (2 * size)
    return (torch.arange(n, device=device) == middle).float()
