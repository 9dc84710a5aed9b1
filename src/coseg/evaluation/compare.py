"""Compare two tests on the same pairs, or the same groups: what ``coseg-report compare`` shows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from coseg.errors import CosegError
from coseg.evaluation.bootstrap import Difference, difference
from coseg.evaluation.results import read_results
from coseg.evaluation.rows import DIGITS, Row, row_images, row_values
from coseg.evaluation.rows_file import FILES, read_rows, rows_file

SAME = ("dataset", "split", "protocol", "void")
"""What two results must agree on, or the difference of their scores says nothing about the models."""


class Change(NamedTuple):
    """A pair, or an image of a group, and the mean IoU of its masks in each of two tests; nan where it has no truth."""

    row: Row
    a: float
    b: float

    @property
    def gain(self) -> float:
        """A - B."""
        return self.a - self.b


def compare(folder_a: str | Path, folder_b: str | Path, draws: int = 1000, seed: int = 0) -> dict[str, Difference]:
    """The differences A - B of ``jaccard`` and ``jaccard_distractor``, with paired 95 % intervals over images.

    Args:
        folder_a: a folder with ``pairs.csv`` or ``masks.csv`` and, where it is still there,
            ``results.json``; one of these files; or a run with one test.
        folder_b: likewise.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        CosegError: a file is missing or damaged, or the two are not tests of the same pairs by the same protocol.
    """
    rows_a, rows_b = _same_rows(Path(folder_a), Path(folder_b))
    return {
        score: difference(row_images(rows_a), row_values(rows_a, score), row_values(rows_b, score), draws, seed)
        for score in ("jaccard", "jaccard_distractor")
    }


def changes(folder_a: str | Path, folder_b: str | Path) -> list[Change]:
    """All pairs that both tests scored, those that changed most first.

    Raises:
        CosegError: as `compare`.
    """
    rows_a, rows_b = _same_rows(Path(folder_a), Path(folder_b))
    found = [Change(row, row.mean, other.mean) for row, other in zip(rows_a, rows_b, strict=True)]
    scored = [change for change in found if not math.isnan(change.gain)]
    return sorted(scored, key=lambda change: -round(abs(change.gain), DIGITS))  # no more digits than the files have


def _same_rows(folder_a: Path, folder_b: Path) -> tuple[list[Row], list[Row]]:
    """The rows of both, in one order."""
    folder_a, folder_b = _folder(folder_a), _folder(folder_b)
    rows_a, rows_b = read_rows(folder_a), read_rows(folder_b)
    _check_same_protocol(folder_a, folder_b)
    return rows_a, _in_order_of(rows_a, rows_b, folder_a, folder_b)


def _folder(place: Path) -> Path:
    """The folder of results that `place` is, or holds a file of, or has as its only test."""
    if place.is_file():
        return place.parent
    tests = sorted(path for name in FILES for path in place.glob(f"test/*/{name}"))
    if rows_file(place).is_file() or not tests:
        return place
    if len(tests) > 1:
        raise CosegError(
            f"{place} has {len(tests)} tests: give the folder of one, which is one of "
            f"{', '.join(str(path.parent) for path in tests)}."
        )
    return tests[0].parent


def _check_same_protocol(folder_a: Path, folder_b: Path) -> None:
    paths = [folder / "results.json" for folder in (folder_a, folder_b)]
    if not all(path.exists() for path in paths):
        return
    a, b = (read_results(path) for path in paths)
    for key in SAME:
        if a.get(key) != b.get(key):
            raise CosegError(
                f"The two tests cannot be compared: {key} is '{a.get(key)}' in {paths[0]} but '{b.get(key)}' in "
                f"{paths[1]}. Test both models with the same {key}."
            )


def _in_order_of(rows_a: list[Row], rows_b: list[Row], folder_a: Path, folder_b: Path) -> list[Row]:
    keys_a, found_b = [row.key for row in rows_a], {row.key: row for row in rows_b}
    if len(rows_b) != len(found_b) or len(set(keys_a)) != len(keys_a) or set(keys_a) != set(found_b):
        shared = len(set(keys_a) & set(found_b))
        path_a, path_b = rows_file(folder_a), rows_file(folder_b)
        raise CosegError(
            f"{path_a} ({len(rows_a)} {path_a.stem}) and {path_b} ({len(rows_b)} {path_b.stem}) are not the same "
            f"{path_a.stem}: {shared} are in both. Test both models on the same {path_a.stem}."
        )
    return [found_b[key] for key in keys_a]
