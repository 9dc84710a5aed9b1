"""Where a command puts what it makes: the run directory, or the folder of a sweep with a directory for each job."""

from __future__ import annotations

import datetime
import os
from contextlib import suppress
from pathlib import Path

from coseg.cli.ranks import ask_folder, tell_folder, this_job

SWEEP = "COSEG_SWEEP_DIR"
"""Environment variable that tells jobs in processes of their own, in which the clock has moved on, their sweep."""

_chosen: dict[tuple[str, str, str | None], Path] = {}
"""By the arguments of `run_directory`: of one process always the same."""

_new_folders: list[Path] = []
"""The run directory and those above it, as far as they were not there when it was chosen."""


def run_directory(runs: str, name: str, resume: str | None) -> str:
    """``<runs>/<name>/<time>``, or the directory that is resumed; of one process always the same.

    The name is chosen here, but the directory made by `claim_directory`: a configuration that is only shown leaves
    none. Of a job of several processes, that of rank 0.
    """
    key = (runs, name, resume)
    if key not in _chosen:
        job = this_job()
        if resume is not None:
            folder = Path(resume).resolve()
        elif job is not None and job.rank > 0:
            folder = ask_folder(job, Path(runs).resolve())
        else:
            started = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
            folder = _first_free(Path(runs, name, started).resolve())
        if job is None or job.rank == 0:
            _new_folders.extend(path for path in (folder, *folder.parents) if not path.exists())
        _chosen[key] = folder
    return str(_chosen[key])


def sweep_directory(runs: str, name: str) -> str:
    """``<runs>/<name>/sweeps/<time>``; in a job of a launcher that of the process which started the sweep."""
    return os.environ.setdefault(SWEEP, run_directory(runs, f"{name}/sweeps", None))


def claim_directory(folder: Path) -> Path:
    """Make a directory that `run_directory` has chosen, or the next free one: two runs may start in one second.

    A directory that is resumed, or that a user chose, is taken as it is. From here on `run_directory` gives what is
    made, and the other processes of a job get it.

    Raises:
        OSError: it can't be made.
        CosegError: the job's other processes did not come.
    """
    job = this_job()
    for (runs, name, resume), chosen in list(_chosen.items()):
        if chosen != folder or resume is not None or (job is not None and job.rank > 0):
            continue
        left = 3
        while True:
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.mkdir()
                break
            except FileExistsError:
                if not folder.parent.is_dir():
                    raise
                folder = _first_free(folder)
            except FileNotFoundError:  # another process took away the folder above, which it had made for nothing
                left -= 1
                if not left:
                    raise
        _chosen[runs, name, resume] = folder
        if folder != chosen:
            _new_folders[:] = [folder if path == chosen else path for path in _new_folders]
            if os.environ.get(SWEEP) == str(chosen):
                os.environ[SWEEP] = str(folder)
        if job is not None:
            tell_folder(job, Path(runs).resolve(), folder)
    return folder


def _first_free(folder: Path) -> Path:
    """`folder`, or with the next number behind it that is not there."""
    stem, _, last = folder.name.rpartition("_")
    base, number = (stem, int(last)) if last.isdecimal() and len(last) < 6 and stem.count("_") else (folder.name, 1)
    while os.path.lexists(folder):
        number += 1
        folder = folder.with_name(f"{base}_{number}")
    return folder


def forget_places() -> None:
    """Choose anew: a command starts."""
    _chosen.clear()
    _new_folders.clear()
    os.environ.pop(SWEEP, None)


def remove_empty_folders(output: Path) -> None:
    """Take away what a job left empty that failed, or only checked: Hydra makes the run directory before it starts."""
    inside = [output] if any(folder in output.parents for folder in _new_folders) else []
    for folder in sorted({*inside, *_new_folders}, key=lambda path: -len(path.parts)):
        with suppress(OSError):  # not there, or not empty
            folder.rmdir()
