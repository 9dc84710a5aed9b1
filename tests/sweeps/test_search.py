"""A study with trainings that are pretended: what is drawn, what is gone on with, and what is told to the study."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from facts import mentions, naming
from omegaconf import OmegaConf
from optuna.trial import TrialState

from coseg.cli.sentences import stopped_sentence
from coseg.configs import compose_config, parse_overrides
from coseg.errors import CosegError
from coseg.signals import Stopped
from coseg.sweeps import search as search_module
from coseg.sweeps.jobs import read_sweep
from coseg.sweeps.processes import ChildResult, try_lock
from coseg.sweeps.search import search
from coseg.sweeps.space import space_of
from coseg.sweeps.study import LOCK, read_study

WORDS = ["data.workers=0", "optimizer.lr=tag(log,interval(1e-4,1e-2))", "model.kernel_sizes=[3],[3,5]"]


class Trainings:
    """Stands in for `run_child`: writes what a training would, and keeps what it was called with.

    Args:
        scores: from the overrides, the Jaccard of each validation.
        ends: from the number of the call, the exit code and the signal that came.
    """

    def __init__(
        self,
        scores: Callable[[Mapping[str, str]], Sequence[float]],
        ends: Callable[[int], tuple[int, int | None]] = lambda call: (0, None),
    ) -> None:
        self.scores = scores
        self.ends = ends
        self.calls: list[list[str]] = []
        self.environments: list[Mapping[str, str]] = []

    def __call__(
        self,
        command: str,
        overrides: Sequence[str],
        output: Path,
        stop: Callable[[], bool],
        keep: Sequence[int],
        environment: Mapping[str, str],
    ) -> ChildResult:
        assert command == "train"
        assert try_lock(output.parent / LOCK) is None, "the trial's lock is held while it trains"
        os.fstat(keep[0])
        self.calls.append(list(overrides))
        self.environments.append(environment)
        code, received = self.ends(len(self.calls))
        run = output.parent
        values = dict(word.partition("=")[::2] for word in overrides)
        (run / "checkpoints").mkdir(exist_ok=True)
        (run / "config.yaml").touch()
        (run / "checkpoints" / "last.ckpt").touch()
        output.write_text("what it said\n")
        if code == 2:
            return ChildResult(code, received)
        rows = []
        for step, score in enumerate(self.scores(values)):
            rows.append({"step": step, "val/jaccard": score})
            with (run / "metrics.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, ["step", "val/jaccard"])
                writer.writeheader()
                writer.writerows(rows)
            if stop():
                return ChildResult(143, None)
        return ChildResult(code, received)


@pytest.fixture
def settings() -> dict[str, Any]:
    return dict(OmegaConf.to_container(compose_config("sweep", ["study.trials=6"]).study, resolve=True))  # type: ignore[arg-type]


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``go(trainings, settings, words)``: search, and the study's trials after it."""

    def searched(trainings: Trainings, settings: Mapping[str, Any], words: Sequence[str] = WORDS) -> Any:
        monkeypatch.setattr(search_module, "run_child", trainings)
        search(tmp_path / "study", space_of(parse_overrides(list(words))), settings)
        return read_study(tmp_path / "study").get_trials()

    return searched


def rising(values: Mapping[str, str]) -> list[float]:
    rate = float(values["optimizer.lr"])
    return [rate, 2 * rate, 1.5 * rate]


