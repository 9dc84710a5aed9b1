"""A seed gives the same numbers, with any number of workers and whether or not the run was stopped on its way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from metrics_file import read_losses, read_rows
from omegaconf import DictConfig

from coseg.signals import Stopped
from coseg.training.fit import fit
from coseg.training.run import resumed_config
from coseg.training.task import CosegTask

Tiny = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def whole(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``whole(*overrides)``: a run that was never stopped; made once for the same overrides."""
    made: dict[tuple[str, ...], Path] = {}

    def run(*overrides: str) -> Path:
        if overrides not in made:
            made[overrides] = tmp_path_factory.mktemp("whole")
            fit(tiny(*overrides), made[overrides])
        return made[overrides]

    return run


def stop_in_step(monkeypatch: pytest.MonkeyPatch, number: int, sent: signal.Signals) -> None:
    """Send this process a signal within its training batch `number`, counted from 1."""
    original = CosegTask.training_step
    count = 0

    def step(self: CosegTask, batch: Any, batch_idx: int) -> Any:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), sent)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(CosegTask, "training_step", step)


def assert_same_training(one: Path, other: Path) -> None:
    assert read_losses(one) == read_losses(other)
    assert read_rows(one) == read_rows(other)  # validation scores too, each step once
    first, second = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (one, other))
    assert first["global_step"] == second["global_step"]
    for kind in {
        "state_dict",
        "current_model_state",
        "averaging_state",
    } & first.keys():  # the latter two: of the average
        assert all(torch.equal(value, second[kind][key]) for key, value in first[kind].items()), kind
    moments = [state["optimizer_states"][0]["state"] for state in (first, second)]
    assert all(torch.equal(moments[0][k]["exp_avg"], moments[1][k]["exp_avg"]) for k in moments[0])
    best = [torch.load(run / "checkpoints" / "best.ckpt", weights_only=True) for run in (one, other)]
    assert best[0]["global_step"] == best[1]["global_step"]


def test_workers_do_not_change_the_numbers(tiny: Tiny, whole: Callable[..., Path], tmp_path: Path) -> None:
    runs = [whole("data.workers=0"), whole("data.workers=2"), tmp_path / "a", tmp_path / "b"]
    fit(tiny("data.workers=0"), runs[2])
    fit(tiny("data.workers=2"), runs[3])
    losses = read_losses(runs[0])
    assert [step for step, _ in losses] == list(range(8))
    assert len({loss for _, loss in losses}) == 8
    for other in runs[1:]:
        assert read_losses(other) == losses
    fit(tiny("seed=1"), tmp_path / "c")
    assert read_losses(tmp_path / "c") != losses


# Epochs have 4 batches. "end": after the last batch of the first epoch, the run goes on from that epoch's checkpoint.
@pytest.mark.parametrize(
    ("overrides", "batch", "logged"),
    [
        pytest.param([], 2, 2, id="first epoch", marks=pytest.mark.slow),
        pytest.param([], 6, 6, id="second epoch"),
        pytest.param([], 4, 4, id="end", marks=pytest.mark.slow),
        pytest.param(["callbacks=ema"], 6, 6, id="average of the weights", marks=pytest.mark.slow),
        pytest.param(["task.exemplars=0.5"], 6, 6, id="exemplars", marks=pytest.mark.slow),
        pytest.param(
            ["callbacks=resizing", "callbacks.resizing.sizes=[16,32]", "model.input_size=48"],
            6,
            6,
            id="growing sizes",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["optimizer.encoder_lr_scale=0.1", "optimizer.layer_decay=0.8", "callbacks=learning_rates"],
            6,
            6,
            id="rates by layer",
            marks=pytest.mark.slow,
        ),
        pytest.param(["trainer.accumulate_grad_batches=2"], 5, 3, id="accumulation", marks=pytest.mark.slow),
        pytest.param(["callbacks=ema", "trainer.accumulate_grad_batches=2"], 4, 2, id="average, accumulation, end"),
    ],
)
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    overrides: list[str],
    batch: int,
    logged: int,
    tiny: Tiny,
    whole: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = ["data.workers=2", *overrides]
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        stop_in_step(patch, batch, signal.SIGTERM)
        with pytest.raises(Stopped) as stopped:
            fit(tiny(*settings), tmp_path)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert stopped.value.path == tmp_path / "checkpoints" / "last.ckpt"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert [step for step, _ in read_losses(tmp_path)] == list(range(logged))
    fit(resumed_config(tmp_path), tmp_path, resume=True)
    assert_same_training(whole(*settings), tmp_path)


def test_a_strategy_that_reads_the_checkpoint_after_its_set_up_goes_on_with_the_same_batches(
    tiny: Tiny, whole: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``trainer=fsdp`` does, where the optimiser is made before the place in the epoch is known."""
    with monkeypatch.context() as patch:
        stop_in_step(patch, 6, signal.SIGTERM)
        with pytest.raises(Stopped):
            fit(tiny("data.workers=2"), tmp_path)
    monkeypatch.setattr(SingleDeviceStrategy, "restore_checkpoint_after_setup", True)
    fit(resumed_config(tmp_path), tmp_path, resume=True)
    assert_same_training(whole("data.workers=2"), tmp_path)


@pytest.mark.parametrize(
    ("minutes", "step_of_last"),
    [pytest.param(0, 4, id="end of epoch"), pytest.param(1e-9, 6, id="by the clock", marks=pytest.mark.slow)],
)
def test_a_run_that_died_goes_on_from_its_last_checkpoint(
    minutes: float,
    step_of_last: int,
    tiny: Tiny,
    whole: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Died(BaseException):
        pass

    original = CosegTask.training_step

    def step(self: CosegTask, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 6:
            raise Died
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(CosegTask, "training_step", step)
        fit(tiny("data.workers=2", f"checkpoint_minutes={minutes}"), tmp_path)
    assert [step for step, _ in read_losses(tmp_path)] == list(range(6))
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == step_of_last
    fit(resumed_config(tmp_path), tmp_path, resume=True)
    assert_same_training(whole("data.workers=2"), tmp_path)


def test_last_is_the_end_of_the_run_even_where_scores_fell(whole: Callable[..., Path]) -> None:
    assert torch.load(whole("data.workers=2") / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_process_group(
    number: signal.Signals, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    """As a terminal or a supervisor sends it, to workers too: the code of the signal, a sentence and a checkpoint.

    ``resume=`` then ends well in the same directory.
    """
    command = [sys.executable, "-m", "coseg.cli.train"]
    training = [*command, *tiny_overrides["train"], "panels=0", "data.pairs_per_epoch=160", "trainer.max_epochs=1"]
    with subprocess.Popen(
        [*training, "data.workers=2"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None:
            if any(path.read_text().count("\n") > 2 for path in tmp_path.glob("runs/*/*/metrics.csv")):
                break
            time.sleep(0.02)
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=300)
    (folder,) = tmp_path.glob("runs/*/*")
    assert process.returncode == 128 + number, errors
    assert f"resume={folder.resolve()}" in errors and "Traceback" not in errors
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    steps = len(read_losses(folder))
    assert 1 < steps < 40
    again = subprocess.run([*command, f"resume={folder}"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert [step for step, _ in read_losses(folder)] == list(range(40))
    assert list(tmp_path.glob("runs/*/*")) == [folder]
