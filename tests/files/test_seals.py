from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from coseg.files.seals import Changed, check_seal, seal

STATE = {"state_dict": {"a": torch.arange(3000.0), "b": torch.zeros(7)}, "words": ["one", {"two": 2}]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "state.ckpt"
    torch.save(STATE, path)
    return path


def changed(data: bytes, place: int, bit: int) -> bytes:
    copy = bytearray(data)
    copy[place] ^= 1 << bit
    return bytes(copy)


def test_every_changed_bit_is_noticed(file: Path) -> None:
    seal(file)
    check_seal(file, needed=True)
    data = file.read_bytes()
    rng = random.Random(0)
    end = range(len(data) - 120, len(data))  # the ZIP file's last record and the checksum itself
    for place in [*rng.sample(range(len(data)), 200), *end]:
        file.write_bytes(changed(data, place, rng.randrange(8)))
        with pytest.raises(Changed):
            check_seal(file)


@pytest.mark.parametrize("length", [0, 10, 1000, -1, -77, -99])
def test_a_cut_file_is_noticed(file: Path, length: int) -> None:
    seal(file)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(Changed):
        check_seal(file)


def test_a_sealed_file_is_read_by_all(file: Path) -> None:
    seal(file)
    for source in (file, io.BytesIO(file.read_bytes())):
        found = torch.load(source, weights_only=True)
        assert torch.equal(found["state_dict"]["a"], STATE["state_dict"]["a"]) and found["words"] == STATE["words"]
    assert torch.load(file, weights_only=True, mmap=True)["words"] == STATE["words"]
    assert zipfile.ZipFile(file).testzip() is None


def test_a_file_of_before_is_compared_by_its_members(file: Path) -> None:
    check_seal(file)
    with pytest.raises(Changed):
        check_seal(file, needed=True)
    data = file.read_bytes()
    place = data.index(torch.arange(3000.0).numpy().tobytes()) + 5001
    file.write_bytes(changed(data, place, 3))
    torch.load(file, weights_only=True)  # which does not look
    with pytest.raises(Changed, match="data/0"):
        check_seal(file)


def test_only_zip_files_are_sealed_and_once(tmp_path: Path, file: Path) -> None:
    seal(file)
    with pytest.raises(ValueError):
        seal(file)
    np.save(tmp_path / "a.npy", np.zeros(100))
    with pytest.raises(ValueError):
        seal(tmp_path / "a.npy")
    with pytest.raises(Changed):
        check_seal(tmp_path / "a.npy")
