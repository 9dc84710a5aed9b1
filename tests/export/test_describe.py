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
from facts import mentions
from numpy.typing import NDArray
from PIL import Image
from tiny_networks import model_of, siamese

from coseg.data.readers.shapes import ShapesReader
from coseg.export.describe import config_of, example, readme
from coseg.export.graphs import graphs_of
from coseg.imaging.read import FORMATS
from coseg.models.base import CosegNetwork


def test_the_text_beside_the_graphs_follows_the_network() -> None:
    network = siamese(input_size=32)
    settings = model_of(network).settings
    config = config_of(settings, graphs_of(network), True, True, {"onnx": 1.234e-6})
    text = readme(config, "a test")
    assert config["graphs"]["differences"] == {"onnx": 1.2e-6}
    assert mentions(text, "32 x 32", "mirror", "itself")
    assert f"FORMATS = {FORMATS}" in example(config) and "formats=FORMATS" in example(config)
    assert "image.resize((32, 32)" in example(config) and example(config) in text
    assert "ImageOps.contain(image, (160, 160)" in example(
        {**config, "size": 160, "graphs": {**config["graphs"], "resize": "longest"}}
    )
    assert "python" not in readme(config_of(settings, graphs_of(network), True, False, {"torch": 0.0}), "a test")


def run_example(code: str, folder: Path, graphs: Path) -> list[NDArray[np.bool_]]:
    """The masks that the program makes of ``a.png`` and ``b.png`` in `folder`."""
    for name in ("encode.onnx", "cosegment.onnx"):
        (folder / name).symlink_to(graphs / name)
    ran = subprocess.run(
        [sys.executable, "-c", code, "a.png", "b.png"], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    return [np.array(Image.open(folder / f"{name}.mask.png")) for name in "ab"]


@pytest.mark.slow
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
