"""Run the trials of a study until it has all of them: each is an ordinary ``coseg-train`` in a folder of the study.

Called by ``coseg-sweep``. A trial that is worse than most others after a validation is stopped (pruned).
"""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from coseg.configs import quoted
from coseg.errors import CosegError
from coseg.instantiate import make
from coseg.reports.curves import read_series
from coseg.run_dir import CHECKPOINTS, CONFIG, LAST, METRICS, OUTPUT, STUDY
from coseg.signals import Stopped
from coseg.sweeps.processes import read_failure, run_child, write_failure
from coseg.sweeps.space import Space
from coseg.sweeps.study import LOCK, STATES, next_trial, open_study

if TYPE_CHECKING:
    import optuna

SCORE = "val/jaccard"
"""What a study maximises: that of the best validation. Pruning compares it after each validation."""


class Outcome(NamedTuple):
    """How a trial ended.

    Attributes:
        state: ``complete``, ``pruned`` or ``failed``.
        jaccard: its best validation Jaccard, 0..1; nan: none.
        error: why it failed.
    """

    state: str
    jaccard: float
    error: str = ""


def search(folder: Path, space: Space, settings: Mapping[str, Any], report: Callable[[str], object] = print) -> None:
    """Run trials until the study in `folder` has all of its trials, those of other processes included.

    Args:
        folder: of the study, which is created if needed.
        space: the overrides, fixed and searched.
        settings: those of the configuration group ``study``.
        report: called with a line for each trial that begins or ends.

    Raises:
        CosegError: the folder holds another study, a setting can't be used, the last ``failures`` trials failed, or all
            trials of the study did.
        Stopped: a signal came; the same call resumes the study.
    """
    for key in ("trials", "failures"):
        if not isinstance(settings[key], int) or settings[key] < 1:
            raise CosegError(f"study.{key} is {settings[key]}, but must be a whole number of at least 1.")
    pruner = make(dict(settings["pruner"])) if settings["pruner"] else None
    study = open_study(folder, space)
    if pruner is None:
        from optuna.pruners import NopPruner

        pruner = NopPruner()
    study.pruner = pruner
    failures: list[str] = []
    while len(failures) < settings["failures"]:
        with next_trial(study, folder, space, settings) as locked_trial:
            if locked_trial is None:
                report(_summary(study, folder))
                _require_one_success(study, folder, failures)
                return
            trial, lock = locked_trial
            resumes = _can_resume(folder / str(trial.number))
            report(f"trial {trial.number}{', resumed' if resumes else ''}: {_words(trial.params)}")
            outcome = run_trial(trial, folder, space.fixed, lock)
        report(f"trial {trial.number}: {_outcome_text(outcome, study)}")
        failures = [*failures, outcome.error] if outcome.state == "failed" else []
    raise CosegError(
        f"{len(failures)} trials failed one after the other, the last for this reason: {failures[-1]} Mend it and "
        f"start again, with another study.name where the overrides change; {folder} holds what was done."
    )


def run_trial(trial: optuna.Trial, folder: Path, fixed: Sequence[str], lock: int) -> Outcome:
    """Train with the values of `trial`, and tell Optuna how it ended; a trial that was stopped is resumed.

    Args:
        trial: a running one.
        folder: of the study; the run directory is ``<folder>/<number>``.
        fixed: overrides of every trial.
        lock: file descriptor of the trial's lock, which the training inherits.

    Raises:
        Stopped: a signal came; the trial can be resumed.
    """
    run = folder / str(trial.number)
    sampled = [f"{key}={value}" for key, value in trial.params.items()]
    if _can_resume(run) and (run / CONFIG).is_file():
        words = [f"resume={quoted(run)}", *(word for word in fixed if word.startswith("trust="))]
    else:
        _clear(run)
        words = [*fixed, *sampled, f"hydra.run.dir={quoted(run)}"]
    pruned = False

    def should_stop() -> bool:
        """Report new validations to Optuna; whether it prunes the trial."""
        nonlocal pruned
        known = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        for step, value in enumerate(validations(run)):
            if step not in known:
                trial.report(value, step)
                pruned = pruned or trial.should_prune()
        return pruned

    result = run_child("train", words, run / OUTPUT, should_stop, (lock,), {STUDY: folder.name})
    should_stop()  # the last validation is reported, too
    if result.received is not None and result.code:
        raise Stopped(folder, result.received)
    scores = validations(run)
    if pruned and result.code == 128 + signal.SIGTERM:
        state, error = "pruned", ""
    elif result.code or not scores:
        failure = read_failure(run)
        error = failure.error if failure is not None else _reason(run / OUTPUT, result.code)
        if failure is None:
            write_failure(run, result.code or 1, error, [*fixed, *sampled])
        state = "failed"
    else:
        state, error = "complete", ""
    outcome = Outcome(state, max(scores, default=math.nan), error)
    _finish(trial, outcome)
    return outcome


def validations(run: Path) -> list[float]:
    """The Jaccard of each validation of a run so far."""
    return [value for _, value in read_series(run / METRICS).get(SCORE, [])]


def _can_resume(run: Path) -> bool:
    return (run / CHECKPOINTS / LAST).is_file()


def _clear(run: Path) -> None:
    """Remove the files of a start that wrote no checkpoint."""
    for path in run.iterdir():
        if path.name == LOCK:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _reason(output: Path, code: int) -> str:
    """Why a training failed that left no file about it: the signal, or its last line."""
    if code < 0:
        return f"killed by signal {-code}" + (", perhaps because memory ran out" if code == -signal.SIGKILL else "")
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines() if output.is_file() else []
    last = next((line for line in reversed(lines) if line.strip()), "it printed nothing")
    return last if code else f"it ended without a validation; {last}"


def _finish(trial: optuna.Trial, outcome: Outcome) -> None:
    from optuna.trial import TrialState

    if outcome.state == "complete":
        trial.study.tell(trial, outcome.jaccard)
    else:
        trial.study.tell(trial, state=TrialState.PRUNED if outcome.state == "pruned" else TrialState.FAIL)


def _require_one_success(study: optuna.Study, folder: Path, failures: Sequence[str]) -> None:
    """Refuse a finished study that has no result.

    Raises:
        CosegError: all of its trials failed.
    """
    trials = study.get_trials(deepcopy=False)
    if any(STATES[trial.state.name] != "failed" for trial in trials):
        return
    reason = f", the last for this reason: {failures[-1]} Mend it" if failures else ": look into the logs of its trials"
    raise CosegError(
        f"All {len(trials)} trials of {folder} failed{reason} and start again, with another study.name, which leaves "
        "these trials as they are."
    )


def _words(values: Mapping[str, Any]) -> str:
    return " ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )


def _best(study: optuna.Study) -> str:
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        return "none is complete"
    best = max(complete, key=lambda trial: trial.value or 0.0)
    return f"the best is {best.value:.4f}, trial {best.number}"


def _outcome_text(outcome: Outcome, study: optuna.Study) -> str:
    if outcome.state == "failed":
        return f"failed: {outcome.error}"
    return f"{outcome.state}, validation Jaccard {outcome.jaccard:.4f}; {_best(study)}"


def _summary(study: optuna.Study, folder: Path) -> str:
    states = [STATES[trial.state.name] for trial in study.get_trials(deepcopy=False)]
    counts = ", ".join(f"{states.count(state)} {state}" for state in STATES.values() if state in states)
    return f"{len(states)} trials: {counts}; {_best(study)}. Look at them with: coseg-report sweep {folder}"
