"""Benchmark files: the pairs of a test, or the images of its groups, as a table with a checksum, for any program.

A file is CSV in UTF-8 below a head of lines ``# key: value``::

    # coseg-benchmark: 1
    # dataset: voc
    # split: test
    # unit: pair
    # rule: all pairs of images of the split that share a class; the foreground is the union of the common classes
    # images: 725
    # count: 37700
    # sha256: 0f3c…
    image_a,image_b,classes
    2007_000033,2007_000042,aeroplane;person

The checksum is that of all other lines: ``grep -v '^# sha256: ' FILE | sha256sum``. Of groups the columns are ``group``
and ``image``.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coseg.data.catalog import Catalog
from coseg.data.pair_index import PairIndex
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
        sha256: the checksum.
        table: the cells of each line, see `COLUMNS`.
    """

    path: Path
    dataset: str
    split: str
    unit: str
    rule: str
    sha256: str
    table: list[list[str]]


def write_benchmark(path: Path, catalog: Catalog, unit: str = "pair") -> int:
    """Write all pairs of a catalog, or the images of all its groups.

    Returns:
        How many lines the table has.

    Raises:
        OSError: the file can't be written.
    """
    index = PairIndex(catalog.presence)
    classes = np.flatnonzero(catalog.presence.sum(0) > 1).tolist()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS[unit])
    if unit == "pair":
        count = len(index)
        pairs = (index[k] for k in range(count))
        writer.writerows((catalog.ids[i], catalog.ids[j], _common(catalog, i, j)) for i, j in pairs)
    else:
        masks = [(k, i) for k in classes for i in np.flatnonzero(catalog.presence[:, k]).tolist()]
        count = len(masks)
        writer.writerows((catalog.class_names[k], catalog.ids[i]) for k, i in masks)
    facts = {FORMAT: VERSION, "dataset": catalog.name, "split": catalog.split, "unit": unit, "rule": RULES[unit]}
    facts |= {"images": str(len(catalog)), "count": str(count)}
    head = "".join(f"# {key}: {' '.join(value.split())}\n" for key, value in facts.items()).encode()
    table = text.getvalue().encode()
    checksum = _CHECKSUM + hashlib.sha256(head + table).hexdigest().encode() + b"\n"
    with atomic_path(path) as temporary:
        temporary.write_bytes(head + checksum + table)
    return count


def _common(catalog: Catalog, i: int, j: int) -> str:
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
    return Benchmark(path, facts["dataset"], facts["split"], facts["unit"], facts["rule"], facts["sha256"], table)


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


def listed_pairs(benchmark: Benchmark, catalog: Catalog) -> NDArray[np.int64]:
    """The pairs ``i < j`` of a file in its order, int64 (N, 2).

    Raises:
        CosegError: the file is of another data set or split, of groups, or names what the catalog lacks; a pair
            comes twice, or has other common classes than in the catalog.
    """
    _require_same(benchmark, catalog, "pair")
    places = _places(benchmark, catalog, (name for cells in benchmark.table for name in cells[:2]))
    pairs = np.sort(np.array([[places[a], places[b]] for a, b, _ in benchmark.table], np.int64), axis=1)
    _require_unique(benchmark, pairs.tolist())
    for (i, j), (name_a, name_b, classes) in zip(pairs.tolist(), benchmark.table, strict=True):
        common = _common(catalog, i, j) if i != j else ""
        if not common or common != classes:
            raise CosegError(
                f"{benchmark.path} has the pair {name_a}, {name_b} with the common classes '{classes[:60]}', which has "
                f"'{common}' in {catalog.name}/{catalog.split}: is it of the same release?"
            )
    return pairs


