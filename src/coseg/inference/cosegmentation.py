"""The result of a co-segmentation: the segment of each image, numbers for programs, sentences for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coseg.errors import checked_threshold
from coseg.hub.measures import Count, level
from coseg.imaging.islands import without_islands

if TYPE_CHECKING:  # results are read and written without torch
    from coseg.hub.calibration import Calibration

_NAMED = 5
"""Images that a sentence names, at most."""

_LEAST_ANSWERS = 20
"""Answers of one sort that must have been measured before the share of right ones is quoted."""

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
        keep_islands: false: small islands and strips are no part of the mask, see `coseg.imaging.islands`.
        belongs: how likely the image shares the object of most of the others, 0..1; nan for two images, and for a model
            that is not calibrated for it.

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
    keep_islands: bool = True
    belongs: float = math.nan

    def mask(self, threshold: float | None = None) -> NDArray[np.bool_]:
        """The pixels above `threshold` at the original size, bool (H, W); computed at each call.

        Islands are removed at working size. The probability is enlarged (bilinear), then thresholded, in strips: the
        mask of a large photograph takes little more memory than itself.

        Raises:
            CosegError: `threshold` is not in 0..1.
        """
        limit = checked_threshold(self.threshold if threshold is None else threshold)
        height, width = self.size
        wide = _enlarged(self.tidied(limit).T, 0, width, width).T
        mask = np.empty((height, width), bool)
        for start in range(0, height, _STRIP):
            stop = min(start + _STRIP, height)
            mask[start:stop] = _enlarged(wide, start, stop, height) > limit
        return mask

    @property
    def foreground(self) -> float:
        """The share of the pixels of the mask, 0..1, measured at working size."""
        return float((self.tidied() > self.threshold).mean())

    def tidied(self, threshold: float | None = None) -> NDArray[np.float32]:
        """The probability as float32 (h, w), 0 in islands of the mask above `threshold` unless they are kept."""
        limit = self.threshold if threshold is None else threshold
        return self.probability.astype(np.float32) if self.keep_islands else without_islands(self.probability, limit)

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
        input_size: at which the network worked; None: at the size of the images.
        exemplars: how many photographs a person has shown the object in; 0: it is what the images have in common. With
            exemplars `common` is nan, and `Segment.belongs` is how likely the image shows the object.
    """

    segments: tuple[Segment, ...]
    common: float = math.nan
    repeated: tuple[tuple[int, int], ...] = ()
    input_size: int | None = None
    exemplars: int = 0

    @property
    def shares(self) -> bool | None:
        """Whether the images have an object in common: True from `SURE` on, False from 1 - `SURE` down.

        None: the model can't tell, because `common` lies between, or because it is not calibrated.
        """
        return level(self.common)

    @property
    def order(self) -> tuple[int, ...]:
        """Indices of the segments, the one most likely to belong first; empty where that is not calibrated."""
        if any(math.isnan(segment.belongs) for segment in self.segments):
            return ()
        return tuple(sorted(range(len(self)), key=lambda k: -self.segments[k].belongs))

    @property
    def outside(self) -> tuple[int, ...]:
        """Indices of the images that do not seem to belong, in their order.

        Empty where all images seem to share nothing, or fewer than two are left: then no image is the odd one. With
        exemplars these are the images with an empty mask.
        """
        if self.exemplars:
            return tuple(k for k, segment in enumerate(self.segments) if not segment.foreground)
        outside = tuple(k for k, segment in enumerate(self.segments) if level(segment.belongs) is False)
        return () if self.shares is False or len(self) - len(outside) < 2 else outside

    @property
    def unsure(self) -> tuple[int, ...]:
        """Indices of the images of which it can't tell whether they belong, in their order."""
        unsure = (k for k, segment in enumerate(self.segments) if level(segment.belongs) is None)
        return tuple(k for k in unsure if not math.isnan(self[k].belongs) and k not in self.outside)

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __getitem__(self, k: int) -> Segment:
        return self.segments[k]


def label_map(segments: Sequence[Segment]) -> NDArray[np.uint8]:
    """One map of the masks of an image, uint8 (H, W): n on the n-th mask, from 1 on, 0 elsewhere."""
    labels = np.zeros(segments[0].size, np.uint8)
    for n, segment in reversed(list(enumerate(segments, start=1))):
        labels[segment.mask()] = n
    return labels


def calibration_scores(
    calibration: Calibration | None, count: int = 2, input_size: int | None = None
) -> dict[str, Any] | None:
    """How often `common` is right for `count` images at `input_size`, as measured; None: it was not."""
    measured = None if calibration is None else calibration.measured(count, input_size)
    if measured is None:
        return None
    measures, data = measured
    tested = {"pairs": measures.groups} if count == 2 else {"groups": measures.groups, "size": measures.size}
    interval = [None if math.isnan(end) else end for end in measures.interval]
    answers = {
        name: {"right": answer.right, "answers": answer.total}
        for name, answer in {"shares": measures.yes, "shares_nothing": measures.no, "outside": measures.outside}.items()
        if answer.total
    }
    return {"accuracy": measures.accuracy, "interval": interval, **tested, **answers, "data": data}


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
    return {"file": str(path), "width": width, "height": height, **segment_scores(segment)}


