"""Soft edges: how much of each pixel belongs to the object (alpha), and the object's colour there.

Closed-form matting (Levin et al. 2008): in each small window alpha is a linear function of the colour, between what is
surely the object and what surely is not. The matrix of the problem is never built: its product with an alpha is a few
sums over windows (He et al. 2010), so that memory grows with the pixels alone and no further package is needed. It is
solved at a bounded size. For a larger photograph the linear functions, not alpha itself, are enlarged and applied to
its colours (the fast guided filter, He and Sun 2015), a few rows at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

LONGEST = 768
"""Longest side in pixels of the part around the object at which alpha is computed."""

BAND = 0.06
"""How far from the mask's edge alpha is computed, as a share of the square root of the object's area."""

UNCERTAIN = (0.1, 0.9)
"""Probabilities between these are uncertain, up to `REACH` bands from the edge."""

REACH = 1.7

_EPSILON = 1e-5  # the least variance of a window's colours (0..1) that counts as an edge
_PRIOR = (1e-4, 5e-3)  # how strongly the mask holds alpha at its edge, and a band away, against a pixel's windows
_STEPS = 40  # of the solver, at each size
_SMALLEST = 96  # pixels of the longest side at the coarsest size
_HAZE = 0.08  # alpha below is 0, above 1 - it is 1: remains of the solver
_ROWS = 128  # of the photograph that are processed at once

Plane = NDArray[np.float64]


class Region(NamedTuple):
    """The rows and columns of a photograph around the object: ``top:bottom, left:right``."""

    top: int
    bottom: int
    left: int
    right: int


def soften(
    image: NDArray[np.uint8], probability: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Alpha of the object, and its colours without those of the background that shine through.

    Args:
        image: uint8 (H, W, 3).
        probability: float32 (h, w), 0..1, of the object, at a size of the network; 0 where it is no part of the mask.
        threshold: of the mask.

    Returns:
        alpha, uint8 (H, W), and the colours, uint8 (H, W, 3), 0 where alpha is 0. Without an object both are 0.
    """
    alpha, colours = np.zeros(image.shape[:2], np.uint8), np.zeros_like(image)
    region = _region(probability, threshold, image.shape[:2])
    if region is None:
        return alpha, colours
    view = image[region.top : region.bottom, region.left : region.right]
    height, width = view.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA)).astype(np.float64) / 255
    likely = _part(probability, region, image.shape[:2], size)
    known = trimap(likely, threshold)
    solved = solve(small, known, likely, _hold(likely, threshold))
    slope, offset = _linear(small, solved, 2)
    fronts, backs = _both_colours(small, solved)
    enlarged = _Enlarged(size, (width, height))
    for start in range(0, height, _ROWS):
        stop = min(start + _ROWS, height)
        rows = view[start:stop].astype(np.float32) / 255
        if scale == 1:
            strip = solved[start:stop].astype(np.float32)
        else:
            certain = enlarged(known, start, stop, cv2.INTER_NEAREST)
            linear = (enlarged(slope, start, stop) * rows).sum(-1) + enlarged(offset, start, stop)
            strip = np.where(np.isnan(certain), linear, certain)
        strip = np.clip((strip - _HAZE) / (1 - 2 * _HAZE), 0, 1)
        front, back = enlarged(fronts, start, stop), enlarged(backs, start, stop)
        share = strip[..., None]
        front = front + share * (rows - share * front - (1 - share) * back)
        where = slice(region.top + start, region.top + stop), slice(region.left, region.right)
        alpha[where] = np.rint(strip * 255)
        colours[where] = np.rint(np.clip(front, 0, 1) * 255) * (alpha[where] > 0)[..., None]
    return alpha, colours


def trimap(likely: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """What is surely the object, 1, surely not, 0, and the band along the edge between them, nan: float32 (h, w).

    Thin parts keep the half of their thickness that is farthest from the edge.
    """
    mask = (likely > threshold).astype(np.uint8)
    inside, outside, band = _distances(mask)
    thickest = cv2.dilate(inside, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(band) + 1,) * 2))
    sure_object = inside > np.minimum(band, thickest / 2)
    known = np.full(mask.shape, np.nan, np.float32)
    uncertain = (likely > UNCERTAIN[0] * threshold * 2) & (likely < 1 - (1 - threshold) * 2 * (1 - UNCERTAIN[1]))
    known[sure_object & ~(uncertain & (inside < REACH * band))] = 1
    known[(outside > band) & ~(uncertain & (outside < REACH * band))] = 0
    return known


