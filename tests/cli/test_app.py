from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from coseg.cli import app, places
from coseg.errors import CosegError
from coseg.training.errors import Stopped

HANDED_OVER = """

-- Process 1 terminated with the following error:
Traceback (most recent call last):
  File "x.py", line 7, in wrap
{}
"""


def test_sentences_of_spawned_processes() -> None:
    assert app.sentence(CosegError("Mend it.")) == "Mend it."
    assert app.sentence(Exception(HANDED_OVER.format("coseg.errors.CosegError: Mend it."))) == "Mend it."
    assert app.sentence(ValueError("a defect")) is None


def test_sentences_of_a_loaders_workers() -> None:
    text = (
        'Caught CosegError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File "x"\n'
    )
    for name in ("CosegError", "DamagedFile"):
        assert app.sentence(CosegError(text + f"coseg.errors.{name}: a.jpg can't be read.\n")) == "a.jpg can't be read."


def test_a_stop_in_a_spawned_process_is_one_here() -> None:
    stopped = Stopped(Path("/runs/a b/checkpoints/last.ckpt"), 2)
    text = f"{Stopped.__module__}.Stopped: {stopped}"
    found = Stopped.find(Exception(HANDED_OVER.format(text)))
    assert found is not None
    assert (found.path, found.code) == (stopped.path, 130)
    assert found.sentence.endswith("coseg-train \"resume='/runs/a b'\"")
    assert Stopped.find(ValueError("a defect")) is None
    assert Stopped.find(stopped) is stopped


def test_two_runs_in_one_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for _ in range(3):
        places.forget_places()
        folder = Path(places.run_directory(str(tmp_path / "runs"), "a", None))
        assert str(folder) == places.run_directory(str(tmp_path / "runs"), "a", None)
        folder.mkdir(parents=True)
        made.append(folder)
    assert len(set(made)) == 3


def test_a_root_is_kept_absolute(
    compose: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is resumed, and its configuration read, from any directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COSEG_VOC_ROOT", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    roots = {"photographs": str(tmp_path / "photographs"), "'~/voc'": "/home/somebody/voc", "null": None}
    for given, kept in roots.items():
        config = compose("train", "experiment=voc_mini", f"dataset.root={given}")
        assert config.data.reader.root == kept
