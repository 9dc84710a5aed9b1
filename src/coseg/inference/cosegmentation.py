"""The result of a co-segmentation: the segment of each image, numbers for programs, sentences for people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coseg.errors import checked_threshold

if TYPE_CHECKING:  # results are read and written without torch
    from coseg.hub.calibration import Calibration

_STRIP = 16  # rows of a large mask that are made at once: few enough for the processor's cache


@dataclass(frozen=True)
class Segment:
    """The common object in one image.

    Attributes:
        name: of the image: its file name, or the name that it was given.
        size: (H, W) of the original, in pixels.
        probability: float16 (h, w), 0..1, at working size: of each pixel to be part of the common object.
        threshold: of `mask`, by default.
        note: a defect of the photograph, to follow "<name> is", such as "almost black"; None: no defect.

    >>> segment = Segment("a.jpg", (4, 4), np.array([[0.9, 0.1], [0.1, 0.1]], np.float16), 0.5)
    >>> segment.mask().astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 0, 0],
           [0, 0, 0, 0],
           [0, 0, 0, 0]])
    >>> segment.foreground, round(segment.confidence, 3)
    (0.25, 0.9)
    """

    name: str
    size: tuple[int, int]
    probability: NDArray[np.float16]
    threshold: float = 0.5
    note: str | None = None

    def mask(self, threshold: float | None = None) -> NDArray[np.bool_]:
        """The pixels above `threshold` at the original size, bool (H, W); computed at each call.

        The probability is enlarged (bilinear), then thresholded, in strips: the mask of a large photograph takes little
        more memory than itself.

        Raises:
            CosegError: `threshold` is not in 0..1.
        """
        limit = checked_threshold(self.threshold if threshold is None else threshold)
        height, width = self.size
        wide = _enlarged(self.probability.astype(np.float32).T, 0, width, width).T
        mask = np.empty((height, width), bool)
        for start in range(0, height, _STRIP):
            stop = min(start + _STRIP, height)
            mask[start:stop] = _enlarged(wide, start, stop, height) > limit
        return mask

    @property
    def foreground(self) -> float:
        """The share of the pixels above `threshold`, 0..1, measured at working size."""
        return float((self.probability.astype(np.float32) > self.threshold).mean())

    @property
    def confidence(self) -> float:
        """The mean of max(p, 1 - p) over the pixels of the image, 0.5..1.

        It does not measure whether the mask is right: a confident empty mask has 1.
        """
        values = self.probability.astype(np.float32)
        return float(np.maximum(values, 1 - values).mean())


@dataclass(frozen=True)
class Cosegmentation:
    """What two or more images have in common: a sequence of segments.

    Attributes:
        segments: of each image, in their order.
        common: the co-occurrence probability, 0..1: how likely the images have an object in common at all, by the
            model's calibration (see `coseg.inference.cooccurrence`), of pairs for two images, of groups for more. Nan
            for a model without a calibration. If only pairs were calibrated it is, for more than two images, the mean
            over pairs of them, which is not calibrated.
        repeated: indices (i, j), i < j, of images that show the same picture: all of it is common, so neither their
            masks nor `common` mean much.
    """

    segments: tuple[Segment, ...]
    common: float = math.nan
    repeated: tuple[tuple[int, int], ...] = ()

    @property
    def shares(self) -> bool | None:
        """Whether the images have an object in common: `common` >= 0.5; None where the model is not calibrated."""
        return None if math.isnan(self.common) else self.common >= 0.5

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __getitem__(self, k: int) -> Segment:
        return self.segments[k]


def calibration_scores(calibration: Calibration | None, count: int = 2) -> dict[str, Any] | None:
    """How often `common` is right for `count` images, as measured; None: it was not."""
    measured = None if calibration is None else calibration.measured(count)
    if measured is None:
        return None
    measures, data = measured
    tested = {"pairs": measures.groups} if count == 2 else {"groups": measures.groups, "size": measures.size}
    interval = [None if math.isnan(end) else end for end in measures.interval]
    return {"accuracy": measures.accuracy, "interval": interval, **tested, "data": data}


def for_json(value: Any) -> Any:
    """`value` with null in place of numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {key: for_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [for_json(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def image_scores(path: Path, segment: Segment) -> dict[str, Any]:
    """Of one image: its file, its size, the share of foreground, and the confidence of its pixels."""
    height, width = segment.size
    return {
        "file": str(path),
        "width": width,
        "height": height,
        "foreground": round(segment.foreground, 4),
        "confidence": round(segment.confidence, 4),
    }


def common_scores(result: Cosegmentation) -> dict[str, Any]:
    """Of all images together: the co-occurrence probability; null for a model without a calibration."""
    return {"common": None if math.isnan(result.common) else round(result.common, 4), "shares": result.shares}


def common_sentence(result: Cosegmentation, calibration: Calibration | None) -> str:
    """Whether the images have an object in common, and how reliable that is."""
    if result.shares is None:
        return "This model is not calibrated, so it can't tell whether the images have an object in common at all."
    if result.shares:
        verdict = f"The images seem to have an object in common: {percent(result.common)} likely."
    else:
        verdict = (
            f"The images seem to share nothing: {percent(result.common)} likely to have an object in common, so the "
            "predicted foreground may mean nothing."
        )
    return " ".join(filter(None, (verdict, trust_sentence(calibration, len(result)))))


def trust_sentence(calibration: Calibration | None, count: int = 2) -> str:
    """How often the verdict on `count` images is right; empty for a model that was never measured."""
    if calibration is None:
        return ""
    measured = calibration.measured(count)
    if measured is None:
        unmeasured = "That is a mean over pairs of them; how often it is right for groups was not measured."
        return "" if calibration.measured(2) is None else unmeasured
    measures, data = measured
    what = f"{measures.groups:,} pairs" if count == 2 else f"{measures.groups:,} groups of {measures.size} images"
    low, high = measures.interval
    interval = "" if math.isnan(low) or math.isnan(high) else f" (95 % interval: {percent(low)} to {percent(high)})"
    source = f" of {data}" if data else ""
    return f"Such a verdict was right for {percent(measures.accuracy)} of {what}{source}{interval}."


def percent(share: float) -> str:
    """A share in percent; only what is exactly nothing or all is given as 0 % or 100 %."""
    if 0 < share < 0.01:
        return "under 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{share:.0%}".replace("%", " %")


def _enlarged(values: NDArray[np.float32], start: int, stop: int, rows: int) -> NDArray[np.float32]:
    """The rows from `start` to `stop` of `values` (h, w) resized to (rows, w), linear; pixels are areas."""
    position = (np.arange(start, stop, dtype=np.float32) + 0.5) * (len(values) / rows) - 0.5
    position = position.clip(0, len(values) - 1)
    above = position.astype(np.intp)
    below = np.minimum(above + 1, len(values) - 1)
    weight = (position - above)[:, None]
    enlarged: NDArray[np.float32] = values[above] * (1 - weight) + values[below] * weight
    return enlarged