def test_each_trial_is_a_training_with_what_was_drawn(go: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    trainings = Trainings(rising)
    trials = go(trainings, settings | {"pruner": None})
    assert len(trials) == len(trainings.calls) == 6
    for number, (trial, call) in enumerate(zip(trials, trainings.calls, strict=True)):
        drawn = trial.params
        assert 1e-4 <= drawn["optimizer.lr"] <= 1e-2 and drawn["model.kernel_sizes"] in ("[3]", "[3,5]")
        assert call[0] == "data.workers=0"
        assert set(call[1:3]) == {f"{key}={value}" for key, value in drawn.items()}
        assert call[3] == f"hydra.run.dir='{tmp_path / 'study' / str(number)}'"
        assert trial.value == pytest.approx(2 * drawn["optimizer.lr"])  # the best validation, not the last
        assert trial.intermediate_values == pytest.approx(
            dict(enumerate(rising({k: str(v) for k, v in drawn.items()})))
        )
    assert {environment["COSEG_STUDY"] for environment in trainings.environments} == {"study"}
    assert len({trial.params["optimizer.lr"] for trial in trials}) == 6


def test_what_is_drawn_hangs_on_the_seed_alone_not_on_where_it_stopped(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, list[Any]] = {}
    space = space_of(parse_overrides(WORDS))
    for name, parts, seed in (("whole", [6], 0), ("parts", [2, 3, 6], 0), ("other", [6], 1)):
        monkeypatch.setattr(search_module, "run_child", Trainings(rising))
        for trials in parts:
            search(tmp_path / name, space, settings | {"trials": trials, "seed": seed, "pruner": None})
        drawn[name] = [trial.params for trial in read_study(tmp_path / name).get_trials()]
    assert drawn["whole"] == drawn["parts"] != drawn["other"]


def test_a_stopped_trial_is_resumed_before_a_new_one(go: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    trainings = Trainings(rising, lambda call: (143, 15) if call == 2 else (0, None))
    with pytest.raises(Stopped) as stopped:
        go(trainings, settings | {"trials": 3})
    assert stopped.value.code == 143 and mentions(stopped_sentence(stopped.value), "same command")
    states = [trial.state for trial in read_study(tmp_path / "study").get_trials()]
    assert states == [TrialState.COMPLETE, TrialState.RUNNING]

    values = read_study(tmp_path / "study").get_trials()[1].params
    trainings = Trainings(lambda _: rising({key: str(value) for key, value in values.items()}))
    trials = go(trainings, settings | {"trials": 3})
    assert trainings.calls[0] == [f"resume='{tmp_path / 'study' / '1'}'"]
    assert len(trainings.calls) == 2
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert trials[1].value == pytest.approx(2 * values["optimizer.lr"])


def test_a_trial_that_another_process_is_at_is_left_alone(go: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        go(Trainings(rising, lambda call: (143, 15)), settings | {"trials": 2})
    other = try_lock(tmp_path / "study" / "0" / LOCK)
    assert other is not None
    trainings = Trainings(rising)
    trials = go(trainings, settings | {"trials": 2})
    assert len(trainings.calls) == 1 and trainings.calls[0][-1].endswith("/study/1'")
    assert trials[0].state == TrialState.RUNNING
    os.close(other)


def test_one_that_left_no_checkpoint_starts_anew(go: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        go(Trainings(rising, lambda call: (143, 15)), settings | {"trials": 1})
    (tmp_path / "study" / "0" / "checkpoints" / "last.ckpt").unlink()
    (tmp_path / "study" / "0" / "left").mkdir()
    trainings = Trainings(rising)
    go(trainings, settings | {"trials": 1})
    assert trainings.calls[0][-1].startswith("hydra.run.dir=")
    assert not (tmp_path / "study" / "0" / "left").exists()


def test_trials_worse_than_most_are_pruned(go: Any, settings: dict[str, Any]) -> None:
    falling = iter([0.9, 0.8, 0.1, 0.95])
    trainings = Trainings(lambda values: [next(falling)] * 3)
    pruner = {**settings["pruner"], "n_startup_trials": 2}
    trials = go(trainings, settings | {"trials": 4, "pruner": pruner})
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE"]
    assert trials[2].intermediate_values == {0: 0.1}  # stopped after its first validation


def test_failures_are_told_and_many_in_a_row_end_it(go: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CosegError, match=naming("2 trials", "failed", "what it said")):
        go(Trainings(rising, lambda call: (2, None)), settings | {"failures": 2})
    trials = read_study(tmp_path / "study").get_trials()
    assert [trial.state for trial in trials] == [TrialState.FAIL] * 2

    trainings = Trainings(rising, lambda call: (2, None) if call % 2 else (0, None))
    assert len(go(trainings, settings | {"failures": 2})) == 6  # never two in a row


def test_a_study_of_failures_alone_is_no_success(go: Any, settings: dict[str, Any]) -> None:
    few = settings | {"trials": 2, "failures": 5}
    with pytest.raises(CosegError, match=naming("all 2 trials", "failed", "what it said")):
        go(Trainings(rising, lambda call: (2, None)), few)
    with pytest.raises(CosegError, match=naming("all 2 trials", "failed", "study.name")):
        go(Trainings(rising), few)  # nothing is left to do, and that is no success either


@pytest.mark.parametrize("name", ["journal.log", "overrides.json"])
@pytest.mark.parametrize("damage", ["missing", "folder", "dangling link", "pipe", "empty"])
def test_a_study_without_one_of_its_parts_is_refused(
    name: str, damage: str, go: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    go(Trainings(rising), settings | {"trials": 2})
    path = tmp_path / "study" / name
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "dangling link":
        path.symlink_to("nowhere")
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage == "empty":
        path.touch()
    trainings = Trainings(rising)
    with pytest.raises(CosegError, match=name):
        go(trainings, settings | {"trials": 2})
    with pytest.raises(CosegError, match=name):
        read_sweep(tmp_path / "study")
    assert not trainings.calls


def test_another_space_and_bad_settings_are_refused(go: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    go(Trainings(rising), settings | {"trials": 1})
    with pytest.raises(CosegError, match=naming(tmp_path / "study", "study.name=study_2")):
        go(Trainings(rising), settings, [*WORDS, "seed=1"])
    with pytest.raises(CosegError, match=naming("study.trials", 0)):
        go(Trainings(rising), settings | {"trials": 0})
