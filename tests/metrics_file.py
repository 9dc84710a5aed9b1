"""Read a run's ``metrics.csv`` as it was written."""

from __future__ import annotations

import csv
from pathlib import Path


def read_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of the table."""
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_losses(folder: Path) -> list[tuple[int, str]]:
    """Step and training loss of each row that has one, in the order of the file."""
    return [(int(row["step"]), row["train/loss"]) for row in read_rows(folder) if row["train/loss"]]
