"""What a test has finished, on disk while it runs: an interrupted test goes on where it stopped."""

from __future__ import annotations

import io
import logging
import os
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coseg.errors import CosegError
from coseg.evaluation.counts import KEY
from coseg.files import atomic_path
from coseg.sealed import Changed, check_seal, seal

log = logging.getLogger(__name__)

_REFERENCE = "reference_"  # before the names of the sums in a file


Key = tuple[int, int]


class Part(NamedTuple):
    """Some finished pairs, or images of groups.

    Attributes:
        table: int64 (N, 14) or (N, 8), see `coseg.evaluation.counts`.
        decisions: float64 (N,), the logit that a pair has a common object; nan where nothing decides.
        references: the states of `ReferenceScores` after these masks alone, float64.
        seconds: how long they took.
    """

    table: NDArray[np.int64]
    decisions: NDArray[np.float64]
    references: Mapping[str, NDArray[np.float64]]
    seconds: float


class Journal:
    """The finished parts of one test, a file each, in a folder that is removed when the test is whole.

    Several processes may write into one folder. Each part names its test and has a checksum: parts of another test, of
    another checkpoint say, are thrown away when the journal is read, and so are damaged ones and those with rows of an
    earlier part; what was in them is tested anew.

    Args:
        folder: where the parts lie.
        test: a word for the test that changes with everything its scores depend on.
    """

    def __init__(self, folder: Path, test: str) -> None:
        self.folder = folder
        self.test = test

    def read(self) -> list[Part]:
        """The finished parts of this test; each row is in one of them."""
        parts = []
        thrown = damaged = 0
        seen: set[Key] = set()
        for path in sorted(self.folder.glob("[!.]*.npz")):
            try:
                part = self._read(path)
            except Changed:
                path.unlink(missing_ok=True)
                damaged += 1
                continue
            keys = set(keys_of([part])) if part is not None else set()
            if part is None or keys & seen:
                path.unlink(missing_ok=True)
                thrown += 1
                continue
            seen |= keys
            parts.append(part)
        if damaged:
            log.warning(f"{self.folder}: {damaged} damaged parts are thrown away; what was in them is tested anew")
        if thrown:
            log.info(
                f"{self.folder}: {thrown} parts of another test (other weights, images or settings) are thrown away"
            )
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
                names = [name for name in file.files if name.startswith(_REFERENCE)]
                references = {name.removeprefix(_REFERENCE): file[name] for name in names}
                return Part(table, decisions, references, float(file["seconds"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise Changed(str(error)) from error

    def write(self, part: Part) -> None:
        """Add a part: after this, its rows are never tested again.

        Raises:
            CosegError: the disk is full, or the folder can't be written.
        """
        data = io.BytesIO()
        arrays = {"table": part.table, "decisions": part.decisions, "seconds": np.array(part.seconds)}
        arrays |= {_REFERENCE + name: value for name, value in part.references.items()}
        np.savez(data, test=np.array(self.test), **arrays)  # type: ignore[arg-type]
        with told_what_stays(self.folder), atomic_path(self.folder / f"{time.time_ns()}-{os.getpid()}.npz") as path:
            path.write_bytes(data.getvalue())
            seal(path)

    def remove(self) -> None:
        """Take the folder away: the results are written."""
        for path in self.folder.glob("*.npz"):
            path.unlink(missing_ok=True)
        for path in self.folder.glob(".*.npz"):  # half of a part, of a process that was killed
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def keys_of(parts: Iterable[Part]) -> list[Key]:
    """What these parts have finished: pairs ``(i, j)``, or classes with an image of their group."""
    return [(first, second) for part in parts for first, second in part.table[:, :KEY].tolist()]


@contextmanager
def told_what_stays(folder: Path) -> Iterator[None]:
    """Turn a write that fails, on a full disk say, into a sentence.

    Args:
        folder: of the journal.
    """
    try:
        yield
    except OSError as error:
        raise CosegError(
            f"The test can't write its results ({error.strerror or error}). What it finished stays in "
            f"{folder}: make room, and run the same command again; it goes on where it stopped."
        ) from error
