"""Scores that papers print, from ``published.yaml`` beside this file: the one place that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from coseg.errors import CosegError
from coseg.plain_data import read_yaml

T = TypeVar("T")


@dataclass(frozen=True)
class PublishedTest:
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


@dataclass(frozen=True)
class PublishedProtocol:
    """How a score is computed.

    Attributes:
        title: in a few words.
        score: which of our scores is computed so.
    """

    title: str
    score: str


@dataclass(frozen=True)
class PublishedMethod:
    """A method and what its paper prints.

    Attributes:
        title: its name in a table.
        source: authors and year.
        protocol: key of `PublishedScores.protocols`.
        scores: Jaccard in per cent for each key of `PublishedScores.tests`; None where it prints none.
        icoseg: Jaccard in per cent for each group of iCoseg and their ``mean``; empty where it prints none.
    """

    title: str
    source: str
    protocol: str
    scores: dict[str, float | None]
    icoseg: dict[str, float]


@dataclass(frozen=True)
class PublishedScores:
    """Tests, protocols and methods, by their keys."""

    tests: dict[str, PublishedTest]
    protocols: dict[str, PublishedProtocol]
    methods: dict[str, PublishedMethod]

    def column(self, method: PublishedMethod) -> str:
        """The protocol in whose columns the scores of `method` stand: one that is not stated is not known to differ."""
        return "paper" if method.protocol == "unstated" else method.protocol

    def origin(self, method: PublishedMethod) -> str:
        """That it is published, where, and how it was computed."""
        return f"published, {method.source}; {self.protocols[method.protocol].title}"


@cache
def published_scores() -> PublishedScores:
    """All that papers print."""
    return read_published(Path(__file__).with_name("published.yaml"))


def read_published(path: Path) -> PublishedScores:
    """Read and check a file of published scores.

    Raises:
        CosegError: the file is not there, a key is unknown or missing, or a number is no per cent.
    """
    try:
        data = read_yaml(path, "install coseg again")
    except FileNotFoundError as error:
        raise CosegError(f"{path} can't be read ({error}): install coseg again.") from error
    if not isinstance(data, dict) or set(data) != {field.name for field in fields(PublishedScores)}:
        raise _wrong(path, "", "it needs tests, protocols and methods")
    found = PublishedScores(
        _entries(path, data, "tests", PublishedTest),
        _entries(path, data, "protocols", PublishedProtocol),
        _entries(path, data, "methods", PublishedMethod),
    )
    groups: set[str] = set()
    for key, method in found.methods.items():
        where = f"methods.{key}"
        if method.protocol not in found.protocols:
            raise _wrong(path, where, f"its protocol '{method.protocol}' is none of {', '.join(found.protocols)}")
        if not isinstance(method.scores, dict) or set(method.scores) != set(found.tests):
            raise _wrong(path, where, f"its scores must be of {', '.join(found.tests)}, null where none is printed")
        groups = groups or set(method.icoseg)
        if method.icoseg and (set(method.icoseg) != groups or "mean" not in groups):
            raise _wrong(path, where, "its iCoseg groups are not those of the others, with a mean")
        numbers = [value for value in method.scores.values() if value is not None] + list(method.icoseg.values())
        if not all(isinstance(n, int | float) and not isinstance(n, bool) and 1 < n <= 100 for n in numbers):
            raise _wrong(path, where, "a score is no per cent between 1 and 100")
    return found


def _entries(path: Path, data: Mapping[Any, Any], part: str, kind: type[T]) -> dict[str, T]:
    entries = data[part]
    if not isinstance(entries, dict):
        raise _wrong(path, part, "it must hold entries by name")
    wanted = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    for key, entry in entries.items():
        if not isinstance(entry, dict) or set(entry) != wanted:
            raise _wrong(path, f"{part}.{key}", f"it needs exactly {', '.join(sorted(wanted))}")
        if kind is PublishedMethod and not isinstance(entry["icoseg"], dict | None):
            raise _wrong(path, f"{part}.{key}", "its iCoseg scores must be by group, or null")
    return {
        str(key): kind(**({**entry, "icoseg": entry["icoseg"] or {}} if kind is PublishedMethod else entry))
        for key, entry in entries.items()
    }


def _wrong(path: Path, where: str, what: str) -> CosegError:
    return CosegError(f"{path}{f', {where}' if where else ''}: {what}. Correct the file, or install coseg again.")
