"""How often a calibration was right, as ``config.json`` holds it: for each size of group, and for each class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SURE = 0.75
"""From this probability on an answer is given; below 1 - `SURE` its opposite; between them the answer is "can't tell".
A calibrated answer beyond it is right nine times of ten, on average."""


LOWEST = 0.2
"""The co-occurrence probability is never below, so "nothing in common" is never surer than 80 %. Objects of a kind that
was not calibrated on can look like none: of VOC's classes, held out in turn, a few groups came near to 0."""


def level(probability: float) -> bool | None:
    """The answer that a probability stands for: yes, no, or None for "can't tell" (also where it is nan)."""
    if probability >= SURE:
        return True
    return False if probability <= 1 - SURE else None


@dataclass(frozen=True)
class Count:
    """Right answers of all answers of one kind.

    Attributes:
        right: of them.
        total: the answers.
    """

    right: int = 0
    total: int = 0

    @property
    def share(self) -> float:
        """Right answers of all; nan without an answer."""
        return self.right / self.total if self.total else math.nan

    @classmethod
    def from_json(cls, values: Any) -> Count:
        """From two whole numbers; null is none.

        Raises:
            TypeError, ValueError: `values` are not that.
        """
        right, total = (0, 0) if values is None else values
        if not 0 <= int(right) <= int(total):
            raise ValueError("more answers are right than there are")
        return cls(int(right), int(total))


@dataclass(frozen=True)
class SizeMeasures:
    """The measures on groups of one size.

    Attributes:
        size: images of each group.
        groups: their number.
        accuracy: share of them that are classified correctly at a probability of 0.5.
        interval: the 95 % interval of the accuracy (`coseg.inference.cooccurrence.calibrate.groups_interval`).
        auc: area under the curve of hits against false alarms.
        yes: the answers that there is a common object, see `level`.
        no: the answers that there is none.
        intruder: groups with one intruder, and how often it was the image that was least likely to belong.
        outside: images that were answered not to belong, in groups with intruders and without.
    """

    size: int
    groups: int
    accuracy: float
    interval: tuple[float, float] = (math.nan, math.nan)
    auc: float = math.nan
    yes: Count = Count()
    no: Count = Count()
    intruder: Count = Count()
    outside: Count = Count()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SizeMeasures:
        """From the values of JSON, where null is nan.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: `values` are not of this form.
        """
        return cls(
            int(values["size"]),
            int(values["groups"]),
            number_or_nan(values["accuracy"]),
            ends(values.get("interval")),
            number_or_nan(values.get("auc")),
            *(Count.from_json(values.get(name)) for name in ("yes", "no", "intruder", "outside")),
        )


@dataclass(frozen=True)
class ClassMeasures:
    """The measures on one class that was held out: no image of it took part in the calibration.

    Attributes:
        name: of the class.
        images: of it.
        brier: the mean squared error of the probability on its pairs, half of them without a common object: 0 best,
            0.25 where every answer is 50 %.
        accuracy: share of them that are classified correctly at a probability of 0.5.
        groups: of five of its images; 0: it has too few.
        group_brier: the mean squared error on them, and on as many groups without a common object.
        group_lowest: the lowest probability of a common object among its groups.
    """

    name: str
    images: int
    brier: float
    accuracy: float
    groups: int = 0
    group_brier: float = math.nan
    group_lowest: float = math.nan

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClassMeasures:
        """From the values of JSON, where null is nan.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: `values` are not of this form.
        """
        return cls(
            str(values["name"]),
            int(values["images"]),
            number_or_nan(values["brier"]),
            number_or_nan(values["accuracy"]),
            int(values.get("groups", 0)),
            number_or_nan(values.get("group_brier")),
            number_or_nan(values.get("group_lowest")),
        )


def ends(values: Any) -> tuple[float, float]:
    """The two ends of an interval; null is one of nan.

    Raises:
        TypeError, ValueError: `values` are not two numbers.
    """
    low, high = (None, None) if values is None else values
    return number_or_nan(low), number_or_nan(high)


def number_or_nan(value: Any) -> float:
    """A number; null is nan.

    Raises:
        TypeError, ValueError: `value` is not a number.
    """
    return math.nan if value is None else float(value)
