"""Compare two tests on the same pairs: what ``coseg-report compare`` shows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from coseg.errors import CosegError
from coseg.evaluation.bootstrap import Difference, difference
from coseg.evaluation.results import read_results
from coseg.evaluation.rows import DIGITS, PairRow, pair_indices, pair_values, read_pairs

SAME = ("dataset", "split", "protocol", "void")
"""What two results must agree on, or the difference of their scores says nothing about the models."""


class Change(NamedTuple):
    """A pair in both tests, and the mean IoU of its masks in each; nan where it has no truth."""

    row: PairRow
    a: float
    b: float

    @property
    def gain(self) -> float:
        """A - B."""
        return self.a - self.b


def compare(folder_a: str | Path, folder_b: str | Path, draws: int = 1000, seed: int = 0) -> dict[str, Difference]:
    """The differences A - B of ``jaccard`` and ``jaccard_distractor``, with paired 95 % intervals over images.

    Args:
        folder_a: a folder with ``pairs.csv`` and, where it is still there, ``results.json``; one of these
            files; or a run with one test.
        folder_b: likewise.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        CosegError: a file is missing or damaged, or the two are not tests of the same pairs by the same protocol.
    """
    rows_a, rows_b = _same_pairs(Path(folder_a), Path(folder_b))
    return {
        score: difference(pair_indices(rows_a), pair_values(rows_a, score), pair_values(rows_b, score), draws, seed)
        for score in ("jaccard", "jaccard_distractor")
    }


def changes(folder_a: str | Path, folder_b: str | Path) -> list[Change]:
    """All pairs that both tests scored, those that changed most first.

    Raises:
        CosegError: as `compare`.
    """
    rows_a, rows_b = _same_pairs(Path(folder_a), Path(folder_b))
    found = [Change(row, row.mean, other.mean) for row, other in zip(rows_a, rows_b, strict=True)]
    scored = [change for change in found if not math.isnan(change.gain)]
    return sorted(scored, key=lambda change: -round(abs(change.gain), DIGITS))  # no more digits than the files have


def _same_pairs(folder_a: Path, folder_b: Path) -> tuple[list[PairRow], list[PairRow]]:
    """The rows of both, in one order."""
    folder_a, folder_b = _folder(folder_a), _folder(folder_b)
    rows_a, rows_b = read_pairs(folder_a / "pairs.csv"), read_pairs(folder_b / "pairs.csv")
    _check_same_protocol(folder_a, folder_b)
    return rows_a, _in_order_of(rows_a, rows_b, folder_a, folder_b)


def _folder(place: Path) -> Path:
    """The folder of results that `place` is, or holds a file of, or has as its only test."""
    if place.is_file():
        return place.parent
    tests = sorted(place.glob("test/*/pairs.csv"))
    if (place / "pairs.csv").is_file() or not tests:
        return place
    if len(tests) > 1:
        raise CosegError(
            f"{place} has {len(tests)} tests: give the folder of one, which is one of "
            f"{', '.join(str(path.parent) for path in tests)}."
        )
    return tests[0].parent


def _check_same_protocol(folder_a: Path, folder_b: Path) -> None:
    paths = [folder / "results.json" for folder in (folder_a, folder_b)]
    if not all(path.is_file() for path in paths):
        return
    a, b = (read_results(path) for path in paths)
    for key in SAME:
        if a.get(key) != b.get(key):
            raise CosegError(
                f"The two tests cannot be compared: {key} is '{a.get(key)}' in {paths[0]} but '{b.get(key)}' in "
                f"{paths[1]}. Test both models with the same {key}."
            )


def _in_order_of(rows_a: list[PairRow], rows_b: list[PairRow], folder_a: Path, folder_b: Path) -> list[PairRow]:
    keys_a, found_b = [(row.id_a, row.id_b) for row in rows_a], {(row.id_a, row.id_b): row for row in rows_b}
    if len(rows_b) != len(found_b) or len(set(keys_a)) != len(keys_a) or set(keys_a) != set(found_b):
        shared = len(set(keys_a) & set(found_b))
        raise CosegError(
            f"{folder_a / 'pairs.csv'} ({len(rows_a)} pairs) and {folder_b / 'pairs.csv'} ({len(rows_b)} pairs) are "
            f"not the same pairs: {shared} are in both. Test both models on the same pairs."
        )
    return [found_b[key] for key in keys_a]
