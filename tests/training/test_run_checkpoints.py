from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins import TorchCheckpointIO
from omegaconf import DictConfig

from coseg.errors import CosegError
from coseg.hub.checkpoint import read_checkpoint, write_checkpoint
from coseg.training.fit import fit, make_trainer
from coseg.training.run_checkpoints import SealedCheckpointIO
from coseg.training.task import CosegTask, load_task

SMALL = {"a": torch.ones(3)}


def test_lightning_removes_a_file_of_any_name(tmp_path: Path) -> None:
    for name in ("[ab].ckpt", "a.ckpt"):
        write_checkpoint(SMALL, tmp_path / name)
    SealedCheckpointIO().remove_checkpoint(tmp_path / "[ab].ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def test_all_trainers_write_so_unless_another_way_is_chosen(tiny: Callable[..., DictConfig]) -> None:
    class Own(TorchCheckpointIO):
        pass

    assert isinstance(make_trainer(tiny(), [], False).strategy.checkpoint_io, SealedCheckpointIO)
    assert isinstance(make_trainer(tiny(), [], False, plugins=[Own()]).strategy.checkpoint_io, Own)


def test_training_uses_no_temporary_directory(
    tiny: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever TMPDIR is, and on whatever file system: nothing is written there, and nothing moved from it."""

    def none(*_: Any, **__: Any) -> Any:
        raise AssertionError("a temporary directory is used")

    for name in ("mkstemp", "mkdtemp", "NamedTemporaryFile"):
        monkeypatch.setattr(tempfile, name, none)
    monkeypatch.setattr(shutil, "move", none)
    fit(tiny("trainer.max_epochs=1", "callbacks=ema"), tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "last.ckpt"]
    for path in folder.iterdir():
        assert b"coseg-sha256:" in path.read_bytes()[-100:]
        assert read_checkpoint(path)["global_step"] == 4
        assert load_task(path).network is not None
        CosegTask.load_from_checkpoint(path, weights_only=True)


@pytest.mark.parametrize("minutes", [0, 1e-9], ids=["at the end of an epoch", "by the clock"])
def test_a_full_disk_ends_training_with_a_sentence(
    minutes: float, tiny: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(checkpoint: dict[str, Any], file: Any) -> None:
        if checkpoint["global_step"] > 4:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(checkpoint, file)

    save = torch.save
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CosegError, match="No space left on device") as error:
        fit(tiny(f"checkpoint_minutes={minutes}"), tmp_path)
    assert str(tmp_path / "checkpoints") in str(error.value)
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert read_checkpoint(last)["global_step"] == 4
    assert sorted(path.name for path in last.parent.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_full_disk_under_the_table_of_losses(
    tiny: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning.pytorch.loggers import CSVLogger

    def full(self: CSVLogger) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(CSVLogger, "save", full)
    with pytest.raises(CosegError, match="No space left on device") as error:
        fit(tiny("trainer.max_epochs=1"), tmp_path)
    assert str(tmp_path) in str(error.value)
