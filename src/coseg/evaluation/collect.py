"""The tests that we ran, as found on disk: which there are, what to call them, and what keeps two of them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

from coseg.errors import CosegError
from coseg.evaluation.results import read_results

SCORES = ("jaccard", "jaccard_class_mean", "jaccard_global", "jaccard_distractor", "pixel_accuracy")
PROTOCOL = "paper"
"""The protocol that goes without saying in a title."""

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


class Result(NamedTuple):
    """A test that we ran: where its results lie, and what ``results.json`` holds."""

    folder: Path
    values: Mapping[str, Any]

    @property
    def run(self) -> Path:
        """The run that it tests: two folders up from ``<run>/test/<name>``."""
        return self.folder.parent.parent if self.folder.parent.name == "test" else self.folder

    @property
    def test(self) -> Tested:
        """What was tested, and how."""
        return Tested(**{key: self.values[key] for key in Tested._fields if key in self.values})

    @property
    def origin(self) -> str:
        """That we ran it, and with which weights: the end of the checkpoint's path."""
        checkpoint = self.values.get("checkpoint")
        return f"ran, {'/'.join(Path(checkpoint).parts[-2:])}" if checkpoint else "ran, untrained"


def find_results(places: Sequence[str | Path]) -> list[Result]:
    """The results in each place: a ``results.json``, its folder, or a run with its tests, in their order, each once.

    Keys that this version does not know are left alone.

    Raises:
        CosegError: a place has none, or a file is damaged.
    """
    found: dict[Path, Result] = {}
    for place in map(Path, places):
        paths = [place] if place.is_file() else [place / "results.json"]
        if not paths[0].is_file():
            paths = sorted(place.glob("test/*/results.json"))
        if not paths:
            inside = sorted(path.name for path in place.iterdir())[:5] if place.is_dir() else []
            holds = f"it holds {', '.join(inside)}" if inside else "it is empty or not there"
            raise CosegError(
                f"{place} has no results of a test ({holds}): give the folder that coseg-test names last, or a run."
            )
        for path in paths:
            values = read_results(path)
            _check(path, values)
            found.setdefault(path.resolve(), Result(path.parent, values))
    return list(found.values())


def _check(path: Path, values: Mapping[str, Any]) -> None:
    missing = [key for key in (*_KEYS, *SCORES, "intervals", "per_class", "model") if key not in values]
    if missing:
        raise CosegError(f"{path} lacks {', '.join(missing)}: it is not of this version. Run the test again.")
    ends, classes = values["intervals"], values["per_class"]
    right = {key: isinstance(values[key], kind) for key, kind in _KEYS.items()}
    right |= {key: _is_score(values[key]) for key in SCORES}
    right["intervals"] = isinstance(ends, dict) and all(
        isinstance(pair, list) and len(pair) == 2 and all(map(_is_score, pair)) for pair in ends.values()
    )
    right["per_class"] = isinstance(classes, dict) and all(map(_is_score, classes.values()))
    right["checkpoint"] = isinstance(values.get("checkpoint"), str | None)
    right["groups"] = isinstance(values.get("groups", 0), int)
    wrong = [key for key, fits in right.items() if not fits]
    if wrong:
        raise CosegError(f"{path} is damaged (the value of {', '.join(wrong)} is of another kind). Run the test again.")


def _is_score(value: object) -> bool:
    return value is None or (isinstance(value, Real) and not isinstance(value, bool))


def names(results: Sequence[Result]) -> list[str]:
    """The models' names with the end of the run's path, as much of it as tells the runs apart."""
    runs = [result.run.resolve() for result in results]
    length = 2
    while length < max((len(run.parts) for run in runs), default=0) and (
        len({run.parts[-length:] for run in runs}) < len(set(runs))
    ):
        length += 1
    found = []
    for result, run in zip(results, runs, strict=True):
        size = result.values.get("input_size")
        at = f" at {size} x {size}" if size else ""
        found.append(f"{result.values['model']}{at} ({'/'.join(run.parts[-length:])})")
    return found


def titles(results: Sequence[Result]) -> dict[Tested, str]:
    """Each test in a few words, told apart from the others; whatever keeps it apart from a full one is said."""
    found = {result.test: _title(result.test) for result in results}
    count = Counter(found.values())
    return {test: title if count[title] == 1 else f"{title}, {_size(test)}" for test, title in found.items()}


def _title(test: Tested) -> str:
    words = f"{test.dataset} {test.split}"
    if test.protocol != PROTOCOL or test.void != "background":
        words += f", {test.protocol}, void {test.void}"
    if not test.complete:
        words += f", a part: {_size(test)}"
    return words


def _size(test: Tested) -> str:
    return f"{test.images} images, {f'{test.groups} groups' if test.groups else f'{test.pairs} pairs'}"