def _distances(mask: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """From each pixel of a mask to its edge, from each other pixel to the mask, and the width of the band."""
    inside = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 5), np.float32)
    outside = np.asarray(cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5), np.float32)
    return inside, outside, max(3.0, BAND * float(mask.sum()) ** 0.5)


def _hold(likely: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """How strongly each pixel is held at its probability: `_PRIOR`, by the distance from the edge, float32 (h, w)."""
    inside, outside, band = _distances((likely > threshold).astype(np.uint8))
    distance = ((inside + outside) / band).clip(0, REACH)  # without an edge it is the largest number
    return np.asarray(_PRIOR[0] + (_PRIOR[1] - _PRIOR[0]) * distance**2, np.float32)


def solve(image: Plane, known: NDArray[np.float32], likely: NDArray[np.float32], hold: NDArray[np.float32]) -> Plane:
    """Alpha, float64 (h, w), 0..1: `known` where that is a number, and between it what the colours say.

    Args:
        image: float64 (h, w, 3), 0..1.
        known: float32 (h, w): 0, 1, or nan for what is computed.
        likely: float32 (h, w), 0..1: to which alpha is held where colours do not tell the object from the rest.
        hold: float32 (h, w): how strongly, against the windows of the pixel.
    """
    height, width = known.shape
    start = likely.astype(np.float64)
    if max(height, width) > _SMALLEST:  # from coarse to fine: far pixels learn of each other in few steps
        half = (max(1, width // 2), max(1, height // 2))
        coarse_known = cv2.resize(known, half, interpolation=cv2.INTER_NEAREST)
        coarse = solve(
            np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA)),
            np.asarray(coarse_known),
            np.asarray(cv2.resize(likely, half, interpolation=cv2.INTER_AREA)),
            np.asarray(cv2.resize(hold, half, interpolation=cv2.INTER_AREA)),
        )
        start = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))
    free = np.isnan(known)
    alpha = np.where(free, start, known).astype(np.float64)
    if not free.any():
        return alpha
    windows = _Windows(image, 1)
    # Conjugate gradients over the free pixels, preconditioned by the diagonal.
    weight = hold * windows.count
    diagonal = windows.count + weight
    residual = np.where(free, weight * (likely - alpha) - windows.laplacian(alpha), 0)
    scaled = residual / diagonal
    direction, energy = scaled, float((residual * scaled).sum())
    first = energy
    for _ in range(_STEPS):
        if energy <= 1e-8 * first or energy == 0:
            break
        image_of = np.where(free, windows.laplacian(direction) + weight * direction, 0)
        step = energy / float((direction * image_of).sum())
        alpha += step * direction
        residual -= step * image_of
        scaled = residual / diagonal
        before, energy = energy, float((residual * scaled).sum())
        direction = scaled + energy / before * direction
    return alpha.clip(0, 1)


class _Windows:
    """The windows of a picture, of (2 r + 1)² pixels around each pixel and cut at its border.

    Attributes:
        count: pixels of each window (h, w).
    """

    def __init__(self, image: Plane, radius: int) -> None:
        self.image = image
        self.side = 2 * radius + 1
        self.count = self.sums(np.ones(image.shape[:2]))
        self.mean = self.sums(image) / self.count[..., None]
        i, j = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
        spread = self.sums(image[..., i] * image[..., j]) / self.count[..., None]
        spread -= self.mean[..., i] * self.mean[..., j]
        rr, rg, rb, gg, gb, bb = (spread[..., k] for k in range(6))
        rr, gg, bb = rr + _EPSILON, gg + _EPSILON, bb + _EPSILON
        # The inverse of the covariance, a symmetric matrix: its six different elements.
        cofactors = (
            (gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb),
            (rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg),
        )
        self.inverse = np.stack((*cofactors[0], *cofactors[1]), -1)
        self.inverse /= (self.inverse[..., 0] * rr + self.inverse[..., 1] * rg + self.inverse[..., 2] * rb)[..., None]

    def sums(self, values: Plane) -> Plane:
        """Of the values in the window around each pixel."""
        border = cv2.BORDER_CONSTANT
        return np.asarray(cv2.boxFilter(values, -1, (self.side, self.side), normalize=False, borderType=border))

    def linear(self, alpha: Plane) -> tuple[Plane, Plane]:
        """The linear function of the colour that is closest to alpha in each window: (h, w, 3) and (h, w)."""
        mean = self.sums(alpha) / self.count
        joint = self.sums(self.image * alpha[..., None]) / self.count[..., None] - self.mean * mean[..., None]
        x, y, z = joint[..., 0], joint[..., 1], joint[..., 2]
        xx, xy, xz, yy, yz, zz = (self.inverse[..., k] for k in range(6))
        slope = np.stack([xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z], -1)
        return slope, mean - np.einsum("hwc,hwc->hw", slope, self.mean)

    def laplacian(self, alpha: Plane) -> Plane:
        """The product of the matting Laplacian and alpha: how far alpha is from the linear functions around it."""
        slope, offset = self.linear(alpha)
        return self.count * alpha - np.einsum("hwc,hwc->hw", self.sums(slope), self.image) - self.sums(offset)


