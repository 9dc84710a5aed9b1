from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from metrics_file import read_losses
from omegaconf import DictConfig

from coseg.evaluation.score import score


@pytest.mark.slow
def test_two_processes_train_and_test(
    compose: Callable[..., DictConfig], tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    """Real commands, two spawned processes each: 2 steps of training, and a test that counts each pair once."""

    (tmp_path / "srun").write_text("#!/bin/sh\n")  # Lightning advises to use it
    (tmp_path / "srun").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    def command(name: str, *arguments: str) -> str:
        words = [sys.executable, "-m", f"coseg.cli.{name}", "trainer=ddp_cpu", *tiny_overrides[name], *arguments]
        ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=environment)
        assert ran.returncode == 0, ran.stderr
        assert not ran.stderr  # no hints, warnings of deprecation, or words about processes
        return ran.stdout

    out = command("train", "panels=0", "trainer.max_epochs=1", "data.val_negatives=2", "schedule=one_cycle")
    assert out.count("validation: ") == 1 and "Loading" not in out
    (run,) = tmp_path.glob("runs/shapes/*")
    assert [step for step, _ in read_losses(run)] == [0, 1]  # 16 pairs in batches of 4 in each of two processes
    assert (run / "train.log").read_text().count("validation: ") == 1
    assert len(json.loads((run / "environment.json").read_text())) == 1
    checkpoint = run / "checkpoints" / "best.ckpt"
    settings = (f"ckpt={checkpoint}", "split=seen", "panels=1", "data.test_negatives=3", "save_masks=true")
    left = run / "test" / "shapes-seen-two" / "masks" / "old" / "mask.png"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of an earlier test")
    command("test", *settings, "protocol.name=two")

    (one,) = score(compose("test", *tiny_overrides["test"], *settings, "protocol.name=one"))
    two = run / "test" / "shapes-seen-two"
    assert (one / "pairs.csv").read_text() == (two / "pairs.csv").read_text()
    masks = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (one / "masks", two / "masks")
    ]
    assert masks[0] == masks[1], "each mask is written once, by one of the processes"
    assert len(masks[0]) == 2 * (json.loads((one / "results.json").read_text())["pairs"] + 3)  # negatives have no score
    results = [json.loads((folder / "results.json").read_text()) for folder in (one, two)]
    assert results[0]["pairs"] % 2 == 1, "an odd number of pairs shows that none is counted twice"
    for each in results:
        del each["seconds"], each["protocol"], each["checksum"]
    assert results[0] == results[1]
