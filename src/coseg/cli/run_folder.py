"""Where a command puts what it makes: the folder of a run or sweep, chosen, checked and made before Hydra would."""

from __future__ import annotations

import datetime
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from coseg.cli.sentences import report_error
from coseg.errors import CosegError
from coseg.files.writing import require_writable, short_path
from coseg.hydra_internals import hydra_config
from coseg.training.launched import ask_folder, tell_folder, this_job
from coseg.training.slurm import folder_name, is_restarted

SWEEP = "COSEG_SWEEP_DIR"
"""Environment variable that tells jobs in processes of their own, in which the clock has moved on, their sweep."""

_chosen: dict[tuple[str, str, str | None], Path] = {}
"""By the arguments of `run_directory`: of one process always the same."""

_new_folders: list[Path] = []
"""The run directory and those above it, as far as they were not there when it was chosen."""


def run_directory(runs: str, name: str, resume: str | None) -> str:
    """``<runs>/<name>/<time>``, or the directory that is resumed; of one process always the same.

    The name is chosen here, but the directory made by `claim_directory`: a configuration that is only shown leaves
    none. Of a job of several processes, that of rank 0. A job of SLURM that is queued again has the directory that it
    had before.
    """
    key = (runs, name, resume)
    if key not in _chosen:
        job = this_job()
        if resume is not None:
            folder = Path(resume).resolve()
        elif job is not None and job.rank > 0:
            folder = ask_folder(job, Path(runs).resolve())
        else:
            started = folder_name() or datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
            folder = Path(runs, name, started).resolve()
            if not is_restarted():
                folder = _first_free(folder)
        if job is None or job.rank == 0:
            _new_folders.extend(path for path in (folder, *folder.parents) if not path.exists())
        _chosen[key] = folder
    return str(_chosen[key])


def sweep_directory(runs: str, name: str) -> str:
    """``<runs>/<name>/sweeps/<time>``; in a job of a launcher that of the process which started the sweep."""
    return os.environ.setdefault(SWEEP, run_directory(runs, f"{name}/sweeps", None))


def register_folders() -> None:
    """Let configurations refer to ``${coseg.run_dir:runs,name,resume}`` and ``${coseg.sweep_dir:runs,name}``."""
    OmegaConf.register_new_resolver("coseg.run_dir", run_directory, replace=True)
    OmegaConf.register_new_resolver("coseg.sweep_dir", sweep_directory, replace=True)


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
                if is_restarted():
                    break
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


ADVICE = "choose another place with runs=… (and name=…), or make room"


class BeforeRun(Callback):
    """A part of Hydra, which makes folders itself and gives a traceback where it can't.

    Hydra turns the exceptions of callbacks into warnings, so a mistake ends the process here.

    Args:
        command: ``train`` or ``test``.
    """

    def __init__(self, command: str) -> None:
        self.command = command

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check settings and place of a single run."""
        _end_with_sentence(lambda: self._run(config))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check the place of a sweep; the settings of a job are its own."""
        _end_with_sentence(lambda: self._sweep(config))

    def _sweep(self, config: DictConfig) -> None:
        _make(_folder(config, "hydra.sweep.dir"))

    def _run(self, config: DictConfig) -> None:
        from coseg.settings.check import UnresolvedError, check_settings

        with hydra_config(config):  # settings may refer to those of Hydra
            settings = config.copy()
            with read_write(settings), open_dict(settings):
                del settings["hydra"]
            with suppress(UnresolvedError):  # perhaps it refers to the run's folder: checked again once there is one
                check_settings(settings, self.command)
            folder = _folder(config, "hydra.run.dir")
            if self.command == "train" or not folder.is_dir():  # a test writes to the run that it tests
                _make(folder)


def _make(folder: Path) -> None:
    """Make a folder that is this command's alone, and see that files can be written there; else leave none."""
    try:
        try:
            folder = claim_directory(folder)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise CosegError(f"Nothing can be written to {short_path(folder)} ({reason}): {ADVICE}.") from None
        require_writable(folder, ADVICE, keep=True)
    except CosegError:
        remove_empty_folders(folder)
        raise


def _folder(config: DictConfig, key: str) -> Path:
    try:
        return Path(str(OmegaConf.select(config, key)))
    except OmegaConfBaseException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__context__  # OmegaConf takes it out of __cause__
        if cause is not None:  # a name that the system does not take, or a place that `run_directory` could not make
            where = short_path(cause.filename)
            raise CosegError(f"Nothing can be written to {where} ({cause.strerror}): {ADVICE}.") from None
        reason = " ".join(str(error).split())
        raise CosegError(f"{key} can't be resolved ({reason}): {ADVICE}.") from None


def _end_with_sentence(job: Any) -> None:
    try:
        job()
    except Exception as error:
        code = report_error(error)
        if code is None:
            raise
        raise SystemExit(code) from None
