"""One trial of a study: an ordinary `coseg-train` in a directory of the study, watched for being worse than others."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from coseg.evaluation.curves import read_series
from coseg.overrides import quoted
from coseg.sweeps.child import run_child
from coseg.sweeps.failed import read_failure, write_failure
from coseg.sweeps.study import LOCK
from coseg.training.errors import Stopped
from coseg.training.run import STUDY

if TYPE_CHECKING:
    import optuna

SCORE = "val/jaccard"
"""What a study maximises, of the best validation, and by what it prunes, after each."""

OUTPUT = "output.log"
"""In a trial's directory: what the training printed."""


class Outcome(NamedTuple):
    """How a trial ended: ``complete``, ``pruned`` or ``failed``; its best Jaccard, nan for none; why it failed."""

    state: str
    jaccard: float
    error: str = ""


def validations(run: Path) -> list[float]:
    """The Jaccard of each validation of a run so far."""
    return [value for _, value in read_series(run / "metrics.csv").get(SCORE, [])]


def run_trial(trial: optuna.Trial, folder: Path, fixed: Sequence[str], lock: int) -> Outcome:
    """Train with the values of `trial` and tell the study how it ended; a trial that was stopped is gone on with.

    Args:
        trial: whose values are drawn.
        folder: of the study; the run is ``<folder>/<number>``.
        fixed: overrides that every trial has.
        lock: file descriptor of the trial's lock, which the training inherits.

    Raises:
        Stopped: a signal came; the trial can be gone on with.
    """
    run = folder / str(trial.number)
    drawn = [f"{key}={value}" for key, value in trial.params.items()]
    if (run / "checkpoints" / "last.ckpt").is_file() and (run / "config.yaml").is_file():
        words = [f"resume={quoted(run)}", *(word for word in fixed if word.startswith("trust="))]
    else:
        _clear(run)
        words = [*fixed, *drawn, f"hydra.run.dir={quoted(run)}"]
    pruned = False

    def hopeless() -> bool:
        nonlocal pruned
        known = trial.storage.get_trial(trial._trial_id).intermediate_values
        for step, value in enumerate(validations(run)):
            if step not in known:
                trial.report(value, step)
                pruned = pruned or trial.should_prune()
        return pruned

    ended = run_child("train", words, run / OUTPUT, hopeless, (lock,), {STUDY: folder.name})
    hopeless()  # the last validation is reported, too
    if ended.received is not None and ended.code:
        raise Stopped(folder, ended.received)
    found = validations(run)
    if pruned and ended.code == 128 + signal.SIGTERM:
        state, error = "pruned", ""
    elif ended.code or not found:
        failure = read_failure(run)
        error = failure.error if failure is not None else _last_words(run / OUTPUT, ended.code)
        if failure is None:
            write_failure(run, ended.code or 1, error, [*fixed, *drawn])
        state = "failed"
    else:
        state, error = "complete", ""
    _tell(trial, state, max(found, default=float("nan")))
    return Outcome(state, max(found, default=float("nan")), error)


def _clear(run: Path) -> None:
    """Remove what a start left that came to no checkpoint."""
    for path in run.iterdir():
        if path.name == LOCK:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _last_words(output: Path, code: int) -> str:
    if code < 0:
        return f"killed by signal {-code}" + (", for want of memory perhaps" if code == -signal.SIGKILL else "")
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines() if output.is_file() else []
    said = next((line for line in reversed(lines) if line.strip()), "it printed nothing")
    return said if code else f"it ended without a validation; {said}"


def _tell(trial: optuna.Trial, state: str, jaccard: float) -> None:
    from optuna.trial import TrialState

    if state == "complete":
        trial.study.tell(trial, jaccard)
    else:
        trial.study.tell(trial, state=TrialState.PRUNED if state == "pruned" else TrialState.FAIL)
