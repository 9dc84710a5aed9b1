"""Benchmark files: the pairs of a test, or the images of its groups, as a table with a checksum, for any program.

A file is CSV in UTF-8 below a head of lines ``# key: value``::

    # coseg-benchmark: 1
    # dataset: voc
    # split: test
    # unit: pair
    # rule: all pairs of images of the split that share a class; the foreground is the union of the common classes
    # images: 725
    # files: 1450
    # files_sha256: 91d5…
    # count: 37700
    # sha256: 0f3c…
    image_a,image_b,classes
    2007_000033,2007_000042,aeroplane;person

The checksum is that of all other lines: ``grep -v '^# sha256: ' FILE | sha256sum``. That of the files (images and
annotations of the listed images) is of their sorted checksums: ``sha256sum FILES | cut -c -64 | sort | sha256sum``.
Of groups the columns are ``group`` and ``image``.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coseg.data.catalog import Catalog, file_checksums
from coseg.data.pair_index import PairIndex, balanced_groups, balanced_pairs
from coseg.errors import CosegError
from coseg.files.plain_data import read_bytes
from coseg.files.writing import atomic_path

FORMAT = "coseg-benchmark"
VERSION = "1"

COLUMNS = {"pair": ("image_a", "image_b", "classes"), "group": ("group", "image")}
"""Of the table, by its unit."""

RULES = {
    "pair": "all pairs of images of the split that share a class; the foreground is the union of the common classes",
    "group": "all images of each class that two images or more of the split hold; the foreground is that class",
}
"""What coseg lists, by the unit."""

MAX_LINES = 5_000_000
"""Of a table that is written: all pairs of COCO's training images are billions."""

MAX_BYTES = 512 * 2**20
"""Of a file: VOC's 169,587 pairs of training images have 6 million."""

MAX_HEAD = 100
"""Lines of a head."""

_NAMED = 5
_CHECKSUM = b"# sha256: "
_NEEDED = ("dataset", "split", "unit", "rule", "count", "sha256")


class Benchmark(NamedTuple):
    """What a benchmark file holds.

    Attributes:
        path: of the file.
        dataset: the name of the data set.
        split: likewise.
        unit: ``pair`` or ``group``.
        rule: by which the table was made, in words.
        settings: of the data set, as it was read for the file; empty: as it is configured, or not known.
        files_sha256: the checksum of images and annotations; empty: not known.
        sha256: the checksum.
        table: the cells of each line, see `COLUMNS`.
    """

    path: Path
    dataset: str
    split: str
    unit: str
    rule: str
    settings: str
    files_sha256: str
    sha256: str
    table: list[list[str]]


class Rule(NamedTuple):
    """Which pairs, or which images of groups, are listed; without values, all.

    Attributes:
        per_class: so many pairs, or images of a group, for each class, if it has so many; None: all.
        most_uses: of an image, in pairs or groups; None: any number. Only with `per_class`.
        seed: of the sample.
        images: ids of the only images that are listed; None: all.
    """

    per_class: int | None = None
    most_uses: int | None = None
    seed: int = 0
    images: Sequence[str] | None = None

    def words(self, unit: str) -> str:
        """A sentence for the head of a file."""
        text = RULES[unit]
        if self.per_class is not None:
            uses = "" if self.most_uses is None else f", in which an image is {self.most_uses} times at most"
            what = "pairs that share it" if unit == "pair" else "images"
            text += f"; of these, for each class from the rarest on, {self.per_class} {what}{uses}; seed {self.seed}"
        return text + ("" if self.images is None else f"; only {len(self.images)} images of a list")


ALL = Rule()
"""Everything that there is to list."""


