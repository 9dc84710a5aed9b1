"""coseg-train: what goes together with ``resume=``, which classes are imported, and the processes of a job."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facts import mentions
from omegaconf import OmegaConf

from coseg.hub.checkpoint import read_checkpoint


def test_a_resumed_run_takes_no_other_settings(command: Callable[..., Any], tmp_path: Path) -> None:
    outcome = command("train", "resume=somewhere", "seed=3", "optimizer.lr=0.5")
    assert outcome.code == 2 and mentions(outcome.err, "seed=3", "optimizer.lr=0.5")
    assert not list(tmp_path.iterdir())


def test_processes_of_a_launcher_have_to_be_counted(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "1"), ("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("coseg.cli.run_folder.tell_folder", lambda *_: None)  # no other process asks
    outcome = command("train", "trainer.devices=1", "trainer.accelerator=cpu", "trainer.fast_dev_run=true")
    assert outcome.code == 2 and mentions(outcome.err, "torchrun", "2", "trainer.devices=2")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model._target_=coseg.models.siamese.SiameseNetwrk", ("model._target_", "SiameseNetwork")),
        ("loss.pair._target_=coseg.training.loses.PairLoss", ("loss.pair._target_", "loses", "losses")),
        ("data._target_=nowhere.Module", ("data._target_", "no module nowhere", "--config-dir")),
        ("model._target_=broken.Network", ("NameError", "undefined", "broken.py", "line 2")),
    ],
)
def test_a_misspelt_class_is_reported_before_data_are_read(
    override: str, words: tuple[str, ...], command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("first = 1\nsecond = undefined\n")
    monkeypatch.setattr("sys.path", [*sys.path])
    outcome = command("train", override, "dataset=voc", f"dataset.root={tmp_path / 'missing'}")
    assert outcome.code == 2 and mentions(outcome.err, *words)
    assert {path.name for path in tmp_path.iterdir()} <= {"broken.py", "__pycache__"}  # no run folder


def test_the_directory_of_the_start_is_on_the_path_for_what_a_user_names(
    command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_overrides: dict[str, tuple[str, ...]],
) -> None:
    """As where a console script was started. A stranger's run that lies there imports nothing."""
    path = [place for place in sys.path if place and Path(place) != tmp_path]
    monkeypatch.setattr("sys.path", path)
    (tmp_path / "at_start.py").write_text("from coseg.models.siamese import SiameseNetwork as Own\n")
    own = ("model=siamese", "model._target_=at_start.Own", "trainer.max_epochs=1", "panels=0")
    outcome = command("train", *tiny_overrides["train"], *own, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert str(tmp_path) == sys.path[-1]

    monkeypatch.setattr("sys.path", before := [place for place in path if place != str(tmp_path)])
    del sys.modules["at_start"]
    (tmp_path / "at_start.py").write_text("raise SystemError('imported')\n")
    for words in (("train", "resume=run"), ("test", "ckpt=run/checkpoints/last.ckpt", *tiny_overrides["test"])):
        outcome = command(*words)
        assert outcome.code == 2 and mentions(outcome.err, "trust=true"), outcome.err
        assert sys.path == before and "at_start" not in sys.modules


def test_a_run_that_is_finished_says_so_before_data_are_read_and_is_extended(
    command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_overrides: dict[str, tuple[str, ...]],
) -> None:
    """Ended by its steps in the middle of an epoch, it has a best checkpoint; its schedule goes on, too."""
    run = tmp_path / "run"
    settings = ("trainer.max_steps=6", "trainer.max_epochs=9", "schedule=one_cycle", "callbacks=learning_rates")
    outcome = command("train", *tiny_overrides["train"], *settings, "panels=0", "hydra.run.dir=run")
    assert outcome.code == 0 and "Did you call" not in outcome.err
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert read_checkpoint(run / "checkpoints" / "best.ckpt")["global_step"] in (4, 6)

    with monkeypatch.context() as patch:
        patch.setattr("coseg.training.fit.make_datamodule", None)
        for words in ((), ("trainer.max_steps=5",)):
            outcome = command("train", "resume=run", *words)
            assert outcome.code == 0 and mentions(outcome.out, "finished", "6 steps", "trainer.max_steps=")

    outcome = command("train", "resume=run", "trainer.max_steps=11")
    assert outcome.code == 0, outcome.err
    with (run / "metrics.csv").open(newline="") as file:
        rates = {int(row["step"]): float(row["lr"]) for row in csv.DictReader(file) if row["lr"]}
    assert list(rates) == list(range(11))
    assert rates[6] > 100 * rates[5] and rates[10] < rates[9] < rates[8]  # up to the curve of 11 steps, and down again
    assert json.loads((run / "finished.json").read_text())["step"] == 11
    assert OmegaConf.load(run / "config.yaml").trainer.max_steps == 11
    assert command("train", "resume=run").out.count("11 steps") == 1