def _linear(image: Plane, alpha: Plane, radius: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each pixel the mean linear function of the windows around it: (h, w, 3) and (h, w)."""
    windows = _Windows(image, radius)
    slope, offset = windows.linear(alpha)
    mean_slope, mean_offset = windows.sums(slope) / windows.count[..., None], windows.sums(offset) / windows.count
    return mean_slope.astype(np.float32), mean_offset.astype(np.float32)


def _both_colours(image: Plane, alpha: Plane) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The object's colour and the background's near each pixel, (h, w, 3) each, after Forte (2021)."""
    front = back = image
    share = alpha[..., None]
    for side in (2 * (max(alpha.shape) // 12) + 1, 13):
        front, back = (
            cv2.blur(colour * part, (side, side)) / (cv2.blur(part, (side, side))[..., None] + 1e-5)
            for colour, part in ((front, share), (back, 1 - share))
        )
        front = np.clip(front + share * (image - share * front - (1 - share) * back), 0, 1)
    return front.astype(np.float32), back.astype(np.float32)


def _region(probability: NDArray[np.float32], threshold: float, size: tuple[int, int]) -> Region | None:
    """Where the object is in a photograph of `size` (H, W), with the reach of its band; None: nowhere."""
    rows, columns = np.nonzero(probability > threshold)
    if not len(rows):
        return None
    reach = 2 + REACH * max(3.0, BAND * len(rows) ** 0.5)
    bounds = []
    for places, few, many in zip((rows, columns), probability.shape, size, strict=True):
        low, high = (places.min() - reach) / few * many, (places.max() + 1 + reach) / few * many
        bounds += [max(0, int(low)), min(many, int(high) + 1)]
    return Region(*bounds)


def _part(
    probability: NDArray[np.float32], region: Region, whole: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.float32]:
    """The probability of a region of a photograph of `whole` (H, W) at `size` (width, height), bilinear."""
    positions = []
    for start, stop, pixels, many, few in (
        (region.left, region.right, size[0], whole[1], probability.shape[1]),
        (region.top, region.bottom, size[1], whole[0], probability.shape[0]),
    ):
        place = start + (np.arange(pixels, dtype=np.float32) + 0.5) * ((stop - start) / pixels)
        positions.append((place * (few / many) - 0.5).astype(np.float32))
    x, y = np.meshgrid(*positions)
    return np.asarray(cv2.remap(probability, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


class _Enlarged:
    """Rows of planes of `size` (width, height) enlarged to `whole` (width, height); pixels are areas."""

    def __init__(self, size: tuple[int, int], whole: tuple[int, int]) -> None:
        self.columns = (np.arange(whole[0], dtype=np.float32) + 0.5) * np.float32(size[0] / whole[0]) - 0.5
        self.rows = (np.arange(whole[1], dtype=np.float32) + 0.5) * np.float32(size[1] / whole[1]) - 0.5

    def __call__(
        self, plane: NDArray[np.float32], start: int, stop: int, interpolation: int = cv2.INTER_LINEAR
    ) -> NDArray[np.float32]:
        """The rows from `start` to `stop`."""
        x, y = np.meshgrid(self.columns.astype(np.float32), self.rows[start:stop].astype(np.float32))
        return np.asarray(cv2.remap(plane, x, y, interpolation, borderMode=cv2.BORDER_REPLICATE))
