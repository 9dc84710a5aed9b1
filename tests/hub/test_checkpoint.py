"""Checkpoints as files: whole or not written, compared with their checksum; the network in one, without Lightning."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_networks import network_config

from coseg.errors import CosegError
from coseg.hub.checkpoint import read_network, write_checkpoint
from coseg.training.task import load_task

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


def test_the_network_of_a_checkpoint_is_that_of_its_task(trained: Path) -> None:
    path = trained / "checkpoints" / "best.ckpt"
    task, in_file = load_task(path), read_network(path)
    expected = task.network.state_dict()
    assert in_file.network.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in in_file.network.state_dict().items())
    assert in_file.config == task.hparams["network"] and in_file.step > 0
    assert in_file.class_names == tuple(task.hparams["class_names"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": None}, "load_from_checkpoint"),
        ({"class_names": [1]}, "hyper_parameters.class_names"),
        ({"network": {"_target_": "os.system"}}, "no network or encoder of coseg"),
        ({"network": network_config("siamese.SiameseNetwork")}, "does not fit the network"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_network_is_refused(
    change: dict[str, Any], words: str, trained: Path, tmp_path: Path
) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["hyper_parameters"] = {**checkpoint["hyper_parameters"], **change}
    torch.save(checkpoint, tmp_path / "best.ckpt")
    with pytest.raises(CosegError, match=words) as error:
        read_network(tmp_path / "best.ckpt")
    assert str(tmp_path) in str(error.value)
