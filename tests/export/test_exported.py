"""What the command wrote, in the runtimes of those who use it."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from coseg.hub.load import load_pretrained
from coseg.models.base import CosegNetwork

SIZES = [(48, 48), (9, 70), (61, 40)]


def images(batch: int, size: tuple[int, int], seed: int) -> Tensor:
    made = torch.Generator().manual_seed(seed)
    return torch.randint(256, (batch, 3, *size), dtype=torch.uint8, generator=made)


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_any_batch_and_sizes_as_the_network(form: str, exported: Any, network: CosegNetwork) -> None:
    names = json.loads((exported.folder / "config.json").read_text())["graphs"]["inputs"]["cosegment"]
    if form == "onnx":
        ort = pytest.importorskip("onnxruntime")
        encode, cosegment = (ort.InferenceSession(exported.folder / f"{n}.onnx") for n in ("encode", "cosegment"))
        run_a = lambda seen: encode.run(None, {"images": seen.numpy()})  # noqa: E731
        run_b = lambda *parts: cosegment.run(None, dict(zip(names, parts, strict=True)))[0]  # noqa: E731
    else:
        programs = [torch.export.load(exported.folder / f"{n}.pt2").module() for n in ("encode", "cosegment")]
        run_a = programs[0]
        run_b = lambda *parts: programs[1](*parts).numpy()  # noqa: E731
    assert names == ["features", "kernels"]
    for batch, a, b in ((1, 0, 1), (2, 1, 2), (5, 2, 0), (3, 0, 0)):
        seen = images(batch, SIZES[a], a), images(batch, SIZES[b], 9 + b)
        with torch.no_grad():
            expected, _ = network(*seen)
            logits = run_b(run_a(seen[0])[0], run_a(seen[1])[1])
        height, width = SIZES[a]
        assert np.abs(logits[:, :, :height, :width] - expected.numpy()).max() < 1e-5


def test_the_command_tells_what_differs(exported: Any) -> None:
    for form in ("onnx", "torch", "safetensors"):
        (worst,) = re.findall(rf"^{form}: .*at most (\S+)", exported.out, re.MULTILINE)
        assert float(worst) <= 1e-4
    assert "onnx: 2 of 32 x 32 with 9 x 51: " in exported.out  # of different sizes


def test_safetensors_are_the_model(exported: Any, network: CosegNetwork) -> None:
    shared = load_pretrained(exported.folder)
    seen = images(1, (48, 48), 0), images(1, (40, 56), 1)
    with torch.no_grad():
        for mine, theirs in zip(shared.network(*seen), network(*seen), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-5)  # the run's may have its channels last
    assert "# CrossCorrelationNetwork" in (exported.folder / "README.md").read_text()
