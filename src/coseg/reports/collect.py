"""The scores that tables show: of the tests found on disk, and those that papers print, from ``published.yaml``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from coseg.errors import CosegError
from coseg.files.plain_data import read_yaml
from coseg.metrics import COSOD_MEANS, COSOD_SCORES, SCORES
from coseg.reports.results import COSOD, read_results
from coseg.run_dir import RESULTS, TESTS, results_of_run

PROTOCOL = "paper"
"""The protocol that a title does not mention."""

_KEYS: dict[str, type] = {
    "dataset": str, "split": str, "images": int, "pairs": int, "complete": bool, "protocol": str, "void": str,
}  # fmt: skip


class Tested(NamedTuple):
    """What two results must share to stand in one column: the same images, pairs or groups, protocol and void."""

    dataset: str
    split: str
    images: int
    pairs: int
    complete: bool
    protocol: str
    void: str
    groups: int = 0
    benchmark: str = ""


class Result(NamedTuple):
    """A test that we ran: where its results lie, and what ``results.json`` holds."""

    folder: Path
    values: Mapping[str, Any]

    @property
    def run(self) -> Path:
        """The run that it tests: two folders up from ``<run>/test/<name>``."""
        return self.folder.parent.parent if self.folder.parent.name == TESTS else self.folder

    @property
    def test(self) -> Tested:
        """What was tested, and how."""
        return Tested(**{key: self.values[key] for key in Tested._fields if key in self.values})

    @property
    def origin(self) -> str:
        """That we ran it, and with which weights: the end of the checkpoint's path; or whose masks were scored."""
        predictions = self.values.get("predictions")
        if predictions:
            return f"scored, masks in {'/'.join(Path(predictions).parts[-2:])}"
        checkpoint = self.values.get("checkpoint")
        return f"ran, {'/'.join(Path(checkpoint).parts[-2:])}" if checkpoint else "ran, untrained"


def find_results(places: Sequence[str | Path]) -> list[Result]:
    """The results in each place: a ``results.json``, its folder, or a run with its tests, in their order, each once.

    Keys that this version does not know are ignored.

    Raises:
        CosegError: a place has none, or a file is damaged.
    """
    results: dict[Path, Result] = {}
    for place in map(Path, places):
        paths = [place] if place.is_file() else [place / RESULTS]
        if not paths[0].is_file():
            paths = sorted(place.glob(results_of_run()))
        if not paths:
            inside = sorted(path.name for path in place.iterdir())[:5] if place.is_dir() else []
            holds = f"it holds {', '.join(inside)}" if inside else "it is empty or does not exist"
            raise CosegError(
                f"{place} has no results of a test ({holds}): give the folder that coseg-test names last, or a run."
            )
        for path in paths:
            values = read_results(path)
            _check(path, values)
            results.setdefault(path.resolve(), Result(path.parent, values))
    return list(results.values())


def _check(path: Path, values: Mapping[str, Any]) -> None:
    missing = [key for key in (*_KEYS, *SCORES, "intervals", "per_class", "model") if key not in values]
    if missing:
        raise CosegError(f"{path} lacks {', '.join(missing)}: it is not of this version. Run the test again.")
    ends, classes = values["intervals"], values["per_class"]
    right = {key: isinstance(values[key], wanted) for key, wanted in _KEYS.items()}
    right |= {key: _is_score(values[key]) for key in SCORES}
    right["intervals"] = isinstance(ends, dict) and all(
        isinstance(pair, list) and len(pair) == 2 and all(map(_is_score, pair)) for pair in ends.values()
    )
    right["per_class"] = isinstance(classes, dict) and all(map(_is_score, classes.values()))
    right["checkpoint"] = isinstance(values.get("checkpoint"), str | None)
    right["predictions"] = isinstance(values.get("predictions"), str | None)
    right["benchmark"] = isinstance(values.get("benchmark", ""), str)
    right["groups"] = isinstance(values.get("groups", 0), int)
    right[COSOD] = COSOD not in values or _is_cosod(values[COSOD])
    wrong = [key for key, fits in right.items() if not fits]
    if wrong:
        raise CosegError(f"{path} is damaged (the value of {', '.join(wrong)} has the wrong type). Run the test again.")


def _is_score(value: object) -> bool:
    return value is None or (isinstance(value, Real) and not isinstance(value, bool))


def _is_cosod(block: object) -> bool:
    means = [block.get(mean) for mean in COSOD_MEANS] if isinstance(block, dict) else [None]
    return all(isinstance(mean, dict) and all(_is_score(mean.get(key, "")) for key in COSOD_SCORES) for mean in means)


def names(results: Sequence[Result]) -> list[str]:
    """The models' names with the end of the run's path, as much of it as distinguishes the runs."""
    runs = [result.run.resolve() for result in results]
    length = 2
    while length < max((len(run.parts) for run in runs), default=0) and (
        len({run.parts[-length:] for run in runs}) < len(set(runs))
    ):
        length += 1
    labels = []
    for result, run in zip(results, runs, strict=True):
        size = result.values.get("input_size")
        at = f" at {size} x {size}" if size else ""
        labels.append(f"{result.values['model']}{at} ({'/'.join(run.parts[-length:])})")
    return labels


