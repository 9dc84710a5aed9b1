"""Go on with a run's ``metrics.csv``, which Lightning's CSV logger deletes when it opens its folder again."""

from __future__ import annotations

import csv
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger

Rows = list[dict[str, str]]


def read_metrics(folder: Path, before_step: int) -> Rows:
    """The rows of `folder`'s ``metrics.csv`` that were logged before step `before_step`; later ones come anew."""
    path = folder / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row.get("step") and int(row["step"]) < before_step]


def continue_metrics(logger: CSVLogger, rows: Rows) -> None:
    """Put `rows` back at the head of the logger's file."""
    writer = logger.experiment  # made here: making it deletes the file
    if rows:
        writer.metrics_keys = sorted(rows[0])
        with Path(writer.metrics_file_path).open("w", newline="") as file:
            table = csv.DictWriter(file, fieldnames=writer.metrics_keys)
            table.writeheader()
            table.writerows(rows)
