"""Scores that papers print, from ``published.yaml`` beside this file: the one place that holds them."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import NamedTuple

from omegaconf import OmegaConf


class PublishedTest(NamedTuple):
    """What papers test on.

    Attributes:
        title: its name in a table.
        dataset: the image set's name in results, such as ``msrc_subset``.
        split: likewise.
        images: how many images it has; None where nothing is published.
    """

    title: str
    dataset: str
    split: str
    images: int | None


class PublishedMethod(NamedTuple):
    """A method and what its paper prints.

    Attributes:
        title: its name in a table.
        source: authors and year.
        protocol: how its scores are computed, as far as it is known.
        scores: Jaccard in per cent for each key of `PublishedScores.tests`; None where it prints none.
        icoseg: Jaccard in per cent for each group of iCoseg and their ``mean``; empty where it prints none.
    """

    title: str
    source: str
    protocol: str
    scores: dict[str, float | None]
    icoseg: dict[str, float]


class PublishedScores(NamedTuple):
    """Tests and methods, by their keys."""

    tests: dict[str, PublishedTest]
    methods: dict[str, PublishedMethod]


@cache
def published_scores() -> PublishedScores:
    """All that papers print."""
    text = resources.files("coseg.evaluation").joinpath("published.yaml").read_text(encoding="utf-8")
    data = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(data, dict)
    tests = {key: PublishedTest(**value) for key, value in data["tests"].items()}
    methods = {
        key: PublishedMethod(**{**value, "icoseg": value["icoseg"] or {}}) for key, value in data["methods"].items()
    }
    return PublishedScores(tests, methods)