def titles(results: Sequence[Result]) -> dict[Tested, str]:
    """A unique title of each test; it names whatever distinguishes the test from a complete one."""
    short = {result.test: _title(result.test) for result in results}
    count = Counter(short.values())
    return {test: title if count[title] == 1 else f"{title}, {_size(test)}" for test, title in short.items()}


def _title(test: Tested) -> str:
    words = f"{test.dataset} {test.split}"
    if test.protocol != PROTOCOL or test.void != "background":
        words += f", {test.protocol}, void {test.void}"
    if not test.complete:
        words += f", a part: {_size(test)}"
    return words


def _size(test: Tested) -> str:
    listed = f" of list {test.benchmark[:8]}" if test.benchmark else ""
    return f"{test.images} images, {f'{test.groups} groups' if test.groups else f'{test.pairs} pairs'}{listed}"


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
class PublishedMaps:
    """A method of co-salient object detection and what its paper prints.

    Attributes:
        title: its name in a table.
        source: authors or year.
        scores: max F-measure, S-measure and MAE, 0 to 1, for each key of `PublishedCosod.tests`.
    """

    title: str
    source: str
    scores: dict[str, list[float]]


@dataclass(frozen=True)
class PublishedCosod:
    """Tests and methods of co-salient object detection, by their keys."""

    tests: dict[str, PublishedTest]
    methods: dict[str, PublishedMaps]


@dataclass(frozen=True)
class PublishedScores:
    """Tests, protocols and methods, by their keys; and those of co-salient object detection."""

    tests: dict[str, PublishedTest]
    protocols: dict[str, PublishedProtocol]
    methods: dict[str, PublishedMethod]
    cosod: PublishedCosod

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
        CosegError: the file does not exist, a key is unknown or missing, or a number is not a percentage.
    """
    try:
        data = read_yaml(path, "install coseg again")
    except FileNotFoundError as error:
        raise CosegError(f"{path} can't be read ({error}): install coseg again.") from error
    if not isinstance(data, dict) or set(data) != {field.name for field in fields(PublishedScores)}:
        raise _wrong(path, "", "it needs tests, protocols and methods, and cosod")
    published = PublishedScores(
        _entries(path, data, "tests", PublishedTest),
        _entries(path, data, "protocols", PublishedProtocol),
        _entries(path, data, "methods", PublishedMethod),
        _published_cosod(path, data["cosod"]),
    )
    groups: set[str] = set()
    for key, method in published.methods.items():
        where = f"methods.{key}"
        if method.protocol not in published.protocols:
            raise _wrong(
                path, where, f"its protocol '{method.protocol}' is not one of {', '.join(published.protocols)}"
            )
        if not isinstance(method.scores, dict) or set(method.scores) != set(published.tests):
            raise _wrong(path, where, f"its scores must be of {', '.join(published.tests)}, null where none is printed")
        groups = groups or set(method.icoseg)
        if method.icoseg and (set(method.icoseg) != groups or "mean" not in groups):
            raise _wrong(path, where, "its iCoseg groups differ from those of the other methods, or lack the mean")
        numbers = [value for value in method.scores.values() if value is not None] + list(method.icoseg.values())
        if not all(isinstance(n, int | float) and not isinstance(n, bool) and 1 < n <= 100 for n in numbers):
            raise _wrong(path, where, "a score is not a percentage between 1 and 100")
    return published


def _published_cosod(path: Path, data: Any) -> PublishedCosod:
    if not isinstance(data, dict) or set(data) != {"tests", "methods"}:
        raise _wrong(path, "cosod", "it needs tests and methods")
    tests, methods = _entries(path, data, "tests", PublishedTest), _entries(path, data, "methods", PublishedMaps)
    for key, method in methods.items():
        scores = method.scores
        rows = list(scores.values()) if isinstance(scores, dict) and set(scores) == set(tests) else [None]
        if not all(isinstance(row, list) and len(row) == 3 and all(map(_is_share, row)) for row in rows):
            raise _wrong(path, f"cosod.methods.{key}", f"it needs three scores from 0 to 1 of {', '.join(tests)} each")
    return PublishedCosod(tests, methods)


def _is_share(value: object) -> bool:
    return isinstance(value, float) and 0 < value < 1


def _entries(path: Path, data: Mapping[Any, Any], part: str, entry_type: type[T]) -> dict[str, T]:
    entries = data[part]
    if not isinstance(entries, dict):
        raise _wrong(path, part, "it must hold entries by name")
    wanted = {field.name for field in fields(entry_type)}  # type: ignore[arg-type]
    for key, entry in entries.items():
        if not isinstance(entry, dict) or set(entry) != wanted:
            raise _wrong(path, f"{part}.{key}", f"it needs exactly {', '.join(sorted(wanted))}")
        if entry_type is PublishedMethod and not isinstance(entry["icoseg"], dict | None):
            raise _wrong(path, f"{part}.{key}", "its iCoseg scores must be by group, or null")
    return {
        str(key): entry_type(**({**entry, "icoseg": entry["icoseg"] or {}} if entry_type is PublishedMethod else entry))
        for key, entry in entries.items()
    }


def _wrong(path: Path, where: str, what: str) -> CosegError:
    return CosegError(f"{path}{f', {where}' if where else ''}: {what}. Correct the file, or install coseg again.")
