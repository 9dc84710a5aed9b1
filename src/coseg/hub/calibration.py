"""The calibration of a model, as ``config.json`` holds it: from pair statistics to the probability of a common object.

`coseg.inference.cooccurrence` computes pair statistics from a network's features and masks; a `Calibration`, a logistic
regression on pairs whose answer is known, makes a probability of them. For a group of images a second regression takes
the logits of its pairs; see `group_statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coseg.errors import CosegError
from coseg.hub.class_directions import ClassDirections
from coseg.hub.measures import ClassMeasures, SizeMeasures, ends, number_or_nan

LARGEST = 20
"""Images; a group of more counts as one of so many, since larger ones were not measured."""

GROUP_STATISTICS = ("pair_logit", "pair_logit_by_size")
"""The `group_statistics`, in this order."""


@dataclass(frozen=True)
class Calibration:
    """A logistic regression from pair statistics to the probability of a common object, with its measured accuracy.

    Attributes:
        names: of the n statistics.
        mean: n numbers, subtracted from the statistics.
        scale: n numbers above 0, by which the differences are divided.
        weights: n numbers.
        bias: a number.
        auc: area under the curve of hits against false alarms, on pairs that took no part in the fit; nan: none.
        accuracy: share of those pairs that are classified correctly at a probability of 0.5; nan: not measured.
        interval: the 95 % interval of the accuracy, by bootstrap over images (`coseg.metrics.bootstrap`).
        pairs: their number.
        data: where they are from.
        group: the calibration of groups of three images or more, whose statistics are `GROUP_STATISTICS` and whose
            `pairs` are groups; or None.
        sizes: of such a calibration, the measures on groups of one size each, in ascending order. Of a calibration of
            pairs, those on pairs, of size 2, if they were counted by answer.
        belonging: the calibration of how likely an image of a group shares the object of the others, whose statistics
            are those of `coseg.inference.cooccurrence.belonging.belonging_values`; or None.
        classes: that the statistics need; or None.
        held_out: the measures on each class that was held out.
        input_size: of the network when it was measured; None: not recorded, or images of any size.

    >>> calibration = Calibration(("decision",), (1.0,), (2.0,), (4.0,), 0.0)
    >>> calibration.probability(torch.tensor([1.0])), round(calibration.probability(torch.tensor([2.0])), 4)
    (0.5, 0.8808)
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    auc: float = math.nan
    accuracy: float = math.nan
    interval: tuple[float, float] = (math.nan, math.nan)
    pairs: int = 0
    data: str = ""
    group: Calibration | None = None
    sizes: tuple[SizeMeasures, ...] = ()
    belonging: Calibration | None = None
    classes: ClassDirections | None = None
    held_out: tuple[ClassMeasures, ...] = ()
    input_size: int | None = None

    def logits(self, statistics: Tensor) -> Tensor:
        """For pair statistics (..., n) the logit of the probability, float64 (...).

        Raises:
            CosegError: there are not n numbers.
        """
        if statistics.shape[-1] != len(self.names):
            raise CosegError(
                f"The calibration in 'cooccurrence' is of {len(self.names)} statistics, but this network has "
                f"{statistics.shape[-1]}: fit it again, or set it to null."
            )
        mean, scale, weights = (
            torch.tensor(values, dtype=torch.float64) for values in (self.mean, self.scale, self.weights)
        )
        return ((statistics.detach().cpu().double() - mean) / scale) @ weights + self.bias

    def probability(self, statistics: Tensor) -> float:
        """For the statistics of one pair, (n,), the probability that it has a common object, 0..1."""
        return float(self.logits(statistics).sigmoid())

    def common(self, statistics: Tensor, n: int) -> float:
        """How likely n images have a common object, 0..1.

        Without a calibration of groups it is, for more than two images, the mean probability of their pairs. That is
        not calibrated: it is too low for images that share an object, and too high for images that do not.

        Args:
            statistics: see `coseg.inference.cooccurrence.statistics.neighbour_statistics`.
            n: two or more.
        """
        logits = self.logits(statistics)
        if n == 2 or self.group is None:
            return float(logits.sigmoid().mean())
        return self.group.probability(group_statistics(logits, n))

    def measured(self, n: int, input_size: int | None = None) -> tuple[SizeMeasures, str] | None:
        """The measures on n images, and the data of the measurement; None where that was not measured.

        Two images are a pair. A group has the measures of groups of its size; between two measured sizes, those of
        the smaller one.

        Args:
            n: images.
            input_size: at which the network is used. Where the calibration was measured at another, nothing is known.
        """
        if input_size is not None and self.input_size is not None and input_size != self.input_size:
            return None
        if n == 2:
            measures = (
                self.sizes[0] if self.sizes else SizeMeasures(2, self.pairs, self.accuracy, self.interval, self.auc)
            )
            return None if not self.pairs or math.isnan(self.accuracy) else (measures, self.data)
        sizes = () if self.group is None else self.group.sizes
        if self.group is None or not sizes or not sizes[0].size <= n <= sizes[-1].size:
            return None
        return next(measures for measures in reversed(sizes) if measures.size <= n), self.group.data

    def to_dict(self) -> dict[str, Any]:
        """As primitives, for JSON: nan is null, and an empty ``group`` or ``sizes`` is left out."""
        plain = {**asdict(replace(self, classes=None)), "classes": self.classes and self.classes.to_dict()}
        values: dict[str, Any] = _for_json(plain)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_dict`.

        Raises:
            CosegError: `values` are not a calibration.
        """
        try:
            made = cls(
                names=tuple(str(name) for name in values["names"]),
                mean=_numbers(values["mean"]),
                scale=_numbers(values["scale"]),
                weights=_numbers(values["weights"]),
                bias=float(values["bias"]),
                auc=number_or_nan(values.get("auc")),
                accuracy=number_or_nan(values.get("accuracy")),
                interval=ends(values.get("interval")),
                pairs=int(values.get("pairs", 0)),
                data=str(values.get("data", "")),
                group=None if values.get("group") is None else cls.from_dict(values["group"]),
                sizes=tuple(SizeMeasures.from_dict(size) for size in values.get("sizes", ())),
                belonging=None if values.get("belonging") is None else cls.from_dict(values["belonging"]),
                classes=None if values.get("classes") is None else ClassDirections.from_dict(values["classes"]),
                held_out=tuple(ClassMeasures.from_dict(entry) for entry in values.get("held_out", ())),
                input_size=None if values.get("input_size") is None else int(values["input_size"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CosegError(
                f"The calibration in 'cooccurrence' is damaged ({type(error).__name__}: {error}): fit it again, or set "
                "it to null."
            ) from None
        lengths = {len(numbers) for numbers in (made.names, made.mean, made.scale, made.weights)}
        if len(lengths) > 1 or not all(value > 0 for value in made.scale):
            raise CosegError(
                "The calibration in 'cooccurrence' is damaged: names, mean, scale and weights differ in length, or a "
                "scale is not above 0. Fit it again, or set it to null."
            )
        return made

    @classmethod
    def fit(cls, names: Sequence[str], statistics: Tensor, positive: Tensor, ridge: float = 1.0) -> Calibration:
        """The logistic regression of `positive` on pair statistics, by L-BFGS in float64; it has one optimum.

        Args:
            names: n.
            statistics: (N, n).
            positive: bool (N,), which pairs have a common object.
            ridge: half of it times the squared weights (of statistics scaled to unit variance) is added to the sum of
                the losses, so that there is an optimum even where the statistics separate the pairs without error.

        Raises:
            CosegError: all pairs have the same answer, or a statistic is not finite.
        """
        if not statistics.isfinite().all():
            raise CosegError("The statistics of some pairs are not finite, as are the network's outputs.")
        if positive.all() or not positive.any():
            raise CosegError("A calibration needs pairs with a common object and pairs without one.")
        values, truth = statistics.double(), positive.double()
        mean, scale = values.mean(0), values.std(0, correction=0)
        scale = torch.where(scale > 1e-9, scale, torch.ones_like(scale))  # statistics that are constant
        values = (values - mean) / scale
        parameters = torch.zeros(len(names) + 1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [parameters], max_iter=500, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            logits = values @ parameters[:-1] + parameters[-1]
            total = F.binary_cross_entropy_with_logits(logits, truth, reduction="sum")
            total = total + ridge / 2 * parameters[:-1].square().sum()
            total.backward()
            return total

        with torch.enable_grad():
            optimizer.step(loss)  # type: ignore[no-untyped-call]
        fitted = parameters.detach()
        return cls(
            tuple(names), tuple(mean.tolist()), tuple(scale.tolist()), tuple(fitted[:-1].tolist()), float(fitted[-1])
        )


def group_statistics(logits: Tensor, n: int) -> Tensor:
    """Statistics of n images, from the logits of pairs of them, float64 (2,): the input of a calibration of groups.

    - ``pair_logit``: their mean.
    - ``pair_logit_by_size``: it times the logarithm of n / 2, where n counts as `LARGEST` at most.
    """
    mean = logits.double().mean()
    return torch.stack((mean, mean * math.log(min(n, LARGEST) / 2)))


_OPTIONAL = (
    "group", "sizes", "belonging", "classes", "held_out", "input_size", "yes", "no", "intruder", "outside"
)  # fmt: skip


def _for_json(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"right", "total"}:
            return [value["right"], value["total"]]
        entries = {key: _for_json(entry) for key, entry in value.items()}
        return {key: entry for key, entry in entries.items() if key not in _OPTIONAL or entry not in (None, [], [0, 0])}
    if isinstance(value, tuple):
        return [_for_json(element) for element in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
