"""Checkpoints on disk: each is written beside its place and renamed, and knows its checksum."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from coseg.errors import CosegError
from coseg.files import atomic_path
from coseg.sealed import Changed, check_seal, seal
from coseg.torch_file import read_torch_file


class SealedCheckpointIO(TorchCheckpointIO):
    """How Lightning writes and reads checkpoints in local files.

    Lightning's own writes to the temporary directory and moves the file from there; on another file system that is a
    copy over the earlier checkpoint, of which a killed process leaves half.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`, where the earlier one stays until the new one is whole and on the disk.

        Raises:
            CosegError: it can't be written, since the disk is full, say; the earlier one is still there.
            TypeError: there are `storage_options`, which local files do not have.
        """
        if storage_options is not None:
            raise TypeError(f"{type(self).__name__} takes no storage_options.")
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, and nothing but data from it.

        Raises:
            CosegError: it is damaged.
            FileNotFoundError: there is none.
        """
        path = Path(path)
        refusal = f"{path} can't be read as a checkpoint: it is damaged, or it is another kind of file"
        found: dict[str, Any] = read_torch_file(path, f"{refusal}.")
        try:
            check_seal(path)
        except Changed as error:
            raise CosegError(f"{refusal} ({error}).") from None
        return found

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file; its name is no pattern, whatever is in it."""
        Path(path).unlink(missing_ok=True)


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write `checkpoint` as a whole or not at all; see `SealedCheckpointIO.save_checkpoint`.

    Raises:
        CosegError: it can't be written.
    """
    try:
        with atomic_path(path) as temporary:
            # An open file rather than its name: what the system says of a full disk is lost otherwise.
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
            seal(temporary)
            _to_disk(temporary)
        with suppress(OSError):  # not every system has folders that can be opened
            _to_disk(path.parent)
    except OSError as error:
        raise _unwritten(path, error.strerror or str(error)) from error
    except RuntimeError as error:  # of torch's writer, which has met an error of the system's
        if "PytorchStreamWriter" not in str(error) and "unexpected pos" not in str(error):
            raise
        cause = error.__context__
        reason = cause.strerror if isinstance(cause, OSError) else None
        raise _unwritten(path, reason or " ".join(str(cause or error).split())) from error


def _to_disk(path: Path) -> None:
    """After this a power cut leaves the file, or the folder, as it is."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritten(path: Path, reason: str) -> CosegError:
    rest = "The earlier one is untouched" if path.exists() else "There is no earlier one"
    return CosegError(
        f"The checkpoint {path} can't be written ({reason}). {rest}: make room, or see that the folder can be written, "
        "and resume it with resume= and the directory of the run."
    )
