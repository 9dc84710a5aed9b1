"""Exported graphs as a model of the service: the masks of `CoSegmenter`, and no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from facts import naming
from PIL import Image

from coseg.errors import CosegError
from coseg.inference.photographs import in_srgb, load_photograph
from coseg.serve.graphs import GraphModel, _pooled


@pytest.mark.parametrize("group", ["mean", "join"])
def test_probabilities_are_those_of_the_network(graphs: dict[str, tuple[Path, Any]], group: str) -> None:
    from coseg.inference.segmenter import CoSegmenter

    folder, network = graphs[group]
    model, segmenter = GraphModel(folder, threads=1), CoSegmenter(network, {"threshold": 0.5}, "cpu")
    assert model.group == group
    rows, columns = np.mgrid[:150, :200]
    images = [
        np.stack([128 + 100 * np.sin(rows / (9 + k)), columns + 10 * k, rows + columns / 3], -1).clip(0, 255)
        for k in range(5)
    ]
    pixels = [image.astype(np.uint8) for image in images]
    ours, theirs = [model.encode(image) for image in pixels], [segmenter.encode(image) for image in pixels]
    for count in (2, 3, 5):  # with five, 1024 positions of each of four partners are more than 2048
        for mine, other in zip(model.cosegment(ours[:count]), segmenter.cosegment(theirs[:count]), strict=True):
            assert mine.size == other.size and mine.probability.shape == other.probability.shape
            assert np.abs(mine.probability.astype(float) - other.probability.astype(float)).max() < 0.02
    assert model.cosegment([ours[0], ours[1], ours[0]]).repeated == ((0, 2),)


def test_of_the_same_bytes_the_probabilities_are_the_same(graphs: dict[str, tuple[Path, Any]]) -> None:
    folder, network = graphs["join"]
    model = GraphModel(folder, threads=1)
    pixels = [np.random.default_rng(k).integers(0, 256, (90, 120, 3), np.uint8) for k in range(2)]
    pair = model.cosegment([model.encode(image) for image in pixels])
    with torch.inference_mode():
        features = [
            network.encode(
                torch.from_numpy(np.array(Image.fromarray(image).resize((256, 256), 2))).permute(2, 0, 1)[None]
            )
            for image in pixels
        ]
        logits = network.cosegment(*features, (90, 120), (90, 120))
    for segment, expected in zip(pair, logits, strict=True):
        difference = segment.probability.astype(np.float32) - expected.softmax(1)[0, 1].numpy()
        assert np.abs(difference).max() < 2e-3


def test_a_photograph_is_converted_from_its_profile(graphs: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "imaging"))
    from test_metadata import swapped_primaries

    model = GraphModel(graphs["join"][0], threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "swapped.png", icc_profile=swapped_primaries())
    converted = in_srgb(load_photograph(tmp_path / "swapped.png"))
    assert not np.array_equal(converted.pixels, pixels)
    assert model.encode(tmp_path / "swapped.png").digest == model.encode(converted.pixels).digest


@pytest.mark.parametrize(("grid", "most"), [((12, 12), 50), ((9, 7), 20)])
def test_kernels_are_pooled_as_the_network_does(grid: tuple[int, int], most: int) -> None:
    from coseg.models.embedding_matching import _pooled as pooled_by_network

    maps = np.random.default_rng(0).standard_normal((1, 3, *grid)).astype(np.float32)
    expected = pooled_by_network(torch.from_numpy(maps), most).numpy()
    pooled = _pooled(maps.reshape(1, 1, 3, -1), grid, most)
    assert np.allclose(pooled[0], expected, atol=1e-5)


_WITHOUT_TORCH = """
import sys
HIDDEN = {"torch", "torchvision", "lightning", "hydra", "omegaconf", "timm", "torchmetrics", "safetensors", "gradio"}
HIDDEN |= {"albumentations", "wandb", "huggingface_hub", "matplotlib", "pydantic_settings", "tqdm", "requests", "pooch"}
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Hidden())
from argparse import Namespace
from pathlib import Path
import coseg.cli.serve, coseg.cli.sentences, coseg.serve.server
from coseg.serve.app import make_app
from coseg.serve.jobs import Jobs, Limits
from starlette.testclient import TestClient
model = coseg.cli.serve._model(coseg.cli.serve._parser().parse_args(["--onnx", sys.argv[1], "--threads", "1"]))
files = [("images", ("a.png", Path(sys.argv[2]).read_bytes()))] * 3
answer = TestClient(make_app(model, Jobs(Limits()))).post("/group", files=files)
assert answer.status_code == 200, answer.text
assert answer.json()["common"] is None and len(answer.json()["images"]) == 3
"""


def test_nothing_of_torch_is_imported(graphs: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    from fake_service import picture

    (tmp_path / "a.png").write_bytes(picture(90, 70))
    words = [sys.executable, "-c", _WITHOUT_TORCH, str(graphs["mean"][0]), str(tmp_path / "a.png")]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


def test_folders_that_are_no_export(tmp_path: Path) -> None:
    with pytest.raises(CosegError, match=naming("config.json", "coseg-export")):
        GraphModel(tmp_path)
    for text in ("{}", "[]", "{", '{"graphs": {}}', '{"size": -1, "graphs": {"features": []}}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CosegError, match=naming("config.json", "export")):
            GraphModel(tmp_path)
    names = {"features": ["f"], "kernels": [], "inputs": {"cosegment": ["f"]}, "resize": "longest", "group": None}
    (tmp_path / "config.json").write_text(json.dumps({"size": None, "threshold": 0.5, "graphs": names}))
    with pytest.raises(CosegError, match=naming("encode.onnx", "missing")):
        GraphModel(tmp_path)
    (tmp_path / "encode.onnx").write_bytes(b"nothing")
    with pytest.raises(CosegError, match=naming("encode.onnx", "cannot be loaded")):
        GraphModel(tmp_path)
