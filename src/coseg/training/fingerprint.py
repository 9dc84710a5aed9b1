"""A word for a test that changes with everything its scores depend on: what was finished belongs to that test alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from coseg.data.catalog import Catalog
from coseg.data.images import damaged


def fingerprint(checkpoint: Path, catalog: Catalog, facts: Iterable[Any]) -> str:
    """The fingerprint of a test.

    Images and label maps count by their content, not by the times of their files: those that are replaced under the
    same names are others, those that are copied or unpacked again are not. Files are read once more for it, which takes
    a small part of the time to decode them.

    Args:
        checkpoint: whose content counts too.
        catalog: the tested images.
        facts: whatever else the scores depend on, as JSON can hold it.

    Raises:
        CosegError: a file can't be read.
    """
    return _digest(
        [
            _content(checkpoint),
            catalog.name,
            catalog.split,
            catalog.ids,
            catalog.class_names,
            np.packbits(catalog.presence).tobytes().hex(),
            _contents(catalog.files()),
            *facts,
        ]
    )


def _contents(files: Iterable[Path]) -> str:
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing releases the interpreter's lock
        return _digest(list(pool.map(_content, files)))


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise damaged(path, error) from error


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
