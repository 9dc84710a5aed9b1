"""Files of ``torch.save``, read as primitives and tensors, with no more memory than the file has bytes."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from coseg.errors import CosegError
from coseg.plain_data import require_regular_file

MAX_BYTES = 32 * 2**30
"""Of weights, in a file and in memory: a hundred times the largest encoder that coseg has."""


def read_torch_file(path: Path, refusal: str) -> Any:
    """What a file of ``torch.save`` holds. Only primitives and tensors are unpickled, and nothing is run.

    Args:
        path: of the file.
        refusal: the sentence for a file that can't be read.

    Raises:
        CosegError: it is no regular file, no such file, damaged, or stands for more than it has bytes.
        FileNotFoundError: there is none.
    """
    size = require_regular_file(path, "give a file")
    if size > MAX_BYTES:
        raise CosegError(f"{path} has {size:,} bytes; coseg reads at most {MAX_BYTES:,}.")
    try:
        if zipfile.is_zipfile(path):  # as torch has written since 1.6, and Lightning always
            _require_stored(path, size)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file, whatever zipfile or the unpickler stumbles over
        raise CosegError(refusal) from error


def _require_stored(path: Path, size: int) -> None:
    """Refuse an archive whose parts take more memory than it has bytes: torch writes them as they are."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    packed = any(part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size for part in parts)
    if packed or sum(part.file_size for part in parts) > size:
        raise ValueError("its parts are larger than the file")
