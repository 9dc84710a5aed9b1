"""Metrics that a user adds: which are refused, and how the parts of a test are merged."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics import CatMetric, MaxMetric, MeanMetric, Metric

from coseg.errors import CosegError
from coseg.training.extra_metrics import finite_value_of, make_metrics, merged_values, states_of, value_of

MEAN = {"_target_": "torchmetrics.MeanMetric"}


class Median(CatMetric):
    """One number of all values, which no sum of the parts gives."""

    def compute(self) -> torch.Tensor:
        return torch.cat([torch.atleast_1d(value) for value in self.value]).median()


class Custom(Metric):
    """A state that no reduction of torchmetrics merges."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx=lambda values: values[0])

    def update(self, logits: torch.Tensor, target: torch.Tensor) -> None: ...

    def compute(self) -> torch.Tensor:
        return torch.zeros(())


def test_settings_and_metrics() -> None:
    metrics = make_metrics({"a": MEAN, "b": MaxMetric(), "c": None, "d": {"x": 1}}, trust=True)
    assert list(metrics) == ["a", "b"] and isinstance(metrics["a"], MeanMetric)
    assert make_metrics(None, trust=False) == {}


@pytest.mark.parametrize(
    ("settings", "trust", "word"),
    [
        ({"a": MEAN}, False, "trust"),
        ({"jaccard": MEAN}, True, "metrics.jaccard"),
        ({"loss": MEAN}, True, "metrics.loss"),
        ({"a b": MEAN}, True, "metrics.a b"),
        ({"a": 3}, True, "torchmetrics.Metric"),
        ({"a": Custom()}, True, "dist_reduce_fx"),
    ],
)
def test_what_is_refused(settings: Any, trust: bool, word: str) -> None:
    with pytest.raises(CosegError, match=word):
        make_metrics(settings, trust)


def test_a_value_is_one_finite_number() -> None:
    metric = MeanMetric()
    metric.update(torch.tensor([1.0, 2.0]))
    assert value_of("a", metric) == finite_value_of("a", metric) == 1.5
    assert value_of("a", metric).dtype == torch.float64
    values = CatMetric()
    values.update(torch.ones(2))
    with pytest.raises(CosegError, match="2 numbers"):
        value_of("a", values)
    metric.reset()
    metric.update(torch.tensor(math.inf))
    with pytest.raises(CosegError, match="finite"):
        finite_value_of("a", metric)


def test_parts_are_merged_as_if_there_was_one(caplog: pytest.LogCaptureFixture) -> None:
    def fresh() -> dict[str, Metric]:
        return {"mean": MeanMetric(), "max": MaxMetric(), "median": Median()}

    whole, parts = fresh(), []
    for values in ([1.0, 5.0, 2.0], [4.0], [3.0, 9.0, 7.0]):
        part = fresh()
        for metric in (*whole.values(), *part.values()):
            metric.update(torch.tensor(values))
        parts.append(states_of(part))
    merged = merged_values(fresh(), parts)
    assert merged == {name: float(metric.compute()) for name, metric in whole.items()}
    assert all(isinstance(state, np.ndarray) for states in parts[0].values() for state in states.values())
    with caplog.at_level(logging.WARNING):
        assert math.isnan(merged_values({"mean": MeanMetric()}, [])["mean"])
    assert "metrics.mean" in caplog.text
