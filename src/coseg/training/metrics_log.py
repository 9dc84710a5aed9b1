"""Continue a resumed run's ``metrics.csv``, which Lightning's CSV logger deletes when it opens its folder again."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

from coseg.errors import CosegError
from coseg.files.plain_data import MAX_METRICS_BYTES, read_text
from coseg.files.writing import write_text_atomically
from coseg.lightning_internals import CSVWriter, set_csv_writer
from coseg.run_dir import METRICS

Rows = list[dict[str, str]]

PENDING = "metrics_row"
"""In a checkpoint: the row of its step, which Lightning logs after it."""

_POSITION = {"epoch", "step"}
_MAX_COLUMNS = 1000
_BEFORE = ".metrics-before.csv"
"""The earlier file, while a new one is made of it."""


def read_metrics(folder: Path, before_step: int) -> Rows:
    """The rows of `folder`'s ``metrics.csv`` that were logged before step `before_step`; later ones are made again.

    A last line without its end comes from a process that was killed while it wrote, and is left out.

    Raises:
        CosegError: the file is damaged.
    """
    path = next((folder / name for name in (_BEFORE, METRICS) if (folder / name).exists()), None)
    if path is None:
        return []
    advice = "put a copy in its place, or remove it: the table of losses and scores then begins at the resumed step"
    text = read_text(path, advice, MAX_METRICS_BYTES)
    try:
        return _rows(text, before_step)
    except (ValueError, csv.Error) as error:
        raise CosegError(f"{path} is damaged ({str(error)[:200]}): {advice}.") from None


def with_pending_row(rows: Rows, pending: object) -> Rows:
    """`rows`, and the row that a checkpoint holds, if the process was killed before that was in the file.

    Args:
        rows: of the file, before the step of the checkpoint.
        pending: what `MetricsWithCheckpoints` put into the checkpoint; anything else is ignored.
    """
    if not isinstance(pending, dict) or not isinstance(pending.get("step"), int) or len(pending) > _MAX_COLUMNS:
        return rows
    if not all(isinstance(name, str) and isinstance(value, int | float) for name, value in pending.items()):
        return rows
    row = {name: str(value) for name, value in pending.items()}
    metrics = row.keys() - _POSITION
    if any(earlier["step"] == row["step"] and any(earlier.get(name) for name in metrics) for earlier in rows):
        return rows
    names = sorted({*row, *(rows[0] if rows else ())})
    return [{name: row.get(name, "") for name in names} for row in (*rows, row)]


def _rows(text: str, before_step: int) -> Rows:
    whole = text[: text.rfind("\n") + 1]
    lines = csv.DictReader(io.StringIO(whole, newline=""))
    if "step" not in (lines.fieldnames or ()):
        raise ValueError("its first line names no step" if whole else "it is empty")
    rows = []
    for row in lines:
        if None in row or None in row.values():
            raise ValueError(f"line {lines.line_num} has another number of cells")
        for name, cell in row.items():
            if cell and (not cell.isdecimal() if name == "step" else not _is_number(cell)):
                raise ValueError(f"line {lines.line_num}: {name} is '{cell[:40]}'")
        if row["step"] and int(row["step"]) < before_step:
            rows.append(row)
    return rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def continue_metrics(logger: CSVLogger, rows: Rows) -> None:
    """Put `rows` back at the head of the logger's file; whenever the process is killed here, one file holds them."""
    folder = Path(logger.log_dir)
    if rows and (folder / METRICS).is_file() and not (folder / _BEFORE).exists():
        os.replace(folder / METRICS, folder / _BEFORE)
    writer = WholeRows(logger.log_dir)  # deletes the file
    set_csv_writer(logger, writer)
    if rows:
        writer.metrics_keys = sorted(rows[0])
        _write(Path(writer.metrics_file_path), rows, writer.metrics_keys)
    (folder / _BEFORE).unlink(missing_ok=True)


class WholeRows(CSVWriter):
    """Lightning's writer of ``metrics.csv``, which leaves whole rows whatever happens while it writes."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._file = Path(self.metrics_file_path)
        self._good: tuple[int, list[str]] = 0, []  # bytes and columns of the file as it was whole

    def save(self) -> None:
        """Add rows; where that fails, on a full disk, say, the file stays as it was, and the next time adds them."""
        self._remember(self.metrics_keys)
        try:
            super().save()
        except BaseException:
            size, self.metrics_keys = self._good
            if self._file.is_file() and self._file.stat().st_size > size:
                os.truncate(self._file, size)
            raise

    def rewrite(self, columns: list[str]) -> None:
        """Replace the file when a column comes, as after the first validation: Lightning would write over it."""
        with self._file.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        _write(self._file, rows, columns)
        self._remember(columns)

    def _remember(self, names: list[str]) -> None:
        self._good = self._file.stat().st_size if self._file.is_file() else 0, list(names)


def _write(path: Path, rows: Rows, names: Sequence[str]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, fieldnames=names)
    table.writeheader()
    table.writerows(rows)
    write_text_atomically(path, text.getvalue())


class MetricsWithCheckpoints(Callback):
    """Whenever a checkpoint is written, ``metrics.csv`` is too.

    Lightning's logger writes every hundred steps: a process that is killed would lose rows before the step of its
    last checkpoint, which a resumed run does not make again.
    """

    def __init__(self) -> None:
        self._due = False

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write what was logged so far; the row of this step comes later, and the checkpoint holds it until then."""
        _save(trainer)
        self._due = True
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and trainer.global_step and trainer.global_step % every == 0:
            metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name[:4] != "val/"}
            checkpoint[PENDING] = {"epoch": trainer.current_epoch, "step": trainer.global_step - 1, **metrics}

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write the row of that step."""
        if self._due:
            _save(trainer)
            self._due = False


def _save(trainer: L.Trainer) -> None:
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger) and trainer.is_global_zero:
            logger.save()
