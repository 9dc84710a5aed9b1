"""A cache of decoded images that all worker processes share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coseg.data.catalog import Catalog
from coseg.files import temporary_folder

_HEADER = 128  # bytes of a .npy file before its pixels


class CachedCatalog(Catalog):
    """A catalog whose decoded images and label maps are kept as raw arrays in a temporary folder.

    Whichever process decodes an image first writes it; the others read it back from the page cache, so all workers
    share one copy. The folder is removed with the process that made the catalog.

    Args:
        catalog: the catalog to read from.
        gigabytes: bound on the folder's size; past it, images are decoded each time.
        processes: how many processes read at once: each may fill its share of the bound.
    """

    def __init__(self, catalog: Catalog, gigabytes: float, processes: int = 1) -> None:
        super().__init__(
            catalog.name, catalog.split, catalog.ids, catalog.class_names, catalog.presence, catalog.expected
        )
        self.catalog = catalog
        self._temporary = temporary_folder("coseg-cache")
        self.folder = Path(self._temporary.name)
        self._bytes = int(gigabytes * 1e9)
        self._processes = max(1, processes)
        self._budget = 0  # what this process may still write
        self._pid = -1  # of the process that `_budget` holds for

    def __getstate__(self) -> dict[str, object]:
        # The folder belongs to the process that made it: a copy in a worker must not remove it.
        return {**self.__dict__, "_temporary": None}

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Catalog.image`."""
        return self._cached(i, "image")

    def labels(self, i: int) -> NDArray[np.uint8]:
        """See `Catalog.labels`."""
        return self._cached(i, "labels")

    def files(self) -> Iterator[Path]:
        """See `Catalog.files`."""
        return self.catalog.files()

    def _cached(self, i: int, kind: str) -> NDArray[np.uint8]:
        path = self.folder / f"{i}-{kind}.npy"
        if path.exists():
            array: NDArray[np.uint8] = np.load(path)
            return array
        array = self.catalog.image(i) if kind == "image" else self.catalog.labels(i)
        if array.nbytes + _HEADER <= self._left():
            partial = path.with_suffix(f".{os.getpid()}")
            try:
                with partial.open("wb") as file:
                    np.save(file, array)
                partial.replace(path)
                self._budget -= array.nbytes + _HEADER
            except OSError:  # a full disk costs speed, not the run
                partial.unlink(missing_ok=True)
                self._budget = 0
        return array

    def _left(self) -> int:
        # Workers are started again for each fit: new ones share what their predecessors left of the bound.
        if self._pid != os.getpid():
            self._pid = os.getpid()
            used = sum(file.stat().st_size for file in self.folder.glob("*.npy")) if self.folder.is_dir() else 0
            self._budget = (self._bytes - used) // self._processes
        return self._budget
