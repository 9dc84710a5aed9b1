"""The calibration of whether images have a common object at all: from evidence to a probability.

`coseg.inference.evidence` puts into numbers what a network's features and masks tell; a `Calibration`, a logistic
regression on pairs whose answer is known, makes a probability of them. The logits of the pairs of a group are the
evidence of a second one, for groups; see `coseg.inference.grouped`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coseg.errors import CosegError
from coseg.inference.evidence import DECISION, evidence_names
from coseg.inference.grouped import GROUP_EVIDENCE, group_evidence
from coseg.inference.sizes import SizeMeasures, ends, number_or_nan
from coseg.models.deciding import DecidingNetwork
from coseg.models.network import CosegNetwork


@dataclass(frozen=True)
class Calibration:
    """A logistic regression from evidence to the probability of a common object, and how good it was measured to be.

    Attributes:
        names: of the n numbers of evidence.
        mean: n numbers, subtracted from the evidence;
        scale: n numbers above 0, by which it is divided then.
        weights: n numbers.
        bias: a number.
        auc: area under the curve of hits against false alarms, on pairs that took no part in the fit; nan: unmeasured.
        accuracy: share of those pairs that it tells rightly at a probability of 0.5; nan: unmeasured.
        interval: the 95 % interval of the accuracy, by bootstrap over images (`coseg.evaluation.bootstrap`).
        pairs: how many they were.
        data: what they were of.
        group: the calibration of groups of three images or more, whose evidence is `GROUP_EVIDENCE` and whose `pairs`
            are groups; None: there is none.
        sizes: of such a calibration, the measures on groups of one size each, in ascending order.

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

    def logits(self, evidence: Tensor) -> Tensor:
        """For evidence (..., n) the logit of the probability, float64 (...).

        Raises:
            CosegError: there are not n numbers.
        """
        if evidence.shape[-1] != len(self.names):
            raise CosegError(
                f"The calibration in 'commonness' is of {len(self.names)} numbers of evidence, but this network gives "
                f"{evidence.shape[-1]}: fit it again, or set it to null."
            )
        mean, scale, weights = (
            torch.tensor(each, dtype=torch.float64) for each in (self.mean, self.scale, self.weights)
        )
        return ((evidence.detach().cpu().double() - mean) / scale) @ weights + self.bias

    def probability(self, evidence: Tensor) -> float:
        """For the evidence of one pair, (n,), how likely it has a common object, 0..1."""
        return float(self.logits(evidence).sigmoid())

    def common(self, evidence: Tensor, n: int) -> float:
        """How likely n images have a common object, 0..1.

        Without a calibration of groups it is, for more than two images, the mean probability of their pairs. That is
        not calibrated: it is too low for images that share something, and too high for images that do not.

        Args:
            evidence: see `coseg.inference.grouped.evidence_of_neighbours`.
            n: two or more.
        """
        logits = self.logits(evidence)
        if n == 2 or self.group is None:
            return float(logits.sigmoid().mean())
        return self.group.probability(group_evidence(logits, n))

    def measured(self, n: int) -> tuple[SizeMeasures, str] | None:
        """How good it is on n images, and the data that tell so; None where that was not measured.

        Two images are a pair; groups are told of by the largest measured size up to n.
        """
        if n == 2:
            found = SizeMeasures(2, self.pairs, self.accuracy, self.interval, self.auc)
            return None if not self.pairs or math.isnan(self.accuracy) else (found, self.data)
        if self.group is None or not self.group.sizes:
            return None
        sizes = self.group.sizes
        return next((each for each in reversed(sizes) if each.size <= n), sizes[0]), self.group.data

    def to_dict(self) -> dict[str, Any]:
        """It as primitives, for JSON, which knows no nan: null. What it has none of is left out."""
        values: dict[str, Any] = _for_json(asdict(self))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_dict`.

        Raises:
            CosegError: `values` are no calibration.
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
                sizes=tuple(SizeMeasures.from_dict(each) for each in values.get("sizes", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CosegError(
                f"The calibration in 'commonness' is damaged ({type(error).__name__}: {error}): fit it again, or set "
                "it to null."
            ) from None
        lengths = {len(each) for each in (made.names, made.mean, made.scale, made.weights)}
        if len(lengths) > 1 or not all(value > 0 for value in made.scale):
            raise CosegError(
                "The calibration in 'commonness' is damaged: names, mean, scale and weights differ in length, or a "
                "scale is not above 0. Fit it again, or set it to null."
            )
        return made

    @classmethod
    def fit(cls, names: Sequence[str], evidence: Tensor, positive: Tensor, ridge: float = 1.0) -> Calibration:
        """The logistic regression of `positive` on `evidence`, by L-BFGS in float64; it has one optimum.

        Args:
            names: n.
            evidence: (N, n).
            positive: bool (N,), which pairs have a common object.
            ridge: half of it times the squared weights (of evidence scaled to unit variance) is added to the sum of
                the losses, so that there is an optimum even where the evidence tells without error.

        Raises:
            CosegError: all pairs are of one kind, or a number of evidence is not finite.
        """
        if not evidence.isfinite().all():
            raise CosegError("The evidence of some pairs is not finite: the network's outputs are not either.")
        if positive.all() or not positive.any():
            raise CosegError("A calibration needs pairs with a common object and pairs without one.")
        values, truth = evidence.double(), positive.double()
        mean, scale = values.mean(0), values.std(0, correction=0)
        scale = torch.where(scale > 1e-9, scale, torch.ones_like(scale))  # evidence that is always the same
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
        found = parameters.detach()
        return cls(
            tuple(names), tuple(mean.tolist()), tuple(scale.tolist()), tuple(found[:-1].tolist()), float(found[-1])
        )


UNCALIBRATED_DECISION = Calibration(DECISION, (0.0,), (1.0,), (1.0,), 0.0)
"""For a network that decides by itself and was not calibrated: its logit as it is."""


def calibration_of(network: CosegNetwork, settings: Mapping[str, Any]) -> Calibration | None:
    """The calibration in `settings`; without one, None, or the network's own decision where it makes one.

    Raises:
        CosegError: it is damaged, or of other evidence than this version gives for `network`.
    """
    values = settings.get("commonness")
    if values is None:
        return UNCALIBRATED_DECISION if isinstance(network, DecidingNetwork) else None
    calibration = Calibration.from_dict(values)
    if calibration.names != evidence_names(network, len(calibration.names)):
        raise CosegError(
            f"The calibration in 'commonness' is of other evidence ({', '.join(calibration.names[:9])}, ...) than this "
            f"version of coseg has for {type(network).__name__}: fit it again, or set it to null."
        )
    if calibration.group is not None and calibration.group.names != GROUP_EVIDENCE:
        raise CosegError(
            "The calibration of groups in 'commonness' is of other evidence than this version of coseg has: fit it "
            "again, or set its 'group' to null."
        )
    return calibration


def _for_json(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _for_json(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if key not in ("group", "sizes") or each}
    if isinstance(value, tuple):
        return [_for_json(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
