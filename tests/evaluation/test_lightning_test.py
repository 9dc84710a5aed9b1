"""Pairs of a test in several processes: each pair once, each image encoded by one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from coseg.errors import CosegError
from coseg.evaluation.lightning_test import PairTest
from coseg.evaluation.score import score

Compose = Callable[..., DictConfig]


def test_processes_share_the_pairs() -> None:
    test = PairTest.__new__(PairTest)
    torch.nn.Module.__init__(test)
    test.keys = [(i, j) for i in range(9) for j in range(i + 1, 9)]
    shares = [test.share(rank, 4) for rank in range(4)]
    assert [key for share in shares for key in share] == test.keys
    assert {len(share) for share in shares} == {9}
    assert test.images_in([(0, 3), (3, 7)]) == {0, 3, 7}


@pytest.mark.parametrize("name", ["feature_gb", "shared_gb"])
def test_a_bound_is_a_number_of_gigabytes(name: str, compose: Compose, tiny_overrides: Any, trained: Path) -> None:
    config = compose("test", *tiny_overrides["test"], f"ckpt={trained / 'checkpoints' / 'best.ckpt'}")
    config[name] = -1
    with pytest.raises(CosegError, match=name):
        score(config)


COUNTING = """
import os

from coseg.models.cross_correlation import CrossCorrelationNetwork


class Counting(CrossCorrelationNetwork):
    def encode(self, image):
        with open(os.environ["ENCODED"], "a") as file:
            file.write(f"{os.getpid()}\\n")
        return super().encode(image)
"""


@pytest.mark.slow
def test_four_processes_encode_each_image_once(tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    """Real commands, four spawned processes, and a network that writes a line when it encodes an image."""
    (tmp_path / "counting.py").write_text(COUNTING)
    encoded = tmp_path / "encoded"
    environment = {**os.environ, "ENCODED": str(encoded)}

    def command(name: str, *arguments: str) -> None:
        words = [sys.executable, "-m", f"coseg.cli.{name}", *tiny_overrides[name], *arguments]
        ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=environment)
        assert ran.returncode == 0, ran.stderr

    command("train", "model._target_=counting.Counting", "panels=0", "trainer.max_epochs=1", "name=run")
    (run,) = tmp_path.glob("runs/run/*")
    settings = (f"ckpt={run / 'checkpoints' / 'best.ckpt'}", "trust=true", "split=seen", "panels=0")
    lines: dict[str, list[str]] = {}
    for name, more in {
        "one": (),
        "shared": ("trainer=ddp_cpu", "trainer.devices=4"),
        "apart": ("trainer=ddp_cpu", "trainer.devices=4", "shared_gb=0"),
    }.items():
        encoded.unlink(missing_ok=True)
        command("test", *settings, f"protocol.name={name}", *more)
        lines[name] = encoded.read_text().split()
    assert len(lines["one"]) == len(lines["shared"]) == 16, "the images of the split"
    assert len(Counter(lines["shared"])) == 4 and max(Counter(lines["shared"]).values()) <= 5, "shared evenly"
    assert len(lines["apart"]) > 1.3 * 16
    one, shared = (run / "test" / f"shapes-seen-{name}" for name in ("one", "shared"))
    assert (one / "pairs.csv").read_text() == (shared / "pairs.csv").read_text()
    assert {path.name for path in shared.iterdir()} == {path.name for path in one.iterdir()}
    jaccard = [json.loads((folder / "results.json").read_text())["jaccard"] for folder in (one, shared)]
    assert jaccard[0] == jaccard[1]
