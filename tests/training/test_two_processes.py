from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from metrics_file import read_losses
from omegaconf import DictConfig

from coseg.evaluation.score import score


def test_two_processes_train_and_test(
    compose: Callable[..., DictConfig], tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    """Real commands, two spawned processes each: 2 steps of training, and a test that counts each pair once."""

    def command(name: str, *arguments: str) -> None:
        words = [sys.executable, "-m", f"coseg.cli.{name}", "trainer=ddp_cpu", *tiny_overrides[name], *arguments]
        ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert ran.returncode == 0, ran.stderr

    command("train", "panels=0", "trainer.max_epochs=1", "data.val_negatives=2")
    (run,) = tmp_path.glob("runs/shapes/*")
    assert [step for step, _ in read_losses(run)] == [0, 1]  # 16 pairs in batches of 4 in each of two processes
    assert len(json.loads((run / "environment.json").read_text())) == 1
    checkpoint = run / "checkpoints" / "best.ckpt"
    settings = (f"ckpt={checkpoint}", "split=seen", "panels=1", "data.test_negatives=3")
    command("test", *settings, "protocol.name=two")

    (one,) = score(compose("test", *tiny_overrides["test"], *settings, "protocol.name=one"))
    two = run / "test" / "shapes-seen-two"
    assert (one / "pairs.csv").read_text() == (two / "pairs.csv").read_text()
    results = [json.loads((folder / "results.json").read_text()) for folder in (one, two)]
    assert results[0]["pairs"] % 2 == 1, "an odd number of pairs shows that none is counted twice"
    for each in results:
        del each["seconds"], each["protocol"], each["checksum"]
    assert results[0] == results[1]
