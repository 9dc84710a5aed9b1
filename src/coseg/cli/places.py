"""Where a command puts what it makes: the run directory, or the folder of a sweep with a directory for each job."""

from __future__ import annotations

import datetime
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

SWEEP = "COSEG_SWEEP_DIR"
"""Environment variable that tells jobs in processes of their own, in which the clock has moved on, their sweep."""

_new_folders: list[Path] = []
"""The run directory and those above it, as far as they were not there when it was chosen."""


@cache
def run_directory(runs: str, name: str, resume: str | None) -> str:
    """``<runs>/<name>/<time>``, or the directory that is resumed; of one process always the same."""
    if resume is not None:
        folder = Path(resume).resolve()
    else:
        started = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        folder = first = Path(runs, name, started).resolve()
        number = 2
        while folder.exists():  # two runs started in one second
            folder = first.with_name(f"{started}_{number}")
            number += 1
    _new_folders.extend(path for path in (folder, *folder.parents) if not path.exists())
    return str(folder)


def sweep_directory(runs: str, name: str) -> str:
    """``<runs>/<name>/sweeps/<time>``; in a job of a launcher that of the process which started the sweep."""
    return os.environ.setdefault(SWEEP, run_directory(runs, f"{name}/sweeps", None))


def forget_places() -> None:
    """Choose anew: a command starts."""
    run_directory.cache_clear()
    _new_folders.clear()
    os.environ.pop(SWEEP, None)


def remove_empty_folders(output: Path) -> None:
    """Take away what a job left empty that failed, or only checked: Hydra makes the run directory before it starts."""
    inside = [output] if any(folder in output.parents for folder in _new_folders) else []
    for folder in sorted({*inside, *_new_folders}, key=lambda path: -len(path.parts)):
        with suppress(OSError):  # not there, or not empty
            folder.rmdir()
