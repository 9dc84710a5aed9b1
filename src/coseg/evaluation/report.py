"""Tables of results beside published scores, never mixed: every row says whether we ran it or others print it.

A column is one test: the same images, pairs, protocol and treatment of void. So a score on a part of a data set, or by
another protocol, has a column of its own, and published scores stand in ours only where the images are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coseg.errors import CosegError, unknown_choice
from coseg.evaluation.published import PublishedTest, published_scores
from coseg.evaluation.results import read_results
from coseg.evaluation.table import NONE, Table

SCORES = ("jaccard", "jaccard_class_mean", "jaccard_global", "jaccard_distractor", "pixel_accuracy")
PROTOCOL = "paper"
"""The protocol whose full tests stand in a column with what papers print."""


class Result(NamedTuple):
    """A test that we ran: where its results lie, and what ``results.json`` holds."""

    folder: Path
    values: Mapping[str, Any]

    @property
    def run(self) -> Path:
        """The run that it tests: two folders up from ``<run>/test/<name>``."""
        return self.folder.parent.parent if self.folder.parent.name == "test" else self.folder


def find_results(places: Sequence[str | Path]) -> list[Result]:
    """The results in each place: a ``results.json``, its folder, or a run with its tests, in their order, each once.

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
            missing = [key for key in (*_KEYS, *SCORES, "intervals", "per_class", "model") if key not in values]
            if missing:
                raise CosegError(f"{path} lacks {', '.join(missing)}: it is not of this version. Run the test again.")
            found.setdefault(path.resolve(), Result(path.parent, values))
    return list(found.values())


def score_table(results: Sequence[Result], score: str = "jaccard") -> Table:
    """One score of each model on each test, with its interval where there is one, beside what papers print.

    Raises:
        CosegError: there is no such score.
    """
    if score not in SCORES:
        raise unknown_choice("--score", score, SCORES)
    tests: dict[tuple[Any, ...], str] = {}
    for result in results:
        tests.setdefault(_test(result.values), title(result.values))
    published = published_scores()
    # The column of a published test: ours, where the images are the same and all of them were tested by its protocol.
    columns: dict[str, tuple[Any, ...]] = {}
    measured = list(tests)
    if score == "jaccard":
        for key, test in published.tests.items():
            ours = (known for known in measured if _is_published(dict(zip(_KEYS, known, strict=True)), test))
            column = next(ours, (key,))
            tests.setdefault(column, f"{test.title}, as printed")
            columns[key] = column
    rows: dict[str, dict[tuple[Any, ...], str]] = {}
    for name, result in zip(names(results), results, strict=True):
        ends = result.values["intervals"].get(score)
        rows.setdefault(name, {})[_test(result.values)] = _percent(result.values[score], ends)
    blocks = [("Ran", [[name, *(cells.get(test, NONE) for test in tests)] for name, cells in rows.items()])]
    if columns:
        lines = []
        for method in published.methods.values():
            printed = {columns[key]: _printed(value) for key, value in method.scores.items()}
            lines.append([f"{method.title} ({method.source})", *(printed.get(test, NONE) for test in tests)])
        blocks.append(("Printed by others", lines))
    notes = [f"{score}, in per cent; in brackets 95 % intervals by bootstrap over images."]
    if columns:
        notes.append("Printed scores are as each paper computes them; protocols differ.")
    return Table(["", *tests.values()], blocks, notes)


def class_table(results: Sequence[Result]) -> Table:
    """The mean IoU of each class in each of the results."""
    classes = list(dict.fromkeys(name for result in results for name in result.values["per_class"]))
    heads = [f"{name}, {title(result.values)}" for name, result in zip(names(results), results, strict=True)]
    rows = [
        [each, *cells]
        for each in classes
        if set(cells := [_percent(result.values["per_class"].get(each)) for result in results]) != {NONE}
    ]
    means = ["mean", *(_percent(result.values["jaccard_class_mean"]) for result in results)]
    return Table(["class", *heads], [("Ran", [*rows, means])], ["Mean IoU over the masks of a class, in per cent."])


def icoseg_table(results: Sequence[Result]) -> Table:
    """The groups of iCoseg: what papers print, and our results on the 8 test groups.

    Raises:
        CosegError: none of the results is a test of these groups.
    """
    ours = [result for result in results if result.values["dataset"].startswith("icoseg")]
    if results and not ours:
        raise CosegError(
            "None of the results is of iCoseg: test with dataset=icoseg first, or give no results for the published "
            "scores alone."
        )
    methods = [method for method in published_scores().methods.values() if method.icoseg]
    groups = [group for group in methods[0].icoseg if group != "mean"]
    rows = []
    for name, result in zip(names(ours), ours, strict=True):
        values = result.values["per_class"]
        rows.append([f"{name}, {title(result.values)}", *(_percent(values.get(group)) for group in groups)])
        known = [values[group] for group in groups if values.get(group) is not None]
        rows[-1].append(_percent(sum(known) / len(groups)) if len(known) == len(groups) else NONE)
    printed = [
        [f"{method.title} ({method.source})", *(_printed(method.icoseg[group]) for group in [*groups, "mean"])]
        for method in methods
    ]
    blocks = [("Ran", rows)] if rows else []
    return Table(["", *groups, "mean"], [*blocks, ("Printed by others", printed)], ["Jaccard, in per cent."])


_KEYS = ("dataset", "split", "images", "pairs", "complete", "protocol", "void")


def _test(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two results must share to stand in one column."""
    return tuple(values[key] for key in _KEYS)


def title(values: Mapping[str, Any]) -> str:
    """A test in a few words, from its ``results.json``; whatever keeps it apart from a full one is said."""
    words = f"{values['dataset']} {values['split']}"
    if values["protocol"] != PROTOCOL or values["void"] != "background":
        words += f", {values['protocol']}, void {values['void']}"
    if not values["complete"]:
        words += f", a part: {values['images']} images, {values['pairs']} pairs"
    return words


def _is_published(values: Mapping[str, Any], test: PublishedTest) -> bool:
    return (
        (values["dataset"], values["split"]) == (test.dataset, test.split)
        and values["complete"]
        and values["images"] == (test.images or values["images"])
        and values["protocol"] == PROTOCOL
        and values["void"] == "background"
    )


def names(results: Sequence[Result]) -> list[str]:
    """The models' names; with the run's folder, so that two runs of a model are told apart."""
    found = []
    for result in results:
        size = result.values.get("input_size")
        at = f" at {size} x {size}" if size else ""
        found.append(f"{result.values['model']}{at} ({'/'.join(result.run.resolve().parts[-2:])})")
    return found


def _percent(value: float | None, ends: Sequence[float | None] | None = None) -> str:
    """A score of ours as per cent, with its interval."""
    if value is None:
        return NONE
    text = f"{100 * value:.1f}"
    if ends and None not in ends:
        low, high = (f"{100 * end:.1f}" for end in ends if end is not None)
        text += f" ({low} to {high})"
    return text


def _printed(value: float | None) -> str:
    """A published score, which is in per cent already."""
    return NONE if value is None else f"{value:.1f}"
