from __future__ import annotations

import errno
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins import TorchCheckpointIO
from omegaconf import DictConfig

from coseg.errors import CosegError
from coseg.training.checkpoint import load_task, read_checkpoint
from coseg.training.checkpoint_io import SealedCheckpointIO, write_checkpoint
from coseg.training.fit import fit, make_trainer
from coseg.training.task import CosegTask

SMALL = {"a": torch.ones(3)}
LARGE = {"a": torch.zeros(1000, 1000)}


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file may become larger: as a full disk does, the system stops a write in its midst."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["last.ckpt", "run [1] a=b, c/лев*.ckpt"])
def test_a_write_that_fails_leaves_the_earlier_checkpoint(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write_checkpoint(SMALL, path)
    before = path.read_bytes()
    with limited(100_000), pytest.raises(CosegError, match="earlier one is untouched") as error:
        write_checkpoint(LARGE, path)
    assert str(path) in str(error.value) and os.strerror(errno.EFBIG) in str(error.value)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    write_checkpoint(LARGE, path)
    assert torch.equal(torch.load(path, weights_only=True)["a"], LARGE["a"])
    assert list(path.parent.iterdir()) == [path]


def test_no_room_at_the_rename_or_the_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(SMALL, path)
    for function in ("fsync", "replace"):

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, function, full)
            with pytest.raises(CosegError, match="No space left on device"):
                write_checkpoint(LARGE, path)
        assert torch.equal(torch.load(path, weights_only=True)["a"], SMALL["a"])
        assert list(tmp_path.iterdir()) == [path]


def test_a_defect_is_no_full_disk(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="pickle") as error:
        write_checkpoint({"a": lambda: None}, tmp_path / "last.ckpt")
    assert not isinstance(error.value, CosegError)
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("bit", [0, 6])
def test_a_changed_bit_is_noticed(bit: int, trained: Path, tmp_path: Path) -> None:
    data = bytearray((trained / "checkpoints" / "best.ckpt").read_bytes())
    path = tmp_path / "best.ckpt"
    for place in (1000, len(data) // 2, len(data) - 5):
        copy = data.copy()
        copy[place] ^= 1 << bit
        path.write_bytes(copy)
        with pytest.raises(CosegError, match="damaged") as error:
            load_task(path)
        assert str(path) in str(error.value)


def test_a_checkpoint_of_before_is_still_read(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    torch.save(torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True), path)
    assert load_task(path).network is not None