def listed_groups(benchmark: Benchmark, catalog: Catalog) -> NDArray[np.bool_]:
    """Which image of a catalog is in which group of a file, bool (N, K): part of the catalog's `presence`.

    Raises:
        CosegError: as `listed_pairs`; or a group is no class, has one image, or an image without its class.
    """
    _require_same(benchmark, catalog, "group")
    places = _places(benchmark, catalog, (image for _, image in benchmark.table))
    numbers = {name: k for k, name in enumerate(catalog.class_names)}
    lacking = dict.fromkeys(group for group, _ in benchmark.table if group not in numbers)
    if lacking:
        raise CosegError(f"{benchmark.path} has {_some(list(lacking), 'groups')} that {catalog.name} has no class for.")
    masks = np.array([[places[image], numbers[group]] for group, image in benchmark.table])
    _require_unique(benchmark, masks.tolist())
    presence = np.zeros_like(catalog.presence)
    presence[masks[:, 0], masks[:, 1]] = True
    absent = [f"{catalog.ids[i]} ({catalog.class_names[k]})" for i, k in np.argwhere(presence & ~catalog.presence)]
    if absent:
        raise CosegError(
            f"{benchmark.path} has {_some(absent, 'images')} in a group whose class they do not show in "
            f"{catalog.name}/{catalog.split}: is it of the same release?"
        )
    if single := [catalog.class_names[k] for k in np.flatnonzero(presence.sum(0) == 1)]:
        raise CosegError(f"{benchmark.path} has {_some(single, 'groups')} of one image: a group needs two at least.")
    return presence


class ListedCatalog(Catalog):
    """A catalog whose groups are those of a benchmark file.

    Args:
        catalog: the catalog to read from.
        presence: of `listed_groups`.
    """

    def __init__(self, catalog: Catalog, presence: NDArray[np.bool_]) -> None:
        super().__init__(catalog.name, catalog.split, catalog.ids, catalog.class_names, presence, catalog.expected)
        self.catalog = catalog

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Catalog.image`."""
        return self.catalog.image(i)

    def labels(self, i: int) -> NDArray[np.uint8]:
        """See `Catalog.labels`."""
        return self.catalog.labels(i)

    def files(self) -> Iterator[Path]:
        """See `Catalog.files`."""
        return self.catalog.files()


def require_unit(benchmark: Benchmark, unit: str) -> None:
    """Refuse a file of pairs for groups, and the reverse.

    Raises:
        CosegError: the file's unit is another one.
    """
    if benchmark.unit != unit:
        raise CosegError(
            f"{benchmark.path} lists {benchmark.unit}s, and the test is of {unit}s: choose the protocol or the file "
            "that fits."
        )


def _require_same(benchmark: Benchmark, catalog: Catalog, unit: str) -> None:
    if (benchmark.dataset, benchmark.split) != (catalog.name, catalog.split):
        raise CosegError(
            f"{benchmark.path} is of {benchmark.dataset[:60]}/{benchmark.split[:60]}, and the test of "
            f"{catalog.name}/{catalog.split}: give its dataset= and split=, or another file."
        )
    require_unit(benchmark, unit)


def _places(benchmark: Benchmark, catalog: Catalog, names: Iterable[str]) -> dict[str, int]:
    places = {name: i for i, name in enumerate(catalog.ids)}
    lacking = dict.fromkeys(name for name in names if name not in places)
    if lacking:
        raise CosegError(
            f"{benchmark.path} has {_some(list(lacking), 'images')} that {catalog.name}/{catalog.split} lacks: is it "
            "of the same release, and complete?"
        )
    return places


def _require_unique(benchmark: Benchmark, keys: list[list[int]]) -> None:
    seen: set[tuple[int, ...]] = set()
    for key, cells in zip(map(tuple, keys), benchmark.table, strict=True):
        if key in seen:
            raise CosegError(f"{benchmark.path} has {', '.join(cells[:2])} twice: take another file.")
        seen.add(key)


def _some(names: Sequence[str], what: str) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {what} ({', '.join(name[:80] for name in names[:_NAMED])}{rest})"
