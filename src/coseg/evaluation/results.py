"""What a test leaves: each pair in ``pairs.csv``, the scores in ``results.json``, and a table for the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from coseg.data.catalog import Catalog
from coseg.errors import CosegError
from coseg.evaluation.bootstrap import interval
from coseg.files import write_text_atomically

DIGITS = 6
"""Decimals of all numbers in the files."""

REFERENCE_NAMES = {
    "all_foreground": "all foreground",
    "constant": "best constant mask",
    "all_objects": "all objects",
    "all_objects_distractor": "all objects (distractor)",
}


class PairRow(NamedTuple):
    """One tested pair.

    Attributes:
        i: index of the first image in the catalog.
        j: that of the second.
        id_a: id of the first image.
        id_b: that of the second.
        classes: the names of the common classes, joined by spaces in the file; empty for a negative pair.
        jaccard_a: IoU of the first image's mask, nan where its truth is empty.
        jaccard_b: that of the second.
        distractor_a: whether the first image also holds an object that is not common.
        distractor_b: likewise the second.
    """

    i: int
    j: int
    id_a: str
    id_b: str
    classes: tuple[str, ...]
    jaccard_a: float
    jaccard_b: float
    distractor_a: bool
    distractor_b: bool

    @property
    def mean(self) -> float:
        """The mean IoU of the masks that have one; nan where neither has."""
        scores = [score for score in (self.jaccard_a, self.jaccard_b) if not math.isnan(score)]
        return sum(scores) / len(scores) if scores else math.nan


def write_pairs(path: str | Path, rows: Iterable[PairRow]) -> None:
    """Write ``pairs.csv``: a head line, then a line for each row; nan is an empty cell, a distractor is 1 or 0."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PairRow._fields)
    for row in rows:
        scores = ("" if math.isnan(score) else f"{score:.{DIGITS}f}" for score in (row.jaccard_a, row.jaccard_b))
        writer.writerow((*row[:4], " ".join(row.classes), *scores, int(row.distractor_a), int(row.distractor_b)))
    write_text_atomically(path, text.getvalue())


def read_pairs(path: str | Path) -> list[PairRow]:
    """Read what `write_pairs` wrote.

    Raises:
        CosegError: there is no such file, or it is no ``pairs.csv``; the line is named.
    """
    path = Path(path)
    if not path.is_file():
        raise CosegError(f"There is no {path}. Give the directory that a test wrote its results to.")
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        try:
            if tuple(next(lines, ())) != PairRow._fields:
                raise CosegError(f"{path} is not a table of pairs: its first line must be {','.join(PairRow._fields)}.")
            return [_parse(cells) for cells in lines]
        except (ValueError, csv.Error) as error:
            raise CosegError(f"{path}, line {lines.line_num}, is damaged ({error}). Run the test again.") from error


def _parse(cells: Sequence[str]) -> PairRow:
    i, j, id_a, id_b, classes, jaccard_a, jaccard_b, distractor_a, distractor_b = cells
    score_a, score_b = (float(cell) if cell else math.nan for cell in (jaccard_a, jaccard_b))
    distractors = bool(int(distractor_a)), bool(int(distractor_b))
    return PairRow(int(i), int(j), id_a, id_b, tuple(classes.split()), score_a, score_b, *distractors)


def pair_indices(rows: Sequence[PairRow]) -> NDArray[np.int64]:
    """The images of each row, int64 (N, 2)."""
    return np.array([(row.i, row.j) for row in rows], np.int64).reshape(-1, 2)


def pair_values(rows: Sequence[PairRow], score: str) -> NDArray[np.float64]:
    """The values of the two masks of each row whose mean is `score`: float64 (N, 2), nan where a mask does not count.

    Args:
        rows: N rows.
        score: ``jaccard`` or ``jaccard_distractor``.
    """
    values = np.array([(row.jaccard_a, row.jaccard_b) for row in rows], np.float64).reshape(-1, 2)
    if score == "jaccard_distractor":
        counts = np.array([(row.distractor_a, row.distractor_b) for row in rows], bool).reshape(-1, 2)
        values[~counts] = np.nan
    elif score != "jaccard":
        raise ValueError(f"rows hold no {score}")
    return values


