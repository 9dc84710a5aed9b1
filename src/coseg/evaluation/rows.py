"""The pairs of a test one by one: a row for each in ``pairs.csv``, and what can be read off them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from coseg.errors import CosegError
from coseg.files import write_text_atomically

DIGITS = 6
"""Decimals of all numbers in the files."""

SIZES = (0.05, 0.2)
"""Shares of an image from which an object is of medium size, and large."""


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
        share_a: foreground pixels of the first image's truth over all that are scored, 0 to 1; nan where not known.
        share_b: likewise the second.
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
    share_a: float = math.nan
    share_b: float = math.nan

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
        scores, shares = ([_cell(value) for value in pair] for pair in (row[5:7], row[9:11]))
        distractors = int(row.distractor_a), int(row.distractor_b)
        writer.writerow((*row[:4], " ".join(row.classes), *scores, *distractors, *shares))
    write_text_atomically(path, text.getvalue())


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.{DIGITS}f}"


def read_pairs(path: str | Path) -> list[PairRow]:
    """Read what `write_pairs` wrote, or an earlier version of it.

    Columns are found by their names: those of other names are left alone, and the shares may be missing.

    Raises:
        CosegError: there is no such file, or it is no ``pairs.csv``; the line is named.
    """
    path = Path(path)
    if not path.is_file():
        raise CosegError(f"There is no {path}. Give the directory that a test wrote its results to.")
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        try:
            head = next(lines, [])
            missing = [name for name in PairRow._fields if name not in (*head, *PairRow._field_defaults)]
            if missing:
                raise CosegError(f"{path} is not a table of pairs: its first line lacks {', '.join(missing)}.")
            return [_parse(dict(zip(head, cells, strict=True))) for cells in lines]
        except (ValueError, csv.Error) as error:
            raise CosegError(f"{path}, line {lines.line_num}, is damaged ({error}). Run the test again.") from error


def _parse(cells: Mapping[str, str]) -> PairRow:
    return PairRow(
        int(cells["i"]),
        int(cells["j"]),
        cells["id_a"],
        cells["id_b"],
        tuple(cells["classes"].split()),
        _number(cells["jaccard_a"]),
        _number(cells["jaccard_b"]),
        bool(int(cells["distractor_a"])),
        bool(int(cells["distractor_b"])),
        _number(cells.get("share_a", "")),
        _number(cells.get("share_b", "")),
    )


def _number(cell: str) -> float:
    return float(cell) if cell else math.nan


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


def breakdowns(rows: Sequence[PairRow]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """``jaccard`` of parts of the masks, and how many there are: by the object's size, and with or without distractor.

    A small object covers less than 5 % of the image, a large one 20 % or more.
    """
    scores = pair_values(rows, "jaccard").ravel()
    shares = np.array([(row.share_a, row.share_b) for row in rows], np.float64).ravel()
    distractor = np.array([(row.distractor_a, row.distractor_b) for row in rows], bool).ravel()
    small, large = SIZES
    sizes = {"small": shares < small, "medium": (shares >= small) & (shares < large), "large": shares >= large}
    parts = {"by_size": sizes, "by_distractor": {"without": ~distractor, "with": distractor}}
    has_truth = ~np.isnan(scores)
    return {
        name: {
            part: {"jaccard": rounded(scores[mask & has_truth].mean()) if (mask & has_truth).any() else None}
            | {"masks": int((mask & has_truth).sum())}
            for part, mask in masks.items()
        }
        for name, masks in parts.items()
    }


def rounded(value: SupportsFloat) -> float | None:
    """A number as the files have it; None for what is not finite."""
    number = float(value)
    return round(number, DIGITS) if math.isfinite(number) else None
