"""A search by Optuna that lives in a folder: a journal of trials, and a directory for each, which is an ordinary run.

Any number of processes, on any machines that share the folder, work on one study: each takes a trial that nobody is at,
or draws a new one, until there are as many as were asked for.
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

from coseg.data.permutation import mix
from coseg.errors import CosegError
from coseg.files import remove_leftovers, write_text_atomically
from coseg.plain_data import read_json
from coseg.sweeps.claims import alone, claim
from coseg.sweeps.space import Space
from coseg.training.build import make

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

JOURNAL, LOCK, OVERRIDES = "journal.log", ".lock", "overrides.json"
"""In the folder of a study, the lock in those of its trials, too."""

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
"""What Optuna's states of a trial are called here."""

NAME = "study"
"""Of the one study in a journal: its folder is what tells it from others."""


def require_optuna() -> None:
    """Tell a user who lacks the package.

    Raises:
        CosegError: Optuna is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise CosegError("A study needs Optuna, which is not installed: pip install 'coseg[sweep]'.")


def open_study(folder: Path, space: Space) -> optuna.Study:
    """The study in `folder`, made anew where there is none.

    Raises:
        CosegError: the study there searches another space, is damaged, or lacks a part.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with alone(folder / LOCK):
        remove_leftovers(folder)
        path = folder / OVERRIDES
        if (folder / JOURNAL).is_file():
            mend_journal(folder / JOURNAL)
        _require_all_parts(folder)
        if not path.exists():
            write_text_atomically(path, json.dumps(space.words, indent=2, ensure_ascii=False) + "\n")
        earlier = read_json(path, "remove the folder, or give another study.name", verbatim=True)
        if earlier != space.words:
            raise CosegError(
                f"{folder} holds a study of something else ({str(earlier)[:500]}): give this one another name, such as "
                f"study.name={folder.name}_2, or remove the folder."
            )
        with _told_when_damaged(folder):
            study = optuna.create_study(
                study_name=NAME, storage=_storage(folder), direction="maximize", load_if_exists=True
            )
            study.get_trials(deepcopy=False)
            return study


def read_study(folder: Path) -> optuna.Study:
    """The study in `folder`, to be looked at.

    Raises:
        CosegError: it is damaged, or holds no study; Optuna is not installed.
    """
    require_optuna()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not (folder / JOURNAL).is_file():  # Optuna would make one, or wait for a pipe
        raise CosegError(f"{folder / JOURNAL} is missing, or no file: take it from a copy.")
    with _told_when_damaged(folder):
        study = optuna.load_study(study_name=NAME, storage=_storage(folder))
        study.get_trials(deepcopy=False)
        return study


def _require_all_parts(folder: Path) -> None:
    """Refuse a folder of which a part is gone: what is left would quietly become that of another study.

    Raises:
        CosegError: there are trials without a journal, a journal without overrides, or either is no file.
    """
    advice = "take it from a copy, or give another study.name."
    for path in (folder / JOURNAL, folder / OVERRIDES):
        if os.path.lexists(path) and not path.is_file():
            raise CosegError(f"{path} is no file: {advice}")
    has_records = (folder / JOURNAL).is_file() and (folder / JOURNAL).stat().st_size > 0
    if has_records and not (folder / OVERRIDES).exists():
        raise CosegError(f"{folder / OVERRIDES} is missing, though the study has begun: {advice}")
    trials = [path for path in folder.iterdir() if path.name.isdecimal() and any(path.glob("*"))]
    if trials and not has_records:
        raise CosegError(f"{folder / JOURNAL} is missing or empty, though {len(trials)} trials are there: {advice}")


@contextmanager
def _told_when_damaged(folder: Path) -> Iterator[None]:
    """What Optuna raises of a journal that is none: a record of another shape gives an error of any type."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CosegError(
            f"{folder / JOURNAL} holds no study that can be read ({reason}): take it from a copy, or give another "
            "study.name."
        ) from None


def mend_journal(path: Path) -> None:
    """Take away a last record that a killed process left unfinished: the next one would be written on its line.

    It was never part of the study, since Optuna reads whole lines.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    if _is_whole(path):
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()  # or it may be a record that another process is writing
    try:
        if not _is_whole(path):
            with path.open("r+b") as file:
                file.truncate(file.read().rfind(b"\n") + 1)
            log.warning(f"{path}: the last record, which was cut off, is taken away")
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

    return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))


@contextmanager
def next_trial(
    study: optuna.Study, folder: Path, space: Space, settings: Mapping[str, Any]
) -> Iterator[tuple[optuna.Trial, int] | None]:
    """A trial that nobody is at, with the file descriptor of its lock, which is held inside the block.

    One that was stopped comes before a new one; None: there are as many trials as `settings` ask for.

    Args:
        study: what `open_study` gives.
        folder: of the study.
        space: what is drawn from.
        settings: of the study: ``trials``, ``seed``, ``sampler``.
    """
    with alone(folder / LOCK):
        found = _stopped_trial(study, folder, space)
        if found is None and len(study.get_trials(deepcopy=False)) < settings["trials"]:
            found = _new_trial(study, folder, space, settings)
    try:
        yield found
    finally:
        if found is not None:
            os.close(found[1])


def _stopped_trial(study: optuna.Study, folder: Path, space: Space) -> tuple[optuna.Trial, int] | None:
    import optuna

    running = optuna.trial.TrialState.RUNNING
    for each in study.get_trials(deepcopy=False, states=(running,)):
        _require_drawn(each, folder, space)
        descriptor = claim(folder / str(each.number) / LOCK)
        if descriptor is None:
            continue
        if study.get_trials(deepcopy=False)[each.number].state == running:  # not just ended by who had the lock
            return optuna.Trial(study, each._trial_id), descriptor
        os.close(descriptor)
    return None


def _require_drawn(trial: optuna.trial.FrozenTrial, folder: Path, space: Space) -> None:
    """Refuse a trial of the journal whose values the study can't have drawn: they become overrides of a training.

    Raises:
        CosegError: so.
    """
    distributions = space.distributions()
    for key, value in trial.params.items():
        if key not in distributions or not _contains(distributions[key], value):
            raise CosegError(
                f"{folder / JOURNAL}: trial {trial.number} has {key}={str(value)[:80]}, which this study does not "
                "search: the journal is damaged, or of another study. Give another study.name."
            )


def _contains(distribution: Any, value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False


def _new_trial(
    study: optuna.Study, folder: Path, space: Space, settings: Mapping[str, Any]
) -> tuple[optuna.Trial, int]:
    # A sampler of its own for each trial: two processes with one seed would draw the same values, and what a trial is
    # given would hang on where the study was stopped.
    sampler = dict(settings["sampler"])
    seed = mix(int(settings["seed"]), len(study.get_trials(deepcopy=False))) % 2**32
    study.sampler = make(sampler | ({"seed": seed} if _takes_seed(str(sampler["_target_"])) else {}))
    trial = study.ask(space.distributions())
    descriptor = claim(folder / str(trial.number) / LOCK)
    assert descriptor is not None, "a new trial is nobody's"
    return trial, descriptor


def _takes_seed(target: str) -> bool:
    from hydra.utils import get_object

    return "seed" in inspect.signature(get_object(target)).parameters