def segment_scores(segment: Segment) -> dict[str, Any]:
    """Of one segment: the share of foreground, the confidence of its pixels, and how likely its image belongs."""
    return {
        "foreground": round(segment.foreground, 4),
        "confidence": round(segment.confidence, 4),
        **({} if math.isnan(segment.belongs) else {"belongs": round(segment.belongs, 4)}),
    }


def common_scores(result: Cosegmentation) -> dict[str, Any]:
    """Of all images together: the co-occurrence probability, null for a model without a calibration; the answer; and
    which images do not seem to belong, where that is calibrated, by their places from 1 on."""
    common = None if math.isnan(result.common) else round(result.common, 4)
    belonging: dict[str, Any] = {"outside": [k + 1 for k in result.outside]} if result.order or result.exemplars else {}
    if result.exemplars:
        belonging["exemplars"] = result.exemplars
    return {"common": common, "shares": result.shares, **belonging}


def common_sentence(result: Cosegmentation, calibration: Calibration | None) -> str:
    """Whether the images have an object in common, how often such an answer is right, and which do not belong."""
    if result.exemplars:
        return exemplar_sentence(result)
    if math.isnan(result.common):
        return "This model is not calibrated, so it can't tell whether the images have an object in common at all."
    if result.shares:
        answer = f"The images seem to have an object in common: {percent(result.common)} likely."
    elif result.shares is False:
        empty = not any(segment.foreground for segment in result)
        rest = "" if empty else ", so the predicted foreground may mean nothing"
        answer = f"The images seem to share nothing: {percent(1 - result.common)} likely{rest}."
    else:
        answer = f"It can't tell whether the images have an object in common: {percent(result.common)} likely."
    sentences = answer, trust_sentence(calibration, result), outside_sentence(result)
    return " ".join(filter(None, sentences))


def exemplar_sentence(result: Cosegmentation, what: str = "The exemplar's object") -> str:
    """In how many images the object of the exemplars is, in which perhaps and in which not; `what` is the object."""
    unsure, outside = result.unsure, result.outside
    sure = len(result) - len(unsure) - len(outside)
    sentences = [f"{what} seems to be in {sure} of {len(result)} {'image' if len(result) == 1 else 'images'}."]
    if unsure:
        sentences.append(f"It can't tell for {_listed(result, unsure)}.")
    if outside:
        sentences.append(f"No object in {_listed(result, outside)}: empty masks.")
    return " ".join(sentences)


def _listed(result: Cosegmentation, places: Sequence[int]) -> str:
    """The names of some images, each with how likely it belongs where that is calibrated."""
    likely = [result[k].belongs for k in places]
    names = [
        result[k].name + ("" if math.isnan(belongs) else f" ({percent(belongs)} likely)")
        for k, belongs in zip(places[:_NAMED], likely, strict=False)
    ]
    if len(places) > _NAMED:
        names.append(f"{len(places) - _NAMED} more")
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


def outside_sentence(result: Cosegmentation) -> str:
    """Which images do not seem to belong to the others, the least likely first; empty for none."""
    outside = [k for k in reversed(result.order) if k in result.outside]
    if not outside:
        return ""
    return f"{_listed(result, outside)} {'does' if len(outside) == 1 else 'do'} not seem to belong."


def trust_sentence(calibration: Calibration | None, result: Cosegmentation) -> str:
    """How often answers like that of `result` are right; empty where that was not measured, and for no answer."""
    measured = None if calibration is None else calibration.measured(len(result), result.input_size)
    if measured is None or result.shares is None:
        return ""
    answers = measured[0].yes if result.shares else measured[0].no
    if answers.total < _LEAST_ANSWERS:
        return ""
    what = "pairs" if len(result) == 2 else f"groups of {measured[0].size}"
    return f"Of such answers for {what} {percent(answers.share)} were right."


def reliability(calibration: Calibration | None, count: int, input_size: int | None = None) -> str:
    """How sure the answers for `count` images are: the measures and where they are from; empty: not measured."""
    measured = None if calibration is None else calibration.measured(count, input_size)
    if calibration is None or measured is None:
        return ""
    measures, data = measured
    what = f"{measures.groups:,} pairs" if count == 2 else f"{measures.groups:,} groups of {measures.size} images"
    low, high = measures.interval
    interval = "" if math.isnan(low) or math.isnan(high) else f" (95 % interval: {percent(low)} to {percent(high)})"
    sentences = [f"Measured on {what}{f' of {data}' if data else ''}."]
    sentences.append(f"Cut at 50 %, {percent(measures.accuracy)} are right{interval}.")
    for text, answers in (
        ("have an object in common", measures.yes),
        ("share nothing", measures.no),
        ("do not belong", measures.outside),
    ):
        if answers.total:
            sentences.append(f"Answers that images {text}: {_of(answers)}.")
    if calibration.held_out:
        sentences.append("For kinds of objects that were not calibrated on, it is less reliable: see the model card.")
    return " ".join(sentences)


def _of(answers: Count) -> str:
    return f"{answers.right} of {answers.total} right"


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
