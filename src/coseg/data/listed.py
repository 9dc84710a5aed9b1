"""What a benchmark file lists in a catalog: pairs, or groups; a file of other data is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coseg.data.benchmark import Benchmark, checksum_of, common_classes, files_of, some
from coseg.data.catalog import Catalog
from coseg.errors import CosegError


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
        common = common_classes(catalog, i, j) if i != j else ""
        if not common or common != classes:
            settings = f", and read with {benchmark.settings[:200]}" if benchmark.settings else ""
            raise CosegError(
                f"{benchmark.path} has the pair {name_a}, {name_b} with the common classes '{classes[:60]}', which has "
                f"'{common}' in {catalog.name}/{catalog.split}: is it of the same release{settings}?"
            )
    _require_files(benchmark, catalog, np.unique(pairs).tolist())
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
        raise CosegError(f"{benchmark.path} has {some(list(lacking), 'groups')} that {catalog.name} has no class for.")
    masks = np.array([[places[image], numbers[group]] for group, image in benchmark.table])
    _require_unique(benchmark, masks.tolist())
    presence = np.zeros_like(catalog.presence)
    presence[masks[:, 0], masks[:, 1]] = True
    absent = [f"{catalog.ids[i]} ({catalog.class_names[k]})" for i, k in np.argwhere(presence & ~catalog.presence)]
    if absent:
        raise CosegError(
            f"{benchmark.path} has {some(absent, 'images')} in a group whose class they do not show in "
            f"{catalog.name}/{catalog.split}: is it of the same release?"
        )
    if single := [catalog.class_names[k] for k in np.flatnonzero(presence.sum(0) == 1)]:
        raise CosegError(f"{benchmark.path} has {some(single, 'groups')} of one image: a group needs two at least.")
    _require_files(benchmark, catalog, np.flatnonzero(presence.any(1)).tolist())
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

    def files(self, images: Iterable[int] | None = None) -> Iterator[Path]:
        """See `Catalog.files`."""
        return self.catalog.files(images)


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


def _require_files(benchmark: Benchmark, catalog: Catalog, images: Iterable[int]) -> None:
    """Compare images and annotations with the checksum of a file that has one."""
    if not benchmark.files_sha256 or not (files := files_of(catalog, images)):
        return
    if checksum_of(files) != benchmark.files_sha256:
        raise CosegError(
            f"{benchmark.path} was made with other images or annotations than those of {catalog.name}/{catalog.split}, "
            f"whose names are the same: the checksum of the {len(files)} files differs. Unpack the release again, or "
            "write a list of your own with coseg-data pairs."
        )


def _places(benchmark: Benchmark, catalog: Catalog, names: Iterable[str]) -> dict[str, int]:
    places = {name: i for i, name in enumerate(catalog.ids)}
    lacking = dict.fromkeys(name for name in names if name not in places)
    if lacking:
        raise CosegError(
            f"{benchmark.path} has {some(list(lacking), 'images')} that {catalog.name}/{catalog.split} lacks: is it "
            "of the same release, and complete?"
        )
    return places


def _require_unique(benchmark: Benchmark, keys: list[list[int]]) -> None:
    seen: set[tuple[int, ...]] = set()
    for key, cells in zip(map(tuple, keys), benchmark.table, strict=True):
        if key in seen:
            raise CosegError(f"{benchmark.path} has {', '.join(cells[:2])} twice: take another file.")
        seen.add(key)
