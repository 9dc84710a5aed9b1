"""How good a calibration was measured to be on groups, by their size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SizeMeasures:
    """The measures on groups of one size.

    Attributes:
        size: images of each group.
        groups: how many they were.
        accuracy: share of them that it tells rightly at a probability of 0.5.
        interval: the 95 % interval of the accuracy (`coseg.evaluation.bootstrap.group_interval`).
        auc: area under the curve of hits against false alarms.
    """

    size: int
    groups: int
    accuracy: float
    interval: tuple[float, float] = (math.nan, math.nan)
    auc: float = math.nan

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SizeMeasures:
        """From the values of JSON, where null is nan.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: `values` are none.
        """
        return cls(
            int(values["size"]),
            int(values["groups"]),
            number_or_nan(values["accuracy"]),
            ends(values.get("interval")),
            number_or_nan(values.get("auc")),
        )


def ends(values: Any) -> tuple[float, float]:
    """The two ends of an interval; null is one of nan.

    Raises:
        TypeError, ValueError: `values` are no two numbers.
    """
    low, high = (None, None) if values is None else values
    return number_or_nan(low), number_or_nan(high)


def number_or_nan(value: Any) -> float:
    """A number; null is nan.

    Raises:
        TypeError, ValueError: `value` is none.
    """
    return math.nan if value is None else float(value)
