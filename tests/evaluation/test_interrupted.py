"""A test that was interrupted goes on where it stopped, to the same numbers."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts.groups import GroupItem, write_folder
from numpy.typing import NDArray
from omegaconf import DictConfig
from PIL import Image, ImageOps

from coseg.evaluation import lightning_test
from coseg.evaluation.iteration import PairGroup
from coseg.evaluation.lightning_test import PairTest
from coseg.evaluation.partial_results import Part, PartialResults, keys_of
from coseg.evaluation.score import score

Command = Callable[..., tuple[int, str, str]]
Pairs = list[tuple[int, int]]

KILLED = """
import os, signal
from coseg.evaluation.partial_results import PartialResults
from coseg.evaluation.iteration import PairGroup
from coseg.evaluation import lightning_test
lightning_test.WRITE_SECONDS = 0.0
write, count = PartialResults.write, 0
def killing(partial_results, part):
    global count
    write(partial_results, part)
    count += 1
    if count == 7:
        os.kill(os.getpid(), signal.SIGKILL)
PartialResults.write = killing
from coseg.cli.test import main
main()
"""


@pytest.fixture
def arguments(run: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Of a test of its best checkpoint."""
    return (*tiny_overrides["test"], "panels=0", f"ckpt={run / 'checkpoints' / 'best.ckpt'}", "split=unseen")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Pairs:
    """The pairs that go to disk from here on, each batch at once."""
    pairs: Pairs = []
    write = PartialResults.write

    def counting(partial_results: PartialResults, part: Part) -> None:
        write(partial_results, part)
        pairs.extend(keys_of([part]))

    monkeypatch.setattr(PartialResults, "write", counting)
    monkeypatch.setattr(lightning_test, "WRITE_SECONDS", 0.0)
    return pairs


def outcome(folder: Path) -> tuple[dict[str, Any], str]:
    results = json.loads((folder / "results.json").read_text())
    del results["seconds"], results["checksum"]
    return results, (folder / "pairs.csv").read_text()


def test_killed_and_run_again(
    compose: Callable[..., DictConfig],
    run: Path,
    arguments: tuple[str, ...],
    written: Pairs,
) -> None:
    arguments = (*arguments, "split=seen")
    (folder,) = score(compose("test", *arguments))
    pairs = written
    expected, every = outcome(folder), sorted(pairs)
    assert not (folder / "parts").exists()
    shutil.rmtree(folder)
    pairs.clear()

    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, timeout=600)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list((folder / "parts").iterdir())) == 7
    assert not (folder / "results.json").exists()

    (again,) = score(compose("test", *arguments))
    assert again == folder
    assert outcome(folder) == expected
    assert 0 < len(pairs) < len(every), "finished pairs were tested again"
    assert not (folder / "parts").exists()


def test_stopped_by_a_signal_then_another_checkpoint(
    command: Command,
    run: Path,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    written: Pairs,
) -> None:
    pairs = written
    arguments = (*arguments, "split=seen")
    folder = run / "test" / "shapes-seen-paper"
    count_pixels = PairTest.score

    def signalled(self: PairTest, group: PairGroup) -> None:
        if len(pairs) > 2:
            os.kill(os.getpid(), signal.SIGTERM)
        count_pixels(self, group)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(PairTest, "score", signalled)
        code, out, err = command("test", *arguments, f"ckpt={run / 'checkpoints' / 'last.ckpt'}")
    assert code == 128 + signal.SIGTERM
    assert f"{folder / 'parts'} " in err and "Traceback" not in err
    assert signal.getsignal(signal.SIGTERM) is before
    first = list(pairs)
    assert first
    pairs.clear()

    code, out, err = command("test", *arguments)
    assert code == 0, err
    assert "interrupted" not in out
    assert set(first) < set(pairs), "parts of another checkpoint were taken for those of this one"