def write_benchmark(path: Path, catalog: Catalog, unit: str = "pair", rule: Rule = ALL, settings: str = "") -> int:
    """Write the pairs of a catalog, or the images of its groups.

    Args:
        path: the file.
        catalog: the images.
        unit: ``pair`` or ``group``.
        rule: which are listed; see `coseg.data.pair_index.balanced_pairs`.
        settings: of the data set, which were changed for the catalog, for the head.

    Returns:
        How many lines the table has.

    Raises:
        CosegError: there is nothing to list, or too much; an image of the rule is not in the catalog.
        OSError: the file can't be written.
    """
    presence = catalog.presence
    if rule.images is not None:
        places = {name: i for i, name in enumerate(catalog.ids)}
        if lacking := [name for name in rule.images if name not in places]:
            raise CosegError(
                f"The list of images has {some(lacking, 'ids')} that {catalog.name}/{catalog.split} lacks."
            )
        chosen = np.isin(np.arange(len(catalog)), [places[name] for name in rule.images])
        presence = presence & chosen[:, None]
    table = _pairs(catalog, presence, rule) if unit == "pair" else _groups(catalog, presence, rule)
    if not table.lines:
        raise CosegError(f"{catalog.name}/{catalog.split} has no {unit} that the rule lists.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS[unit])
    writer.writerows(table.lines)
    facts = {FORMAT: VERSION, "dataset": catalog.name, "split": catalog.split, "unit": unit, "rule": rule.words(unit)}
    if settings:
        facts["settings"] = settings
    facts["images"] = str(len(table.images) if rule != ALL else len(catalog))
    if files := files_of(catalog, table.images):
        facts |= {"files": str(len(files)), "files_sha256": checksum_of(files)}
    facts["count"] = str(len(table.lines))
    head = "".join(f"# {key}: {' '.join(value.split())}\n" for key, value in facts.items()).encode()
    body = text.getvalue().encode()
    checksum = _CHECKSUM + hashlib.sha256(head + body).hexdigest().encode() + b"\n"
    with atomic_path(path) as temporary:
        temporary.write_bytes(head + checksum + body)
    return len(table.lines)


class _Table(NamedTuple):
    """The lines of a file, and the images that they name."""

    lines: list[tuple[str, ...]]
    images: list[int]


def _pairs(catalog: Catalog, presence: NDArray[np.bool_], rule: Rule) -> _Table:
    if rule.per_class is None:
        index = PairIndex(presence)
        if len(index) > MAX_LINES:
            raise CosegError(
                f"{catalog.name}/{catalog.split} has {len(index)} pairs, and a file at most {MAX_LINES}: choose a "
                "sample with --per-class, or fewer classes or images."
            )
        pairs = [index[k] for k in range(len(index))]
    else:
        sample = balanced_pairs(presence, rule.per_class, rule.most_uses, rule.seed)
        pairs = [(i, j) for i, j in sample.tolist()]
    lines: list[tuple[str, ...]] = [(catalog.ids[i], catalog.ids[j], common_classes(catalog, i, j)) for i, j in pairs]
    return _Table(lines, sorted({i for pair in pairs for i in pair}))


def _groups(catalog: Catalog, presence: NDArray[np.bool_], rule: Rule) -> _Table:
    groups = presence & (presence.sum(0) > 1)
    if rule.per_class is not None:
        groups = balanced_groups(presence, rule.per_class, rule.most_uses, rule.seed)
    lines: list[tuple[str, ...]] = [(catalog.class_names[k], catalog.ids[i]) for k, i in np.argwhere(groups.T).tolist()]
    return _Table(lines, np.flatnonzero(groups.any(1)).tolist())


def files_of(catalog: Catalog, images: Iterable[int]) -> list[Path]:
    """Images and annotations of some images of a catalog; none: they are not on disk."""
    return sorted(set(catalog.files(images)))


def checksum_of(files: Sequence[Path]) -> str:
    """The checksum of files for the head of a benchmark file; their names and order do not count."""
    lines = "".join(f"{checksum}\n" for checksum in sorted(file_checksums(files)))
    return hashlib.sha256(lines.encode()).hexdigest()


def common_classes(catalog: Catalog, i: int, j: int) -> str:
    """The names of the common classes of two images, as a file has them."""
    return ";".join(catalog.class_names[k] for k in np.flatnonzero(catalog.presence[i] & catalog.presence[j]))


def read_benchmark(path: Path) -> Benchmark:
    """Read a benchmark file, which anybody may have written: as text, and compared with its checksum.

    Raises:
        CosegError: there is no such file, or it is no benchmark file, damaged, or of a newer format.
    """
    advice = "fetch it again, or write it with coseg-data pairs NAME --out FILE"
    try:
        data = read_bytes(path, advice, MAX_BYTES)
        text = data.decode("utf-8")
    except FileNotFoundError:
        raise CosegError(f"There is no benchmark file {path}: {advice}.") from None
    except UnicodeDecodeError as error:
        raise CosegError(f"{path} is no benchmark file (it is no text: {error}): {advice}.") from None
    try:
        facts, rest = _head(text)
        lines = list(csv.reader(io.StringIO(rest, newline=""), strict=True))
    except (csv.Error, ValueError) as error:
        raise CosegError(f"{path} is no benchmark file ({error}): {advice}.") from None
    if hashlib.sha256(_without_checksum(data)).hexdigest() != facts["sha256"]:
        raise CosegError(
            f"{path} is damaged: it is not as it was written (its SHA-256 differs from that in its head): {advice}."
        )
    columns = COLUMNS[facts["unit"]]
    table = lines[1:]
    if not lines or tuple(lines[0]) != columns or any(len(cells) != len(columns) for cells in table):
        raise CosegError(f"{path} is damaged (its columns are not {', '.join(columns)}): {advice}.")
    if facts["count"] != str(len(table)) or not table:
        count = facts["count"][:20]
        raise CosegError(f"{path} is damaged (it has {len(table)} lines, but its count is {count}): {advice}.")
    settings, files = facts.get("settings", ""), facts.get("files_sha256", "")
    dataset, split, unit, rule = (facts[key] for key in _NEEDED[:4])
    return Benchmark(path, dataset, split, unit, rule, settings, files, facts["sha256"], table)


def _head(text: str) -> tuple[dict[str, str], str]:
    """The facts of the head, and the text below it.

    Raises:
        ValueError: it is none.
    """
    facts: dict[str, str] = {}
    start = 0
    while text.startswith("# ", start) and len(facts) < MAX_HEAD:
        end = text.find("\n", start)
        line = text[start : end if end >= 0 else len(text)]
        key, colon, value = line[2:].partition(": ")
        if not colon or key in facts:
            raise ValueError(f"its line {line[:60]!r} is not '# key: value' of a new key")
        facts[key] = value
        start = end + 1 if end >= 0 else len(text)
    if FORMAT not in facts:
        raise ValueError(f"it does not begin with '# {FORMAT}: {VERSION}'")
    if facts[FORMAT] != VERSION:
        raise ValueError(f"its format is {facts[FORMAT][:20]!r}, and this version reads {VERSION}")
    if missing := [key for key in _NEEDED if key not in facts]:
        raise ValueError(f"its head lacks {', '.join(missing)}")
    if facts["unit"] not in COLUMNS:
        raise ValueError(f"its unit is {facts['unit'][:20]!r}, and must be one of {', '.join(COLUMNS)}")
    return facts, text[start:]


def _without_checksum(data: bytes) -> bytes:
    start = 0 if data.startswith(_CHECKSUM) else data.find(b"\n" + _CHECKSUM) + 1
    return data[:start] + data[data.find(b"\n", start) + 1 :]


def some(names: Sequence[str], what: str) -> str:
    """The number of names and the first ones, for a sentence: ``2 images (a, b)``."""
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {what} ({', '.join(name[:80] for name in names[:_NAMED])}{rest})"
