"""Partial results of a test on disk, so that an interrupted test is resumed; and the fingerprint of a test."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coseg.data.catalog import Catalog, file_checksum, file_checksums
from coseg.errors import CosegError
from coseg.files.seals import Changed, check_seal, seal
from coseg.files.writing import atomic_path
from coseg.metrics.mask_counts import KEY

log = logging.getLogger(__name__)

_BASELINE = "reference_"
"""In a file, before the names of the sums of the baselines; as earlier versions wrote it."""

_METRIC = "metric_"
"""Likewise before those of the metrics of a user."""

Key = tuple[int, int]
"""What is tested: a pair ``(i, j)``, or a class with an image of its group."""


class Part(NamedTuple):
    """Some finished pairs, or images of groups.

    Attributes:
        table: int64 (N, 14) or (N, 8), see `coseg.metrics.mask_counts.counts_table`.
        decisions: float64 (N,), the logit that a pair has a common object; nan without an image-level classifier.
        baselines: the states of `BaselineScores` after these masks alone, float64.
        seconds: how long they took.
        metrics: of the user, the states of each after these masks alone, by the names of metric and state.
    """

    table: NDArray[np.int64]
    decisions: NDArray[np.float64]
    baselines: Mapping[str, NDArray[np.float64]]
    seconds: float
    metrics: Mapping[str, Mapping[str, NDArray[Any]]] = {}


class PartialResults:
    """The finished parts of one test, a file each, in a folder that is removed when the test is complete.

    Several processes may write into one folder. Each part names its test and has a checksum. Parts of another test (of
    another checkpoint, for example), damaged parts and parts with records of an earlier part are deleted when they are
    read, and their contents are tested again.

    Args:
        folder: of the parts.
        test: see `fingerprint`.
    """

    def __init__(self, folder: Path, test: str) -> None:
        self.folder = folder
        self.test = test

    def read(self) -> list[Part]:
        """The finished parts of this test; each record is in one of them."""
        parts = []
        foreign = broken = 0
        seen: set[Key] = set()
        for path in sorted(self.folder.glob("[!.]*.npz")):
            try:
                part = self._read(path)
            except Changed:
                path.unlink(missing_ok=True)
                broken += 1
                continue
            keys = set(keys_of([part])) if part is not None else set()
            if part is None or keys & seen:
                path.unlink(missing_ok=True)
                foreign += 1
                continue
            seen |= keys
            parts.append(part)
        if broken:
            log.warning(f"{self.folder}: {broken} damaged parts are deleted; their pairs are tested again")
        if foreign:
            log.info(f"{self.folder}: {foreign} parts of another test (other weights, images or settings) are deleted")
        return parts

    def _read(self, path: Path) -> Part | None:
        """The part in a file; None if it is of another test.

        Raises:
            Changed: it is damaged.
        """
        try:
            check_seal(path, needed=True)
            with np.load(path, allow_pickle=False) as file:
                table, decisions = file["table"], file["decisions"]
                if str(file["test"]) != self.test or table.ndim != 2 or decisions.shape != table.shape[:1]:
                    return None
                names = [name for name in file.files if name.startswith(_BASELINE)]
                baselines = {name.removeprefix(_BASELINE): file[name] for name in names}
                metrics: dict[str, dict[str, NDArray[Any]]] = {}
                for name in (name for name in file.files if name.startswith(_METRIC)):
                    metric, _, state = name.removeprefix(_METRIC).partition(".")
                    metrics.setdefault(metric, {})[state] = file[name]
                return Part(table, decisions, baselines, float(file["seconds"]), metrics)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise Changed(str(error)) from error

    def write(self, part: Part) -> None:
        """Add a part: after this, its records are never tested again.

        Raises:
            CosegError: the disk is full, or the folder can't be written.
        """
        data = io.BytesIO()
        arrays = {"table": part.table, "decisions": part.decisions, "seconds": np.array(part.seconds)}
        arrays |= {_BASELINE + name: value for name, value in part.baselines.items()}
        arrays |= {
            f"{_METRIC}{of}.{name}": value for of, states in part.metrics.items() for name, value in states.items()
        }
        np.savez(data, test=np.array(self.test), **arrays)  # type: ignore[arg-type]
        with explain_write_error(self.folder), atomic_path(self.folder / f"{time.time_ns()}-{os.getpid()}.npz") as path:
            path.write_bytes(data.getvalue())
            seal(path)

    def remove(self) -> None:
        """Delete the folder, once the results are written."""
        for path in self.folder.glob("*.npz"):
            path.unlink(missing_ok=True)
        for path in self.folder.glob(".*.npz"):  # unfinished, of a process that was killed
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def keys_of(parts: Iterable[Part]) -> list[Key]:
    """What these parts have finished."""
    return [(first, second) for part in parts for first, second in part.table[:, :KEY].tolist()]


@contextmanager
def explain_write_error(folder: Path) -> Iterator[None]:
    """Turn a failed write, on a full disk for example, into an error that names what stays.

    Args:
        folder: of the partial results.

    Raises:
        CosegError: the write failed.
    """
    try:
        yield
    except OSError as error:
        raise CosegError(
            f"The test can't write its results ({error.strerror or error}). What it finished stays in "
            f"{folder}: make room, and run the same command again; it resumes there."
        ) from error


def fingerprint(weights: Path | Sequence[Path], catalog: Catalog, facts: Iterable[Any]) -> str:
    """A digest of everything that the scores of a test depend on.

    Of images, label maps and the checkpoint it takes the content, not the times of their files: it changes when they
    are replaced under the same names, and not when they are copied or unpacked again. The files are read once more for
    it, which takes a small part of the time to decode them.

    Args:
        weights: the checkpoint of the tested network, or the files of the tested masks.
        catalog: the tested images.
        facts: whatever else the scores depend on, as JSON can hold it.

    Raises:
        CosegError: a file can't be read.
    """
    return _digest(
        [
            file_checksum(weights) if isinstance(weights, Path) else _digest(file_checksums(weights)),
            catalog.name,
            catalog.split,
            catalog.ids,
            catalog.class_names,
            np.packbits(catalog.presence).tobytes().hex(),
            _digest(file_checksums(catalog.files())),
            *facts,
        ]
    )


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