@pytest.mark.parametrize("full", ["parts", "results"])
def test_a_full_disk(
    full: str,
    command: Command,
    run: Path,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    written: Pairs,
) -> None:
    pairs = written
    folder = run / "test" / "shapes-unseen-paper"
    with monkeypatch.context() as patch:

        def no_room(path: Path, data: Any, **more: Any) -> int:
            if full == "results" or len(pairs) > 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write_bytes(path, data)

        write_bytes = Path.write_bytes
        patch.setattr(Path, "write_bytes" if full == "parts" else "write_text", no_room)
        code, out, err = command("test", *arguments)
    assert code == 2, err
    assert "No space left on device" in err and str(folder / "parts") in err and "Traceback" not in err
    first = list(pairs)
    assert first and not (folder / "results.json").exists()
    pairs.clear()

    code, out, err = command("test", *arguments)
    assert code == 0, err
    assert f" {len(first)} finished pairs" in out
    assert not set(first) & set(pairs)
    assert json.loads((folder / "results.json").read_text())["pairs"] == len(first) + len(pairs)


class Cut(Exception):
    """The test ends here."""


def test_parts_of_other_images_are_thrown_away(
    compose: Callable[..., DictConfig],
    run: Path,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    written: Pairs,
) -> None:
    with monkeypatch.context() as patch:
        write = PartialResults.write

        def cut(partial_results: PartialResults, part: Part) -> None:
            write(partial_results, part)
            raise Cut

        patch.setattr(PartialResults, "write", cut)
        with pytest.raises(Cut):
            score(compose("test", *arguments))
    first = list(written)
    assert first
    written.clear()
    score(compose("test", *arguments, "dataset.reader.size=64"))  # the same ids and classes, other pixels
    assert set(first) < set(written)


def test_images_replaced_under_the_same_names(
    compose: Callable[..., DictConfig],
    command: Command,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: Pairs,
) -> None:
    root = tmp_path / "own"
    write_folder(root, [GroupItem("square", image, truth) for image, truth in squares(4)])
    settings = ("data.workers=0", "trainer.accelerator=cpu", "threads=1", "panels=0", "pairs_at_once=1")
    arguments = ("dataset=folder", f"dataset.root={root}", f"ckpt={run / 'checkpoints' / 'best.ckpt'}", *settings)
    write = PartialResults.write

    def cut(partial_results: PartialResults, part: Part) -> None:
        write(partial_results, part)
        if len(written) == 3:
            raise Cut

    def interrupted() -> None:
        written.clear()
        with monkeypatch.context() as patch:
            patch.setattr(PartialResults, "write", cut)
            with pytest.raises(Cut):
                score(compose("test", *arguments))

    interrupted()
    for path in root.rglob("*.*"):
        os.utime(path, (1, 1))  # unpacked again: the same images
    written.clear()
    code, out, err = command("test", *arguments)
    assert code == 0, err
    assert " 3 finished pairs" in out and len(written) == 3

    interrupted()
    mask = root / "square" / "masks" / "0004.png"
    with Image.open(mask) as file:
        ImageOps.mirror(file).save(mask)
    written.clear()
    code, out, err = command("test", *arguments)
    assert code == 0, err
    assert "3 parts of another test" in out and "finished pairs" not in out and len(written) == 6


def squares(count: int) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Images with a square each, left of the middle, and their truth."""
    found = []
    for k in range(count):
        truth = np.zeros((48, 48), np.uint8)
        truth[10:30, 4 : 18 + k] = 1
        found.append((np.repeat(truth[..., None] * np.uint8(50 * k + 90), 3, -1), truth))
    return found


def test_no_results_of_fewer_pairs(
    command: Command,
    run: Path,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    written: Pairs,
) -> None:
    folder = run / "test" / "shapes-unseen-paper"
    with monkeypatch.context() as patch:
        read, reads = PartialResults.read, 0

        def losing(partial_results: PartialResults) -> list[Part]:
            nonlocal reads
            reads += 1
            if reads == 2:  # after the last pair
                min(partial_results.folder.glob("*.npz")).unlink()
            return read(partial_results)

        patch.setattr(PartialResults, "read", losing)
        code, _, err = command("test", *arguments)
    whole = set(written)
    assert code == 2 and re.search(rf"parts .*\d+ of {len(whole)} ", err) and "Traceback" not in err
    assert not (folder / "results.json").exists()
    written.clear()
    code, _, err = command("test", *arguments)
    assert code == 0, err
    assert 0 < len(written) < len(whole)
    assert json.loads((folder / "results.json").read_text())["pairs"] == len(whole)
