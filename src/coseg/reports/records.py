"""The records of a test, one for each pair or for each image of a group: ``pairs.csv`` or ``masks.csv`` on disk."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coseg.errors import CosegError
from coseg.files.plain_data import MAX_TABLE_BYTES, read_text
from coseg.files.writing import atomic_path, write_text_atomically
from coseg.reports.results import DIGITS, read_results
from coseg.run_dir import COMPRESSED, DECISIONS, MASKS, PAIRS, RESULTS

if TYPE_CHECKING:  # reports are read without torch
    from coseg.metrics.decision import PairDecisions


class PairRecord(NamedTuple):
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
    def images(self) -> tuple[int, ...]:
        """The images of the masks."""
        return self.i, self.j

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies the record in any test of the same images."""
        return self.id_a, self.id_b

    @property
    def jaccards(self) -> tuple[float, ...]:
        """The IoU of each mask."""
        return self.jaccard_a, self.jaccard_b

    @property
    def distractors(self) -> tuple[bool, ...]:
        """Whether each mask's image holds an object that is not common."""
        return self.distractor_a, self.distractor_b

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of the foreground in each mask."""
        return self.share_a, self.share_b

    @property
    def mean(self) -> float:
        """The mean IoU of the masks that have one; nan where neither has."""
        known = [value for value in self.jaccards if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan


class GroupRecord(NamedTuple):
    """One image of a tested group, with what `PairRecord` has of each of its two.

    Attributes:
        i: index of the image in the catalog.
        id: its id.
        group: the class that the images of the group share.
        jaccard: IoU of its mask, nan where the truth is empty.
        distractor: whether the image also holds an object of another class.
        share: foreground pixels of the truth over all that are scored, 0 to 1.
    """

    i: int
    id: str
    group: str
    jaccard: float
    distractor: bool
    share: float

    @property
    def images(self) -> tuple[int, ...]:
        """See `PairRecord.images`; likewise for what follows."""
        return (self.i,)

    @property
    def key(self) -> tuple[str, ...]:
        return self.group, self.id

    @property
    def classes(self) -> tuple[str, ...]:
        return (self.group,)

    @property
    def jaccards(self) -> tuple[float, ...]:
        return (self.jaccard,)

    @property
    def distractors(self) -> tuple[bool, ...]:
        return (self.distractor,)

    @property
    def shares(self) -> tuple[float, ...]:
        return (self.share,)

    @property
    def mean(self) -> float:
        return self.jaccard


Record = PairRecord | GroupRecord


def record_images(records: Sequence[Record]) -> NDArray[np.int64]:
    """The images of each record, int64: (N, 2) of pairs, (N, 1) of images in groups."""
    return np.array([record.images for record in records], np.int64).reshape(len(records), -1 if records else 1)


def record_values(records: Sequence[Record], score: str) -> NDArray[np.float64]:
    """The values of the masks of each record whose mean is `score`, nan where a mask does not count.

    Args:
        records: N records of one type.
        score: ``jaccard`` or ``jaccard_distractor``.

    Returns:
        float64, (N, 2) of pairs, (N, 1) of images in groups.
    """
    if score not in ("jaccard", "jaccard_distractor"):
        raise ValueError(f"records hold no {score}")
    values = record_column(records, "jaccards")
    if score == "jaccard_distractor":
        values[record_column(records, "distractors") == 0] = np.nan
    return values


def record_column(records: Sequence[Record], name: str) -> NDArray[np.float64]:
    """A property of records that has a number for each mask, such as ``shares``: float64 (N, 2) or (N, 1)."""
    values = np.array([getattr(record, name) for record in records], np.float64)
    return values.reshape(len(records), -1 if records else 1)


FILES: dict[str, type[PairRecord] | type[GroupRecord]] = {PAIRS: PairRecord, MASKS: GroupRecord}
"""The file of the records of each type, beside ``results.json``."""

DECISION_COLUMNS = ("i", "j", "id_a", "id_b", "positive", "foreground", "decision")
"""Of ``decisions.csv``; ``foreground`` is the share of the pixels that are predicted foreground."""


def write_records(folder: Path, records: Sequence[Record], compressed: bool = False) -> None:
    """Write ``pairs.csv`` or ``masks.csv`` (records of one type, at least one), and remove an earlier test's.

    A head line, then a line for each record; nan is an empty cell, a distractor is 1 or 0. Compressed by gzip, which
    leaves about a quarter, its name ends in ``.gz``; it holds no time, so the same records give the same file.
    """
    record_type = type(records[0])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(record_type._fields)
    writer.writerows([_cell(value) for value in record] for record in records)
    content = text.getvalue().encode()
    (name,) = (name for name, of in FILES.items() if of is record_type)
    path = folder / (name + COMPRESSED * compressed)
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0) if compressed else content)
    for earlier in _places(folder):
        if earlier != path:
            earlier.unlink(missing_ok=True)


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(value)
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.{DIGITS}f}"
    return str(int(value)) if isinstance(value, bool) else str(value)


def records_file(folder: Path) -> Path:
    """The file of records in a folder of results; where there is none, the path of ``pairs.csv``."""
    paths = _places(folder)
    return next((path for path in paths if path.exists()), paths[0])


def _places(folder: Path) -> list[Path]:
    return [folder / (name + end) for end in ("", COMPRESSED) for name in FILES]


def read_records(folder: str | Path) -> list[Record]:
    """Read what `write_records` wrote to `folder`, or what an earlier version did.

    Columns are identified by their names: unknown ones are ignored, and the shares may be missing.

    Raises:
        CosegError: there is no such file, or it is not a table of records (the line is named), or it has changed by
            the checksum in ``results.json``.
    """
    path = records_file(Path(folder))
    record_type = FILES[path.name.removesuffix(COMPRESSED)]
    try:
        text = read_text(path, "run the test again", MAX_TABLE_BYTES, gzipped=path.suffix == COMPRESSED)
    except FileNotFoundError as error:
        raise CosegError(f"There is no {path}. Give the directory that a test wrote its results to.") from error
    _check_beside(path.parent)
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        head = next(lines, [])
        missing = [name for name in record_type._fields if name not in (*head, *record_type._field_defaults)]
        if missing:
            what = "pairs" if record_type is PairRecord else "masks"
            raise CosegError(f"{path} is not a table of {what}: its first line lacks {', '.join(missing)}.")
        records = [_parse(record_type, dict(zip(head, cells, strict=True))) for cells in lines]
        if not text.endswith("\n"):
            raise ValueError("it is cut")
        return records
    except (ValueError, csv.Error) as error:
        raise CosegError(
            f"{path}, line {lines.line_num}, is damaged ({str(error)[:200]}). Run the test again."
        ) from None


def _check_beside(folder: Path) -> None:
    """Compare the tables with the checksums in ``results.json``, if that still exists."""
    path = folder / RESULTS
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


def _parse(record_type: type[PairRecord] | type[GroupRecord], cells: Mapping[str, str]) -> Record:
    annotations = record_type.__annotations__
    names = [name for name in record_type._fields if name in cells]
    return record_type(**{name: _PARSERS[_name(annotations[name])](cells[name]) for name in names})


def _name(annotation: Any) -> str:
    return str(getattr(annotation, "__forward_arg__", annotation))


def write_decisions(folder: Path, decisions: PairDecisions, ids: Sequence[str]) -> None:
    """Write ``decisions.csv`` to `folder`.

    Args:
        folder: of the results.
        decisions: on the tested pairs.
        ids: of the catalog's images.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(DECISION_COLUMNS)
    columns = (decisions.pairs, decisions.positive, decisions.foreground, decisions.decisions)
    for (i, j), positive, share, logit in zip(*(column.tolist() for column in columns), strict=True):
        writer.writerow((i, j, ids[i], ids[j], int(positive), f"{share:.{DIGITS}f}", _cell(logit)))
    write_text_atomically(folder / DECISIONS, text.getvalue())
