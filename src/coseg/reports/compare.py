"""Compare two tests on the same pairs, or the same groups: what ``coseg-report compare`` shows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from coseg.errors import CosegError
from coseg.metrics.bootstrap import Difference, difference
from coseg.reports.records import FILES, Record, read_records, record_images, record_values, records_file
from coseg.reports.results import DIGITS, read_results
from coseg.run_dir import RESULTS, TESTS

SAME = ("dataset", "split", "protocol", "void")
"""What two results must agree on, or the difference of their scores says nothing about the models."""


class Change(NamedTuple):
    """A pair, or an image of a group, and the mean IoU of its masks in each of two tests; nan where it has no truth."""

    record: Record
    a: float
    b: float

    @property
    def gain(self) -> float:
        """A - B."""
        return self.a - self.b


def compare(folder_a: str | Path, folder_b: str | Path, resamples: int = 1000, seed: int = 0) -> dict[str, Difference]:
    """The differences A - B of ``jaccard`` and ``jaccard_distractor``, with paired 95 % intervals over images.

    Args:
        folder_a: a folder with ``pairs.csv`` or ``masks.csv`` and, if it still exists, ``results.json``;
            one of these files; or a run with one test.
        folder_b: likewise.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        CosegError: a file is missing or damaged, or the two are not tests of the same pairs by the same protocol.
    """
    records_a, records_b = _same_records(Path(folder_a), Path(folder_b))
    return {
        score: difference(
            record_images(records_a), record_values(records_a, score), record_values(records_b, score), resamples, seed
        )
        for score in ("jaccard", "jaccard_distractor")
    }


def changes(folder_a: str | Path, folder_b: str | Path) -> list[Change]:
    """All pairs that both tests scored, those that changed most first.

    Raises:
        CosegError: as `compare`.
    """
    records_a, records_b = _same_records(Path(folder_a), Path(folder_b))
    pairs = zip(records_a, records_b, strict=True)
    scored = [change for change in (Change(a, a.mean, b.mean) for a, b in pairs) if not math.isnan(change.gain)]
    return sorted(scored, key=lambda change: -round(abs(change.gain), DIGITS))  # no more digits than the files have


def _same_records(folder_a: Path, folder_b: Path) -> tuple[list[Record], list[Record]]:
    """The records of both, in one order."""
    folder_a, folder_b = _folder(folder_a), _folder(folder_b)
    records_a, records_b = read_records(folder_a), read_records(folder_b)
    _check_same_protocol(folder_a, folder_b)
    return records_a, _in_order_of(records_a, records_b, folder_a, folder_b)


def _folder(place: Path) -> Path:
    """The folder of results that `place` is, or holds a file of, or has as its only test."""
    if place.is_file():
        return place.parent
    tests = sorted(path for name in FILES for path in place.glob(f"{TESTS}/*/{name}"))
    if records_file(place).is_file() or not tests:
        return place
    if len(tests) > 1:
        raise CosegError(
            f"{place} has {len(tests)} tests: give the folder of one, which is one of "
            f"{', '.join(str(path.parent) for path in tests)}."
        )
    return tests[0].parent


def _check_same_protocol(folder_a: Path, folder_b: Path) -> None:
    paths = [folder / RESULTS for folder in (folder_a, folder_b)]
    if not all(path.exists() for path in paths):
        return
    a, b = (read_results(path) for path in paths)
    for key in SAME:
        if a.get(key) != b.get(key):
            raise CosegError(
                f"The two tests cannot be compared: {key} is '{a.get(key)}' in {paths[0]} but '{b.get(key)}' in "
                f"{paths[1]}. Test both models with the same {key}."
            )


def _in_order_of(records_a: list[Record], records_b: list[Record], folder_a: Path, folder_b: Path) -> list[Record]:
    keys_a, by_key = [record.key for record in records_a], {record.key: record for record in records_b}
    if len(records_b) != len(by_key) or len(set(keys_a)) != len(keys_a) or set(keys_a) != set(by_key):
        shared = len(set(keys_a) & set(by_key))
        path_a, path_b = records_file(folder_a), records_file(folder_b)
        raise CosegError(
            f"{path_a} ({len(records_a)} {path_a.stem}) and {path_b} ({len(records_b)} {path_b.stem}) are not the same "
            f"{path_a.stem}: {shared} are in both. Test both models on the same {path_a.stem}."
        )
    return [by_key[key] for key in keys_a]
