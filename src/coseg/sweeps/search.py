"""Work on a study until it has all of its trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coseg.errors import CosegError
from coseg.sweeps.space import Space
from coseg.sweeps.study import STATES, next_trial, open_study
from coseg.sweeps.trial import Outcome, run_trial
from coseg.training.build import make

if TYPE_CHECKING:
    import optuna

Tell = Callable[[str], object]


def search(folder: Path, space: Space, settings: Mapping[str, Any], tell: Tell = print) -> None:
    """Run trials until the study in `folder` has as many as `settings` ask for, those of other processes among them.

    Args:
        folder: of the study, new or begun.
        space: the overrides.
        settings: those of the configuration group ``study``.
        tell: is given a line for each trial that begins or ends.

    Raises:
        CosegError: the folder holds another study, a setting can't be used, the last ``failures`` trials failed, or all
            of the study did.
        Stopped: a signal came; the same call goes on.
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
        with next_trial(study, folder, space, settings) as claimed:
            if claimed is None:
                tell(_summary(study, folder))
                _require_one(study, folder, failures)
                return
            trial, lock = claimed
            begun = (folder / str(trial.number) / "checkpoints" / "last.ckpt").is_file()
            tell(f"trial {trial.number}{', gone on with' if begun else ''}: {_words(trial.params)}")
            outcome = run_trial(trial, folder, space.fixed, lock)
        tell(f"trial {trial.number}: {_told(outcome, study)}")
        failures = [*failures, outcome.error] if outcome.state == "failed" else []
    raise CosegError(
        f"{len(failures)} trials failed one after the other, the last for this reason: {failures[-1]} Mend it and "
        f"start again, with another study.name where the overrides change; {folder} holds what was done."
    )


def _require_one(study: optuna.Study, folder: Path, failures: Sequence[str]) -> None:
    """Refuse a study at its end of which nothing can be used.

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


def _told(outcome: Outcome, study: optuna.Study) -> str:
    if outcome.state == "failed":
        return f"failed: {outcome.error}"
    return f"{outcome.state}, validation Jaccard {outcome.jaccard:.4f}; {_best(study)}"


def _summary(study: optuna.Study, folder: Path) -> str:
    states = [STATES[trial.state.name] for trial in study.get_trials(deepcopy=False)]
    counts = ", ".join(f"{states.count(state)} {state}" for state in STATES.values() if state in states)
    return f"{len(states)} trials: {counts}; {_best(study)}. Look at them with: coseg-report sweep {folder}"