def build_results(
    catalog: Catalog,
    rows: Sequence[PairRow],
    *,
    scores: Mapping[str, SupportsFloat],
    per_class: Iterable[SupportsFloat],
    references: Mapping[str, SupportsFloat],
    protocol: str,
    void: str,
    complete: bool,
    model: str,
    checkpoint: str | None,
    input_size: int | None,
    seconds: float,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """What ``results.json`` holds, with the 95 % intervals that the rows give.

    Args:
        catalog: the tested images; gives the names of data set, split and classes.
        rows: a row for each tested pair.
        scores: the five of `coseg.evaluation.metrics.PairScores.compute`.
        per_class: K numbers, nan for a class without a mask, as `PairScores.per_class` gives.
        references: those of `coseg.evaluation.references.ReferenceScores.compute`.
        protocol: which pairs, in a word.
        void: ``background`` or ``ignored``.
        complete: whether all pairs of the published split were tested.
        model: name of the model.
        checkpoint: where its weights are from, None for untrained ones.
        input_size: side to which the model resizes images, None for their own size.
        seconds: how long the test took.
        draws: of the bootstrap.
        seed: of the bootstrap.
    """
    indices = pair_indices(rows)
    intervals = {
        score: interval(indices, pair_values(rows, score), draws, seed) for score in ("jaccard", "jaccard_distractor")
    }
    return {
        "dataset": catalog.name,
        "split": catalog.split,
        "protocol": protocol,
        "void": void,
        "images": len(catalog),
        "pairs": len(rows),
        "complete": complete,
        **{name: _number(value) for name, value in scores.items()},
        "intervals": {name: [_number(end) for end in ends] for name, ends in intervals.items()},
        "per_class": {name: _number(value) for name, value in zip(catalog.class_names, per_class, strict=True)},
        "references": {name: _number(value) for name, value in references.items()},
        "model": model,
        "checkpoint": checkpoint,
        "input_size": input_size,
        "seconds": _number(seconds),
    }


def _number(value: SupportsFloat) -> float | None:
    number = float(value)
    return round(number, DIGITS) if math.isfinite(number) else None


def write_results(path: str | Path, results: Mapping[str, Any]) -> None:
    """Write ``results.json``."""
    write_text_atomically(path, json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_results(path: str | Path) -> dict[str, Any]:
    """Read what `write_results` wrote.

    Raises:
        CosegError: there is no such file, or it is not JSON.
    """
    path = Path(path)
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CosegError(f"There is no {path}. Give the directory that a test wrote its results to.") from error
    except ValueError as error:
        raise CosegError(f"{path} is damaged ({error}). Run the test again.") from error
    return results


def format_table(results: Mapping[str, Any]) -> str:
    """The results as aligned plain text: scores from 0 to 1 with three decimals, a dash where nothing counts."""
    scores = ("jaccard", "jaccard_class_mean", "jaccard_global", "jaccard_distractor", "pixel_accuracy")
    blocks = [
        ("score", "95 % interval", [(name, results[name], results["intervals"].get(name)) for name in scores]),
        ("reference", "", [(REFERENCE_NAMES.get(k, k), value, None) for k, value in results["references"].items()]),
        ("class", "", [(name, value, None) for name, value in results["per_class"].items() if value is not None]),
    ]
    width = max(len(label) for _, _, lines in blocks for label, _, _ in lines)
    size = results.get("input_size")
    model = f"{results['model']} at {size} x {size}" if size else results["model"]
    text = [
        f"{results['dataset']} {results['split']}: {results['pairs']} pairs of {results['images']} images"
        + ("" if results["complete"] else " (incomplete: not all pairs of the published split)"),
        f"protocol {results['protocol']}, void {results['void']}",
        f"model {model}, weights {results['checkpoint'] or 'untrained'}, {results['seconds']:.1f} s",
    ]
    for head, note, lines in blocks:
        if not lines:
            continue
        text += ["", f"{head:<{width}}  {'value':>5}  {note}".rstrip()]
        for label, value, ends in lines:
            row = f"{label:<{width}}  {_three(value):>5}"
            text.append(row if not ends or None in ends else f"{row}  {_three(ends[0])} to {_three(ends[1])}")
    return "\n".join(text)


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
