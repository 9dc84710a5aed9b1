"""coseg-sweep: real trainings, stopped, killed and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import mentions
from layouts.shapes import write_tree
from omegaconf import OmegaConf
from optuna.trial import TrialState

from coseg.cli.report import main as report_main
from coseg.cli.sweep import main
from coseg.configs import choices
from coseg.data.readers.shapes import ShapesReader
from coseg.sweeps.study import read_study

Invoke = Callable[..., object]
LR = "optimizer.lr=tag(log,interval(1e-4,1e-2))"


@pytest.fixture
def small(tiny_overrides: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Overrides of a training of one step, whatever the data set."""
    data = [word for word in tiny_overrides["train"] if not word.startswith("dataset.")]
    return (*data, "trainer.max_epochs=1", "data.pairs_per_epoch=4", "panels=0")


@pytest.mark.slow
@pytest.mark.parametrize("name", choices("study"))
def test_every_study_runs(
    name: str, small: tuple[str, ...], tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path, invoke: Invoke
) -> None:
    words = [f"study={name}", "study.name=mine", f"study.runs={tmp_path}", "study.trials=1", *small]
    if name == "voc_mini":
        write_tree(ShapesReader(size=64, train=24, val=12, seen=12), tmp_path / "voc")
        words += [f"dataset.root={tmp_path / 'voc'}"]
    else:
        words += [word for word in tiny_overrides["train"] if word.startswith("dataset.")]
    outcome = invoke_main(invoke, *words, *([LR] if name == "default" else []))
    assert outcome.code == 0, outcome.err
    (trial,) = read_study(tmp_path / "mine").get_trials()
    assert trial.state == TrialState.COMPLETE
    run = tmp_path / "mine" / "0"
    assert (run / "checkpoints" / "best.ckpt").is_file() and (run / "finished.json").is_file()
    assert OmegaConf.load(run / "config.yaml").optimizer.lr == trial.params["optimizer.lr"]
    assert mentions(outcome.out, "trial 0: complete", "jaccard")
    assert f"coseg-report sweep {tmp_path / 'mine'}" in outcome.out


def invoke_main(invoke: Invoke, *words: str):  # type: ignore[no-untyped-def]  # an Outcome, or the code 0 as one
    return invoke(lambda arguments: (main(arguments), sys.exit(0)), *words)


@pytest.mark.parametrize(
    ("words", "code", "facts"),
    [
        (["optimizer.lr=1e-3"], 2, ("nothing", "search")),
        ([LR, "study.trials=none"], 2, ("study.trials", "'none'")),
        ([LR, "study.trials=0"], 2, ("study.trials", 0)),
        ([LR, "study.failures=nan"], 2, ("study.failures", "nan")),
        ([LR, "study.seed=-1"], 2, ("study.seed", "-1")),
        ([LR, "study.name=5"], 2, ("study.name", 5)),
        ([LR, "study.sampler=null"], 2, ("study.sampler", "null")),
        ([LR, "study.pruner.n_warmup_steps=x"], 2, ("study.pruner.n_warmup_steps", "'x'")),
        ([LR, "seed=-1"], 2, ("seed", "-1")),
        (["optimizer.lr=1e-3,nan"], 2, ("optimizer.lr", "nan")),
        (["optimizer.lr=interval(-1,1)"], 2, ("optimizer.lr", "-1.0")),
        (["model.encoder.width=interval(0.5,1000)"], 2, ("model.encoder.width", "1000.0")),
        (["data.batch_size=range(4,0,-1)"], 2, ("data.batch_size=range(4,0,-1)",)),
        (["model.kernel_sizes=[3],[x]"], 2, ("model.kernel_sizes", "['x']")),
        ([LR, "dataset=folder", "dataset.root=/a (b)"], 1, ("\"dataset.root='/a (b)'\"",)),
        ([LR, "study=nothing"], 1, ("nothing",)),
        ([LR, "model.no_such=1"], 1, ("no_such",)),
        (["model.kernel_sizes=[3],[4"], 1, ("model.kernel_sizes",)),
        ([LR, "-m"], 2, ("arguments: -m",)),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(
    words: list[str], code: int, facts: tuple[str | int, ...], tmp_path: Path, invoke: Invoke
) -> None:
    outcome = invoke_main(invoke, f"study.runs={tmp_path / 'studies'}", *words)
    assert outcome.code == code
    assert mentions(outcome.err, *facts) and "Traceback" not in outcome.err
    assert not (tmp_path / "studies").exists()


def test_the_configuration_is_shown(invoke: Invoke) -> None:
    outcome = invoke_main(invoke, "--cfg", "study=shapes", "study.trials=7", "seed=3")
    config = OmegaConf.create(outcome.out)
    assert (config.name, config.trials, config.overrides[0], config.overrides[-1]) == (
        "shapes", 7, "experiment=shapes", "seed=3",
    )  # fmt: skip


@pytest.mark.slow
def test_stopped_killed_in_parallel_and_complete(
    tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two processes, one stopped by a signal and one killed with its training; a third completes the study."""
    words = [*tiny_overrides["train"], "trainer.max_epochs=8", "data.pairs_per_epoch=64", "panels=0", LR]
    words += ["model.kernel_sizes=[3],[3,5]", f"study.runs={tmp_path}", "study.trials=5", "study.pruner=null"]

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "coseg.cli.sweep", *words]
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    folder = tmp_path / "study"
    first, second = start(), start()
    for number in (0, 1):
        _wait(lambda number=number: (folder / str(number) / "checkpoints" / "last.ckpt").is_file())
    os.kill(first.pid, signal.SIGTERM)
    _, err = first.communicate(timeout=120)
    assert first.returncode == 128 + signal.SIGTERM and mentions(err, "same command")

    second.kill()  # its training lives on, and keeps the trial
    second.communicate()
    running = [trial.number for trial in read_study(folder).get_trials() if trial.state == TrialState.RUNNING]
    assert running
    third = start()
    _, err = third.communicate(timeout=600)
    assert third.returncode == 0, err
    fourth = start()  # whatever the killed one's training still held
    _, err = fourth.communicate(timeout=600)
    assert fourth.returncode == 0, err
    trials = read_study(folder).get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 5
    assert all(len(trial.intermediate_values) == 8 for trial in trials)  # each validation of each, none twice
    with pytest.raises(SystemExit) as leaving:
        report_main(["sweep", str(folder)])
    assert leaving.value.code == 0
    assert "5 jobs: 5 complete." in capsys.readouterr().out


def _wait(true: Callable[[], bool]) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("waited for two minutes")
