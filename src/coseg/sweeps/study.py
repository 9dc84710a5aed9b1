"""A study of Optuna in a folder: Optuna's log of the trials, and a run directory for each trial.

Any number of processes, on any machines that share the folder, work on one study. Each resumes a trial that was
stopped, or samples a new one, until the study has all of its trials. `coseg.sweeps.search` runs them.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coseg.data.pair_index import mix
from coseg.errors import CosegError
from coseg.files.plain_data import read_json
from coseg.files.writing import remove_leftovers, write_text_atomically
from coseg.instantiate import make
from coseg.sweeps.processes import locked, try_lock
from coseg.sweeps.space import Space, contains

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

TRIALS_LOG, LOCK, OVERRIDES = "journal.log", ".lock", "overrides.json"
"""Files in the folder of a study: Optuna's log, a lock (also in the folder of each trial), and the search space."""

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
"""Optuna's states of a trial, and the words for them."""

NAME = "study"
"""In Optuna's log, which holds one study: the name of its folder is the name that users see."""


def require_optuna() -> None:
    """Check for the package without importing it.

    Raises:
        CosegError: Optuna is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise CosegError("A study needs Optuna, which is not installed: pip install 'coseg[sweep]'.")


def open_study(folder: Path, space: Space) -> optuna.Study:
    """The study in `folder`, which is created where there is none.

    Raises:
        CosegError: the study there searches another space, is damaged, or lacks a file.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with locked(folder / LOCK):
        remove_leftovers(folder)
        path = folder / OVERRIDES
        if (folder / TRIALS_LOG).is_file():
            cut_unfinished_record(folder / TRIALS_LOG)
        _require_all_files(folder)
        if not path.exists():
            write_text_atomically(path, json.dumps(space.words, indent=2, ensure_ascii=False) + "\n")
        earlier = read_json(path, "remove the folder, or give another study.name", verbatim=True)
        if earlier != space.words:
            raise CosegError(
                f"{folder} holds a study of another search space ({str(earlier)[:500]}): give this one another name, "
                f"such as study.name={folder.name}_2, or remove the folder."
            )
        with _damage_as_error(folder):
            study = optuna.create_study(
                study_name=NAME, storage=_storage(folder), direction="maximize", load_if_exists=True
            )
            study.get_trials(deepcopy=False)
            return study


def read_study(folder: Path) -> optuna.Study:
    """The study in `folder`, for reading.

    Raises:
        CosegError: it is damaged, or holds no study; Optuna is not installed.
    """
    require_optuna()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not (folder / TRIALS_LOG).is_file():  # Optuna would create one, or wait for a pipe
        raise CosegError(f"{folder / TRIALS_LOG} is missing, or no file: take it from a copy.")
    with _damage_as_error(folder):
        study = optuna.load_study(study_name=NAME, storage=_storage(folder))
        study.get_trials(deepcopy=False)
        return study


def _require_all_files(folder: Path) -> None:
    """Refuse a folder that lacks a file: the rest would silently become part of a new study.

    Raises:
        CosegError: there are trials without a log, a log without overrides, or one of them is no file.
    """
    advice = "take it from a copy, or give another study.name."
    for path in (folder / TRIALS_LOG, folder / OVERRIDES):
        if os.path.lexists(path) and not path.is_file():
            raise CosegError(f"{path} is no file: {advice}")
    has_records = (folder / TRIALS_LOG).is_file() and (folder / TRIALS_LOG).stat().st_size > 0
    if has_records and not (folder / OVERRIDES).exists():
        raise CosegError(f"{folder / OVERRIDES} is missing, though the study has begun: {advice}")
    trials = [path for path in folder.iterdir() if path.name.isdecimal() and any(path.glob("*"))]
    if trials and not has_records:
        raise CosegError(f"{folder / TRIALS_LOG} is missing or empty, though {len(trials)} trials are there: {advice}")


