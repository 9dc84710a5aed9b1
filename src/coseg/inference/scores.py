"""What is told of a co-segmentation: numbers for programs, sentences for people."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import coseg
from coseg.inference.commonness import Calibration
from coseg.inference.segment import Cosegmentation, Segment
from coseg.inference.segmenter import CoSegmenter


def model_scores(segmenter: CoSegmenter, source: str, count: int = 2) -> dict[str, Any]:
    """Which model it was, how it was used, and how often what it says of `common` is right for `count` images."""
    measured = None if segmenter.calibration is None else segmenter.calibration.measured(count)
    told: dict[str, Any] | None = None
    if measured is not None:
        of = {"pairs": measured[0].groups} if count == 2 else {"groups": measured[0].groups, "size": measured[0].size}
        low, high = (None if math.isnan(end) else end for end in measured[0].interval)
        told = {"accuracy": measured[0].accuracy, "interval": [low, high], **of, "data": measured[1]}
    return {
        "coseg": coseg.__version__,
        "model": source,
        "size": segmenter.size,
        "threshold": segmenter.threshold,
        "device": str(segmenter.device),
        "calibration": told,
    }


def for_json(value: Any) -> Any:
    """`value` with null in place of numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {key: for_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [for_json(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def image_scores(path: Path, segment: Segment) -> dict[str, Any]:
    """Of one image: its file, its size, the share that is marked, and how sure the network is of its pixels."""
    height, width = segment.size
    return {
        "file": str(path),
        "width": width,
        "height": height,
        "foreground": round(segment.foreground, 4),
        "confidence": round(segment.confidence, 4),
    }


def common_scores(found: Cosegmentation) -> dict[str, Any]:
    """Of all images together: how likely they have an object in common; null where the model can't tell."""
    return {"common": None if math.isnan(found.common) else round(found.common, 4), "shares": found.shares}


def common_sentence(found: Cosegmentation, calibration: Calibration | None) -> str:
    """Whether the images have an object in common, and how far to trust that."""
    if found.shares is None:
        return "This model was not calibrated to tell whether the images have an object in common at all."
    if found.shares:
        said = f"The images seem to have an object in common: {percent(found.common)} likely."
    else:
        said = (
            f"The images seem to share nothing: {percent(found.common)} likely to have an object in common, so what is "
            "marked may mean nothing."
        )
    return " ".join(filter(None, (said, trust_sentence(calibration, len(found)))))


def trust_sentence(calibration: Calibration | None, count: int = 2) -> str:
    """How often it is right whether `count` images have an object in common; empty for a model never measured."""
    if calibration is None:
        return ""
    found = calibration.measured(count)
    if found is None:
        unsure = "That is a mean over pairs of them, and how often it is right for groups was not measured."
        return "" if calibration.measured(2) is None else unsure
    measured, data = found
    what = f"{measured.groups:,} pairs" if count == 2 else f"{measured.groups:,} groups of {measured.size} images"
    low, high = measured.interval
    between = "" if math.isnan(low) or math.isnan(high) else f" (95 % interval: {percent(low)} to {percent(high)})"
    where = f" of {data}" if data else ""
    return f"Such a statement was right for {percent(measured.accuracy)} of {what}{where}{between}."


def percent(share: float) -> str:
    """A share as people write it; only what is exactly all or nothing is said to be."""
    if 0 < share < 0.01:
        return "under 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{share:.0%}".replace("%", " %")
