"""Files of ``torch.save``: tensors and plain values, and none that stands for more than it has bytes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from coseg.errors import CosegError
from coseg.files.seals import read_torch_file


def test_tensors_come_back(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3)}, tmp_path / "a.pt")
    assert read_torch_file(tmp_path / "a.pt", "refused")["a"].tolist() == [0, 1, 2]


def test_other_objects_and_damaged_files_are_refused(tmp_path: Path) -> None:
    torch.save({"a": Path}, tmp_path / "class.pt")
    (tmp_path / "text.pt").write_text("no tensors")
    for name in ("class.pt", "text.pt"):
        with pytest.raises(CosegError, match="refused"):
            read_torch_file(tmp_path / name, "refused")


def test_a_compressed_file_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(10_000)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as plain,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(CosegError, match="refused"):
        read_torch_file(tmp_path / "b.pt", "refused")