@contextmanager
def _damage_as_error(folder: Path) -> Iterator[None]:
    """Turn any exception of Optuna inside the block into a sentence: damaged records raise errors of any type."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CosegError(
            f"{folder / TRIALS_LOG} holds no study that can be read ({reason}): take it from a copy, or give another "
            "study.name."
        ) from None


def cut_unfinished_record(path: Path) -> None:
    """Remove a last record that a killed process left unfinished: the next record would be written on its line.

    It was never part of the study, since Optuna reads complete lines only.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    if _is_whole(path):
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()  # another process may be writing a record
    try:
        if not _is_whole(path):
            with path.open("r+b") as file:
                file.truncate(file.read().rfind(b"\n") + 1)
            log.warning(f"{path}: the last record, which was unfinished, is removed")
    finally:
        lock.release()


def _is_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _storage(folder: Path) -> optuna.storages.JournalStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder / TRIALS_LOG)))


@contextmanager
def next_trial(
    study: optuna.Study, folder: Path, space: Space, settings: Mapping[str, Any]
) -> Iterator[tuple[optuna.Trial, int] | None]:
    """The next trial to run, and the file descriptor of its lock, which is held inside the block.

    That is a stopped trial that no process works on, else a new one. None: the study has all of its trials.

    Args:
        study: opened with `open_study`.
        folder: of the study.
        space: what is searched.
        settings: of the study: ``trials``, ``seed``, ``sampler``.
    """
    with locked(folder / LOCK):
        locked_trial = _stopped_trial(study, folder, space)
        if locked_trial is None and len(study.get_trials(deepcopy=False)) < settings["trials"]:
            locked_trial = _new_trial(study, folder, space, settings)
    try:
        yield locked_trial
    finally:
        if locked_trial is not None:
            os.close(locked_trial[1])


def _stopped_trial(study: optuna.Study, folder: Path, space: Space) -> tuple[optuna.Trial, int] | None:
    import optuna

    running = optuna.trial.TrialState.RUNNING
    for trial in study.get_trials(deepcopy=False, states=(running,)):
        _require_in_space(trial, folder, space)
        descriptor = try_lock(folder / str(trial.number) / LOCK)
        if descriptor is None:
            continue
        if study.get_trials(deepcopy=False)[trial.number].state == running:  # else its last process has just ended it
            return running_trial(study, folder, trial.number), descriptor
        os.close(descriptor)
    return None


def running_trial(study: optuna.Study, folder: Path, number: int) -> optuna.Trial:
    """A trial that another process began, as an object that takes reports: only storages know the ids that it needs."""
    import optuna

    storage = _storage(folder)
    study_id = storage.get_study_id_from_name(study.study_name)
    return optuna.Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))


def _require_in_space(trial: optuna.trial.FrozenTrial, folder: Path, space: Space) -> None:
    """Refuse a trial in Optuna's log whose values are outside of the search space: they become overrides.

    Raises:
        CosegError: a value is outside.
    """
    distributions = space.distributions()
    for key, value in trial.params.items():
        if key not in distributions or not contains(distributions[key], value):
            raise CosegError(
                f"{folder / TRIALS_LOG}: trial {trial.number} has {key}={str(value)[:80]}, which this study does not "
                "search: the file is damaged, or of another study. Give another study.name."
            )


def _new_trial(
    study: optuna.Study, folder: Path, space: Space, settings: Mapping[str, Any]
) -> tuple[optuna.Trial, int]:
    # A new sampler with a new seed for each trial: two processes with one seed would sample the same values, and the
    # values of a trial would depend on where the study was stopped.
    sampler = dict(settings["sampler"])
    seed = mix(int(settings["seed"]), len(study.get_trials(deepcopy=False))) % 2**32
    study.sampler = make(sampler | ({"seed": seed} if _takes_seed(str(sampler["_target_"])) else {}))
    trial = study.ask(space.distributions())
    descriptor = try_lock(folder / str(trial.number) / LOCK)
    assert descriptor is not None, "no other process knows a new trial"
    return trial, descriptor


def _takes_seed(target: str) -> bool:
    from hydra.utils import get_object

    return "seed" in inspect.signature(get_object(target)).parameters
