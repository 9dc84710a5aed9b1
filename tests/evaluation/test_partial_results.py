"""Finished pairs on disk: read back as they were, and never those of another test."""

import errno
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from coseg.errors import CosegError
from coseg.evaluation.partial_results import Part, PartialResults, keys_of
from coseg.metrics.baselines import BaselineScores


def part(*pairs: tuple[int, int]) -> Part:
    table = np.arange(len(pairs) * 14).reshape(-1, 14)
    table[:, :2] = pairs
    return Part(table, np.linspace(-1, 1, len(pairs)), {"masks": np.array(2.0 * len(pairs))}, 1.5)


def test_parts_come_back(tmp_path: Path) -> None:
    partial_results = PartialResults(tmp_path / "parts", "a")
    assert partial_results.read() == []
    partial_results.write(part((0, 1), (0, 2)))
    partial_results.write(part((1, 2)))
    first, second = PartialResults(tmp_path / "parts", "a").read()
    np.testing.assert_array_equal(first.table, part((0, 1), (0, 2)).table)
    assert keys_of([first, second]) == [(0, 1), (0, 2), (1, 2)]
    assert (first.baselines["masks"], first.seconds) == (4.0, 1.5)
    partial_results.remove()
    assert not (tmp_path / "parts").exists()
    partial_results.remove()


def test_other_parts_are_thrown_away(tmp_path: Path) -> None:
    partial_results = PartialResults(tmp_path, "a")
    partial_results.write(part((0, 1)))
    partial_results.write(part((0, 1), (0, 2)))  # of two commands that ran at once
    PartialResults(tmp_path, "b").write(part((0, 3)))
    (tmp_path / "9-damaged.npz").write_bytes(b"PK\3\4 half of a file")
    (tmp_path / "notes.txt").write_text("not ours")
    (tmp_path / ".9.npz").write_bytes(b"being written")
    assert keys_of(partial_results.read()) == [(0, 1)]
    assert len(list(tmp_path.iterdir())) == 3
    assert PartialResults(tmp_path, "b").read() == []
    partial_results.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_changed_part_is_tested_anew_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Any bit of it: of the counts, or of the headers."""
    PartialResults(tmp_path, "a").write(part((0, 1), (0, 2)))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    rng = random.Random(0)
    for place in rng.sample(range(len(whole)), 100):
        data = bytearray(whole)
        data[place] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
        caplog.clear()
        with caplog.at_level("INFO"):
            assert PartialResults(tmp_path, "a").read() == []
        assert "1 damaged parts" in caplog.text and str(tmp_path) in caplog.text
        assert not file.exists()
    file.write_bytes(whole)
    assert keys_of(PartialResults(tmp_path, "a").read()) == [(0, 1), (0, 2)]


def test_a_full_disk_is_told_and_parts_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial_results = PartialResults(tmp_path / "parts", "a")
    partial_results.write(part((0, 1)))

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CosegError, match=r"No space left on device.*parts.*same command again"):
        partial_results.write(part((0, 2)))
    assert keys_of(partial_results.read()) == [(0, 1)]
    assert len(list((tmp_path / "parts").iterdir())) == 1


def test_baselines_from_sums() -> None:
    values = torch.tensor([0, 1, 2, 255], dtype=torch.uint8)
    targets = [values[torch.randint(4, (2, 9, 8))] for _ in range(4)]
    whole, summed = BaselineScores(), BaselineScores()
    for k in (0, 2):
        whole.update(targets[k], targets[k + 1])
        one = BaselineScores()
        one.update(targets[k], targets[k + 1])
        summed.add_sums(one.sums())
    for name, value in whole.compute().items():
        torch.testing.assert_close(summed.compute()[name], value)
