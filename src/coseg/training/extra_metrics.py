"""Metrics that a user adds, the configuration group ``metrics``: computed beside the five scores.

A metric is a `torchmetrics.Metric` that is updated with the masks of B images, and computes one number:

>>> from torchmetrics import MeanMetric
>>> class ForegroundShare(MeanMetric):
...     def update(self, logits, target):
...         super().update((logits[:, 1] > logits[:, 0]).float().mean())

This module alone uses private attributes of `torchmetrics.Metric`: its states, to store and merge the parts of a test.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat, dim_zero_max, dim_zero_min, dim_zero_sum

from coseg.errors import CosegError
from coseg.instantiate import build
from coseg.metrics import DECISION_SCORES, SCORES
from coseg.reports.results import RESULT_KEYS

log = logging.getLogger(__name__)

_REDUCTIONS = (dim_zero_sum, dim_zero_max, dim_zero_min, dim_zero_cat)

States = Mapping[str, Mapping[str, NDArray[Any]]]
"""For each metric its states by name: sums, or all values one after the other."""


def make_metrics(settings: Mapping[str, Any] | None, trust: bool) -> dict[str, Metric]:
    """The metrics of a configuration, ``{name: {"_target_": class, …}}``; entries without a class are ignored.

    Args:
        settings: the value of a name may be a metric itself, or None.
        trust: classes may be imported.

    Raises:
        CosegError: a name is no identifier or already in use, a class can't be used, its states can't be gathered over
            the parts of a test, or `trust` is missing.
    """
    metrics = {}
    for name, value in (settings or {}).items():
        if value is None or (isinstance(value, Mapping) and "_target_" not in value):
            continue
        if not str(name).isidentifier() or name in (*SCORES, *DECISION_SCORES, *RESULT_KEYS, "loss"):
            raise CosegError(f"metrics.{name}: choose another name, a word of letters that coseg does not use.")
        if isinstance(value, Mapping):
            if not trust:
                raise CosegError(
                    f"metrics.{name} is of the class {str(value['_target_'])[:120]!r}, which is not coseg's: give "
                    "trust=True if it is your own, or you trust who made the file."
                )
            value = build(value, Metric, f"metrics.{name}")  # type: ignore[type-abstract]
        if not isinstance(value, Metric):
            raise CosegError(f"metrics.{name} is a {type(value).__name__}, but must be a torchmetrics.Metric.")
        for state, reduction in value._reductions.items():
            if reduction not in _REDUCTIONS:
                raise CosegError(
                    f"metrics.{name} has the state {state}, which can't be gathered over the parts of a test: give "
                    "add_state dist_reduce_fx=sum, max, min or cat."
                )
        metrics[name] = value
    return metrics


def value_of(name: str, metric: Metric) -> Tensor:
    """What a metric computes, over all processes, float64 and 0-dimensional.

    Raises:
        CosegError: it is not a single number.
    """
    computed = metric.compute()
    if not isinstance(computed, Tensor | np.ndarray | np.generic | int | float):
        raise CosegError(
            f"metrics.{name}: compute gives a {type(computed).__name__}, but must give one number: make a metric of "
            "each."
        )
    value = torch.as_tensor(computed)
    if value.numel() != 1:
        raise CosegError(f"metrics.{name}: compute gives {value.numel()} numbers, but must give one.")
    return value.detach().reshape(()).double()


def finite_value_of(name: str, metric: Metric) -> Tensor:
    """`value_of`, which must be finite.

    Raises:
        CosegError: it is not.
    """
    value = value_of(name, metric)
    if not value.isfinite():
        raise CosegError(f"metrics.{name} is {value.item()}, which is not a finite number: let compute give one.")
    return value


def states_of(metrics: Mapping[str, Metric]) -> dict[str, dict[str, NDArray[Any]]]:
    """The states of the metrics in this process, as arrays; a list of tensors is concatenated."""
    return {
        name: {state: _array(value) for state, value in metric.metric_state.items()} for name, metric in metrics.items()
    }


def _array(value: Tensor | list[Tensor]) -> NDArray[Any]:
    if isinstance(value, list):
        value = torch.cat([torch.atleast_1d(part) for part in value]) if value else torch.zeros(0)
    array: NDArray[Any] = value.detach().cpu().numpy().copy()
    return array


def merged_values(metrics: Mapping[str, Metric], parts: Sequence[States]) -> dict[str, float]:
    """The values of metrics after all parts of a test; nan, with a warning, where one is not finite.

    Args:
        metrics: those that gathered the parts, or equal ones; they are reset.
        parts: the results of `states_of`.

    Raises:
        CosegError: a metric does not compute a single number.
    """
    values = {}
    for name, metric in metrics.items():
        metric = metric.cpu()
        metric.reset()
        if parts:
            metric._update_count, metric._computed = len(parts), None
            for state, default in metric._defaults.items():
                arrays = [torch.from_numpy(np.asarray(part[name][state])) for part in parts]
                reduced = metric._reductions[state](torch.cat(arrays) if isinstance(default, list) else _stack(arrays))  # type: ignore[operator, misc]
                setattr(metric, state, [reduced] if isinstance(default, list) else reduced)
        values[name] = float(value_of(name, metric))
        if not np.isfinite(values[name]):
            log.warning(f"metrics.{name} is {values[name]}, which is not a finite number: the results have null")
    return values


def _stack(arrays: Sequence[Tensor]) -> Tensor:
    """Stack states as torchmetrics does with those of several processes before it reduces them."""
    return torch.stack(tuple(arrays))
