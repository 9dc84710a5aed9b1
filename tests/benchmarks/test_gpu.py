from __future__ import annotations

import json
import sys

import pytest
import torch

from benchmarks import gpu
from coseg.cli.sentences import guard
from coseg.configs import compose_config

VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each stage; the map is halved between them."""


def convolution_flops(side: int, width: float = 1.0) -> float:
    """Forward operations of the network's 3 x 3 convolutions for one image whose sides are multiples of 16."""
    total, last = 0.0, 3
    for stage, (channels, convolutions) in enumerate(VGG16):
        for _ in range(convolutions):
            out = int(channels * width)
            total, last = total + 2 * 9 * last * out * (side >> stage) ** 2, out
    features, last = last, 2 * last
    for block, out in enumerate([max(16, min(256, features >> k)) for k in range(1, 5)]):
        total, last = total + 2 * 9 * last * out * (side // 16 << block) ** 2, out
    return total + 2 * 9 * last * 2 * side**2


def test_the_papers_training_is_1_85_exaflop() -> None:
    """10 images of 513 x 513, padded to 528, a step; the gradients cost twice the forward pass."""
    assert gpu.training_exaflops(3 * 10 * convolution_flops(528)) == pytest.approx(1.85, abs=0.01)


def test_counted_operations_are_those_of_the_convolutions() -> None:
    overrides = ["data.batch_size=2", "augmentation.size=64", "model.encoder.width=0.125", "threads=1"]
    step = gpu.Step(compose_config("train", [*gpu.SETTINGS, *overrides]), torch.device("cpu"), "32-true", False)
    assert gpu.flops_of(step) == pytest.approx(3 * 4 * convolution_flops(64, 0.125), rel=0.05)


def test_figures_follow_from_the_time_of_a_step() -> None:
    measures = {"step_seconds": 0.5, "peak_gb": 20.0, "utilisation": 0.9}
    result = gpu.figures(measures, pairs=5, step_flops=6e12, peak=60)
    assert result["pairs_per_second"] == 10
    assert result["teraflops_per_second"] == pytest.approx(12)
    assert result["flops_share"] == pytest.approx(0.2)
    assert result["training_hours"] == pytest.approx(335_000 / 2 / 3600)
    assert result["training_exaflops"] == pytest.approx(2.01)
    assert gpu.figures(measures, 5, 6e12, None)["flops_share"] is None


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit) as end:
        guard(gpu.main)
    out, err = capsys.readouterr()
    assert end.value.code == 2 and "No GPU" in err and "Traceback" not in err and not out


def test_on_a_cpu_both_precisions_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--pairs", "1", "model.encoder.width=0.125", "augmentation.size=32", "threads=1"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--cpu", "--steps", "1", *small])
    gpu.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["precision"] for line in lines] == ["32-true", "bf16-mixed"]
    assert all(line["pairs"] == 1 and line["step_seconds"] > 0 and line["peak_gb"] is None for line in lines)
