"""What the command wrote, in the runtimes of those who use it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from coseg.data.readers.shapes import ShapesReader
from coseg.export.describe import example
from coseg.inference.pretrained import load_pretrained
from coseg.models.network import CosegNetwork

SIZES = [(48, 48), (9, 70), (61, 40)]


@pytest.fixture(scope="module")
def network(exported: Any) -> CosegNetwork:
    return load_pretrained(exported.run).network


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


def test_axes_have_names(exported: Any) -> None:
    onnx = pytest.importorskip("onnx")
    shapes = {}
    for name in ("encode", "cosegment"):
        graph = onnx.load(exported.folder / f"{name}.onnx").graph
        for value in graph.input:
            shapes[value.name] = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
    assert shapes["images"] == ["batch", 3, "height", "width"]
    assert shapes["features"] == ["batch", 64, "rows", "columns"]
    assert shapes["kernels"] == ["batch", 64, 3, 3]


def test_the_command_tells_what_differs(exported: Any) -> None:
    for form in ("onnx", "torch", "safetensors"):
        (worst,) = re.findall(rf"^{form}: differs by at most (\S+)", exported.out, re.MULTILINE)
        assert float(worst) <= 1e-4
    assert "onnx: 2 of 32 x 32 with 9 x 51: " in exported.out  # of different sizes


def test_safetensors_are_the_model(exported: Any, network: CosegNetwork) -> None:
    shared = load_pretrained(exported.folder)
    seen = images(1, (48, 48), 0), images(1, (40, 56), 1)
    with torch.no_grad():
        for mine, theirs in zip(shared.network(*seen), network(*seen), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-5)  # the run's may have its channels last
    assert "# CrossCorrelationNetwork" in (exported.folder / "README.md").read_text()


def test_int8_is_smaller_and_was_scored(exported: Any) -> None:
    for name in ("encode", "cosegment"):
        sizes = [(exported.folder / f"{name}{suffix}").stat().st_size for suffix in (".onnx", ".int8.onnx")]
        assert sizes[1] < 0.7 * sizes[0]
    rows = dict(re.findall(r"^(float32|int8|difference) +([-+.\d]+)", exported.out, re.MULTILINE))
    float32, int8, difference = (float(rows[name]) for name in ("float32", "int8", "difference"))
    assert int8 - float32 == pytest.approx(difference, abs=2e-4)
    assert abs(difference) < 0.1


def test_float32_scores_are_those_of_the_network(
    exported: Any, network: CosegNetwork, compose: Any, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    from coseg.training.fit import make_datamodule

    splits = {"train": "seen", "val": "seen", "test": "seen"}
    datamodule = make_datamodule(compose("test", *tiny_overrides["test"], "data.test_pairs=20"), splits=splits)
    order, catalog = datamodule.order("test"), datamodule.catalog("test")
    overlaps = []
    for i, j in {order.pair(0, k) for k in range(len(order))}:
        common = np.flatnonzero(catalog.presence[i] & catalog.presence[j]) + 1
        pair = [torch.from_numpy(catalog.image(k).transpose(2, 0, 1).copy())[None] for k in (i, j)]
        with torch.no_grad():
            masks = [logits[0].argmax(0).bool().numpy() for logits in network(*pair)]
        for k, mask in zip((i, j), masks, strict=True):
            truth = np.isin(catalog.labels(k), common)
            overlaps.append((mask & truth).sum() / (mask | truth).sum())
    (told,) = re.findall(r"^float32 +([.\d]+)", exported.out, re.MULTILINE)
    assert float(told) == pytest.approx(np.mean(overlaps), abs=1e-3)


def run_example(code: str, folder: Path, graphs: Path) -> list[NDArray[np.bool_]]:
    """The masks that the program makes of ``a.png`` and ``b.png`` in `folder`."""
    for name in ("encode.onnx", "cosegment.onnx"):
        (folder / name).symlink_to(graphs / name)
    ran = subprocess.run(
        [sys.executable, "-c", code, "a.png", "b.png"], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    return [np.array(Image.open(folder / f"{name}.mask.png")) for name in "ab"]


@pytest.mark.parametrize("square", [False, True])
def test_the_example_in_the_readme_works(square: bool, exported: Any, network: CosegNetwork, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (code,) = re.findall(r"```python\n(import sys.*?)```", (exported.folder / "README.md").read_text(), re.DOTALL)
    if square:
        config = json.loads((exported.folder / "config.json").read_text())
        code = example({**config, "size": 48, "graphs": {**config["graphs"], "resize": "square"}})
    catalog = ShapesReader(seed=3, size=56, train=4).read("train")
    pictures = [Image.fromarray(picture) for picture in (catalog.image(0), catalog.image(1)[:43])]
    for name, picture in zip("ab", pictures, strict=True):
        picture.save(tmp_path / f"{name}.png")
    masks = run_example(code, tmp_path, exported.folder)
    seen = [picture.resize((48, 48), Image.Resampling.BILINEAR) if square else picture for picture in pictures]
    with torch.no_grad():
        logits = network(*(torch.from_numpy(np.array(each).transpose(2, 0, 1).copy())[None] for each in seen))
    for mask, each, picture in zip(masks, logits, pictures, strict=True):
        size = (picture.height, picture.width)
        # torch's interpolation stands beside PIL's, both with antialiasing where an axis shrinks
        probability = F.interpolate(each.softmax(1), size, mode="bilinear", align_corners=False, antialias=True)
        assert mask.shape == size and mask.dtype == bool
        assert (mask == (probability[0, 1] > 0.5).numpy()).mean() > 0.995
