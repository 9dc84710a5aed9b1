"""The rows of a test on disk: ``pairs.csv`` or ``masks.csv`` beside ``results.json``, or one of them compressed."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coseg.errors import CosegError
from coseg.evaluation.checksums import COMPRESSED
from coseg.evaluation.results import read_results
from coseg.evaluation.rows import DIGITS, GroupRow, PairRow, Row
from coseg.files import atomic_path
from coseg.plain_data import MAX_TABLE_BYTES, read_text

FILES: dict[str, type[PairRow] | type[GroupRow]] = {"pairs.csv": PairRow, "masks.csv": GroupRow}
"""Where the rows of each kind are, beside ``results.json``."""


def write_rows(folder: Path, rows: Sequence[Row], compressed: bool = False) -> None:
    """Write ``pairs.csv`` or ``masks.csv`` (rows of one kind, at least one), and take away what else of these there is.

    A head line, then a line for each row; nan is an empty cell, a distractor is 1 or 0. Compressed by gzip, which
    leaves about a quarter, its name ends in ``.gz``; written without the time, it stays the same for the same rows.
    """
    kind = type(rows[0])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(kind._fields)
    writer.writerows([_cell(value) for value in row] for row in rows)
    content = text.getvalue().encode()
    (name,) = (name for name, of in FILES.items() if of is kind)
    path = folder / (name + COMPRESSED * compressed)
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0) if compressed else content)
    for other in _places(folder):
        if other != path:
            other.unlink(missing_ok=True)


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(value)
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.{DIGITS}f}"
    return str(int(value)) if isinstance(value, bool) else str(value)


def rows_file(folder: Path) -> Path:
    """The file of rows in a folder of results; where there is none, the place of ``pairs.csv``."""
    paths = _places(folder)
    return next((path for path in paths if path.exists()), paths[0])


def _places(folder: Path) -> list[Path]:
    return [folder / (name + end) for end in ("", COMPRESSED) for name in FILES]


def read_rows(folder: str | Path) -> list[Row]:
    """Read what `write_rows` wrote to `folder`, or what an earlier version did.

    Columns are found by their names: those of other names are left alone, and the shares may be missing.

    Raises:
        CosegError: there is no such file, or it is no table of rows; the line is named. ``results.json`` beside it
            says that it has changed.
    """
    path = rows_file(Path(folder))
    kind = FILES[path.name.removesuffix(COMPRESSED)]
    try:
        text = read_text(path, "run the test again", MAX_TABLE_BYTES, gzipped=path.suffix == COMPRESSED)
    except FileNotFoundError as error:
        raise CosegError(f"There is no {path}. Give the directory that a test wrote its results to.") from error
    _check_beside(path.parent)
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        head = next(lines, [])
        missing = [name for name in kind._fields if name not in (*head, *kind._field_defaults)]
        if missing:
            what = "pairs" if kind is PairRow else "masks"
            raise CosegError(f"{path} is not a table of {what}: its first line lacks {', '.join(missing)}.")
        rows = [_parse(kind, dict(zip(head, cells, strict=True))) for cells in lines]
        if not text.endswith("\n"):
            raise ValueError("it is cut")
        return rows
    except (ValueError, csv.Error) as error:
        raise CosegError(
            f"{path}, line {lines.line_num}, is damaged ({str(error)[:200]}). Run the test again."
        ) from None


def _check_beside(folder: Path) -> None:
    """Compare the tables with the checksums in ``results.json``, where that is still there."""
    path = folder / "results.json"
    if path.exists():
        read_results(path)


_PARSERS: dict[str, Any] = {
    "int": int,
    "str": str,
    "tuple[str, ...]": lambda cell: tuple(cell.split()),
    "float": lambda cell: float(cell) if cell else math.nan,
    "bool": lambda cell: bool(int(cell)),
}
"""From a cell to the value of a field, by the field's annotation."""


def _parse(kind: type[PairRow] | type[GroupRow], cells: Mapping[str, str]) -> Row:
    annotations = kind.__annotations__
    values = {name: _PARSERS[_name(annotations[name])](cells[name]) for name in kind._fields if name in cells}
    return kind(**values)


def _name(annotation: Any) -> str:
    return str(getattr(annotation, "__forward_arg__", annotation))
