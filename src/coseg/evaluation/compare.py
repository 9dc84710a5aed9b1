"""Compare two tests on the same pairs: ``python -m coseg.evaluation.compare RESULTS_DIR_A RESULTS_DIR_B``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from coseg.errors import CosegError
from coseg.evaluation.bootstrap import Difference, difference
from coseg.evaluation.results import PairRow, pair_indices, pair_values, read_pairs, read_results

SAME = ("dataset", "split", "protocol", "void")
"""What two results must agree on, or the difference of their scores says nothing about the models."""


def compare(folder_a: str | Path, folder_b: str | Path, draws: int = 1000, seed: int = 0) -> dict[str, Difference]:
    """The differences A - B of ``jaccard`` and ``jaccard_distractor``, with paired 95 % intervals over images.

    Args:
        folder_a: a folder with ``pairs.csv`` and, where it is still there, ``results.json``.
        folder_b: likewise.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        CosegError: a file is missing or damaged, or the two are not tests of the same pairs by the same protocol.
    """
    folder_a, folder_b = Path(folder_a), Path(folder_b)
    rows_a, rows_b = read_pairs(folder_a / "pairs.csv"), read_pairs(folder_b / "pairs.csv")
    _check_same_protocol(folder_a, folder_b)
    rows_b = _in_order_of(rows_a, rows_b, folder_a, folder_b)
    return {
        score: difference(pair_indices(rows_a), pair_values(rows_a, score), pair_values(rows_b, score), draws, seed)
        for score in ("jaccard", "jaccard_distractor")
    }


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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit code 0, or 2 with a sentence for what the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m coseg.evaluation.compare",
        description="The difference A - B of two tests on the same pairs, with 95 % intervals (bootstrap over images).",
    )
    parser.add_argument("a", type=Path, metavar="RESULTS_DIR_A", help="folder with pairs.csv of the first test")
    parser.add_argument("b", type=Path, metavar="RESULTS_DIR_B", help="folder with pairs.csv of the second test")
    parser.add_argument("--draws", type=int, default=1000, help="draws of the bootstrap (1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (0)")
    options = parser.parse_args(arguments)
    try:
        found = compare(options.a, options.b, options.draws, options.seed)
    except CosegError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"A = {options.a}\nB = {options.b}\n\n{'A - B':<18}  {'value':>6}  95 % interval over images")
    for name, (value, low, high) in found.items():
        print(f"{name:<18}  {value:+.3f}  {low:+.3f} to {high:+.3f}" if value == value else f"{name:<18}  {'-':>6}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
