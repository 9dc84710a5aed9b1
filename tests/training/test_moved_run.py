"""A run that is moved, renamed or copied goes on as if it had not been, and touches nothing where it was."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from metrics_file import read_losses, read_rows
from omegaconf import DictConfig

from coseg.evaluation import predictions
from coseg.hub.checkpoint import read_checkpoint
from coseg.signals import Stopped
from coseg.training import fit as fit_module
from coseg.training.fit import fit
from coseg.training.run import resumed_config
from coseg.training.run_checkpoints import RunCheckpoint, run_checkpoints
from coseg.training.task import CosegTask

Tiny = Callable[..., DictConfig]
SCORES = (0.7, 0.3)
"""Of the two validations: the first is the better one."""


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validations with `SCORES`."""
    original = CosegTask.on_validation_epoch_end

    def end(self: CosegTask) -> None:
        compute = self.val_scores.compute
        found = {**compute(), "jaccard": torch.tensor(SCORES[self.current_epoch])}
        with monkeypatch.context() as patch:
            patch.setattr(self.val_scores, "compute", lambda: found)
            original(self)

    monkeypatch.setattr(CosegTask, "on_validation_epoch_end", end)


@pytest.fixture
def stopped(tiny: Tiny, tmp_path: Path, scored: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that is stopped within its second epoch."""
    original = CosegTask.training_step

    def step(self: CosegTask, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, batch_idx)

    folder = tmp_path / "runs" / "first"
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(CosegTask, "training_step", step)
        fit(tiny("panels=1"), folder)
    return folder


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("name", ["renamed", "moved [2], a=b 'c'/Größe 图像"])
@pytest.mark.parametrize("way", ["moved", "copied"])
def test_the_best_checkpoint_and_its_score_are_kept(stopped: Path, name: str, way: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    best = (stopped / "checkpoints" / "best.ckpt").read_bytes()
    shutil.copytree(stopped, folder)
    before = contents(stopped)
    if way == "moved":
        shutil.rmtree(stopped)
    score = fit(resumed_config(folder), folder, resume=True)
    assert score == pytest.approx(SCORES[0])
    assert (folder / "checkpoints" / "best.ckpt").read_bytes() == best
    assert (contents(stopped) == before) if way == "copied" else not stopped.exists()
    assert [step for step, _ in read_losses(folder)] == list(range(8))
    assert [row["step"] for row in read_rows(folder) if row["val/jaccard"]] == ["3", "7"]
    assert (folder / "panels" / "epoch-001.png").is_file()
    state = read_checkpoint(folder / "checkpoints" / "last.ckpt")["callbacks"]
    for values in state.values():
        for path in (values.get("best_model_path"), values.get("dirpath"), *values.get("best_k_models", ())):
            assert path is None or Path(path).is_relative_to(folder.resolve())


def test_a_better_score_replaces_the_best_of_the_copy_alone(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(stopped, tmp_path / "copy")
    before = contents(stopped)
    monkeypatch.setitem(globals(), "SCORES", (0.7, 0.9))
    assert fit(resumed_config(folder), folder, resume=True) == pytest.approx(0.9)
    assert read_checkpoint(folder / "checkpoints" / "best.ckpt")["global_step"] == 8
    assert contents(stopped) == before
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def hostile_paths(folder: Path, outside: Path) -> tuple[str, ...]:
    link = folder / "checkpoints" / "link.ckpt"
    link.symlink_to(outside)
    return (
        str(outside), str(folder / "config.yaml"), "../config.yaml", "../../victim.txt", "..", ".", "config.yaml",
        "other.ckpt", str(folder / "checkpoints" / ".." / "config.yaml"), str(link), f"..\\{outside.name}",
        f"file://{outside}",
    )  # fmt: skip


def test_no_file_that_a_hostile_checkpoint_names_is_removed_or_written(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, beside = tmp_path / "victim.txt", stopped / "checkpoints" / "other.ckpt"
    for path in (outside, beside, stopped / "checkpoints" / "config.yaml"):
        path.write_text("mine")
    paths = hostile_paths(stopped, outside)
    last, best = (stopped / "checkpoints" / name for name in ("last.ckpt", "best.ckpt"))
    best.rename(tmp_path / "elsewhere.ckpt")
    best.symlink_to(tmp_path / "elsewhere.ckpt")  # a link is written over, not through
    checkpoint = read_checkpoint(last)
    keys = [key for key in checkpoint["callbacks"] if key.startswith("ModelCheckpoint")]
    assert len(keys) == 2
    for key in keys:
        checkpoint["callbacks"][key] |= {
            "best_model_path": str(outside), "kth_best_model_path": str(outside), "last_model_path": str(outside),
            "dirpath": str(tmp_path), "best_k_models": {str(outside): torch.tensor(0.1)},
        }  # fmt: skip
    torch.save(checkpoint, last)
    before = contents(tmp_path)
    monkeypatch.setitem(globals(), "SCORES", (0.7, 0.9))
    assert fit(resumed_config(stopped), stopped, resume=True) == pytest.approx(0.9)
    assert not best.is_symlink() and read_checkpoint(best)["global_step"] == 8
    after = contents(tmp_path)
    mine = {"runs/first/" + name for name in ("environment.json", "metrics.csv", "curves.png", "hparams.yaml")}
    mine |= {f"runs/first/checkpoints/{name}.ckpt" for name in ("last", "best", "link")}
    assert {name: after[name] for name in before if name not in mine} == {
        name: content for name, content in before.items() if name not in mine
    }
    assert (stopped / "checkpoints" / "link.ckpt").is_symlink() and outside.read_text() == "mine"
    # Every key with every kind of path, without training.
    state = checkpoint["callbacks"][keys[0]]
    for callback in run_checkpoints(stopped / "checkpoints"):
        for path in paths:
            names = dict.fromkeys(("best_model_path", "kth_best_model_path", "last_model_path", "dirpath"), path)
            callback.load_state_dict({**state, **names, "best_k_models": dict.fromkeys((path, "x"), torch.tensor(0.1))})
            own = {str(best), str(last)}
            named = {callback.best_model_path, callback.kth_best_model_path, callback.last_model_path, ""}
            assert named | set(callback.best_k_models) <= own | {""}
            assert callback.dirpath == str(best.parent)
            assert not callback._should_remove_checkpoint(None, path, str(best))  # type: ignore[arg-type]


def test_a_best_checkpoint_that_is_gone(stopped: Path, caplog: pytest.LogCaptureFixture) -> None:
    (stopped / "checkpoints" / "best.ckpt").unlink()
    with caplog.at_level("WARNING"):
        score = fit(resumed_config(stopped), stopped, resume=True)
    assert score == pytest.approx(SCORES[1])
    assert "best.ckpt" in caplog.text and "missing" in caplog.text and "0.7000" in caplog.text
    assert read_checkpoint(stopped / "checkpoints" / "best.ckpt")["global_step"] == 8


def test_lightnings_own_callback_goes_on_with_it(stopped: Path) -> None:
    """And ours with its: the state of either has one name."""
    ours, _ = run_checkpoints(stopped / "checkpoints")
    theirs = ModelCheckpoint(dirpath=stopped / "checkpoints", filename="best", monitor="val/jaccard", mode="max")
    assert isinstance(ours, RunCheckpoint) and ours.state_key == theirs.state_key
    theirs.load_state_dict(read_checkpoint(stopped / "checkpoints" / "last.ckpt")["callbacks"][theirs.state_key])
    assert float(theirs.best_model_score or 0) == pytest.approx(SCORES[0])


def test_a_finished_run_says_so_before_data_are_read(
    trained: Path,
    tmp_path: Path,
    command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = shutil.copytree(trained, tmp_path / "moved [1] run", ignore=shutil.ignore_patterns("test"))
    before = contents(folder)

    def unread(*_: Any, **__: Any) -> None:
        raise AssertionError("data are read")

    monkeypatch.setattr(fit_module, "make_datamodule", unread)
    code, out, err = command("train", f"resume='{folder}'")
    assert code == 0, err
    assert "finished" in out and "2 epochs, 8 steps" in out and str(folder) in out
    assert contents(folder) == before


def test_a_finished_run_goes_on_where_its_configuration_is_longer(tiny: Tiny, tmp_path: Path) -> None:
    fit(tiny("trainer.max_epochs=1", "schedule=constant"), tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text().replace("max_epochs: 1", "max_epochs: 2"))
    fit(resumed_config(tmp_path), tmp_path, resume=True)
    assert [step for step, _ in read_losses(tmp_path)] == list(range(8))


@pytest.mark.parametrize("way", ["moved", "copied"])
def test_pictures_of_a_test_are_of_the_checkpoint_beside_it(way: str, tmp_path: Path) -> None:
    first, now = tmp_path / "first", tmp_path / "now"
    settings = "split: val\ninput_size: null\ndataset: {}\ndata: {}\nprotocol: {}\n"
    for run in (first, now):
        for folder in ("checkpoints", "test/voc"):
            (run / folder).mkdir(parents=True)
        (run / "test/voc/config.yaml").write_text(f"ckpt: {first}/checkpoints/best.ckpt\n{settings}")
        (run / "checkpoints" / "best.ckpt").touch()
    if way == "moved":
        shutil.rmtree(first)
    assert predictions.tested_config(now / "test" / "voc").ckpt == str(now.resolve() / "checkpoints" / "best.ckpt")
    (now / "checkpoints" / "best.ckpt").unlink()
    assert predictions.tested_config(now / "test" / "voc").ckpt == f"{first}/checkpoints/best.ckpt"
