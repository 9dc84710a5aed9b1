"""What an export refuses, with a sentence, leaving nothing behind; and what it leaves alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coseg.data.images import FORMATS
from coseg.errors import CosegError
from coseg.export import job
from coseg.export.check import compare, require_close
from coseg.export.describe import config_of, example, readme
from coseg.export.folder import export_folder
from coseg.export.graphs import graphs_of
from coseg.inference.pretrained import Pretrained, load_pretrained, mirrored, settings_of
from coseg.models.conditional_siamese import ConditionalSiameseNetwork
from coseg.models.encoders.vgg16 import VGG16Encoder
from coseg.models.network import CosegNetwork
from coseg.models.siamese import SiameseNetwork

Refused = Callable[..., str]


def siamese(**settings: Any) -> SiameseNetwork:
    torch.manual_seed(0)
    return SiameseNetwork(VGG16Encoder(width=0.125, stride=8), **settings).eval()


def model_of(network: CosegNetwork) -> Pretrained:
    encoder = {"_target_": "coseg.models.encoders.vgg16.VGG16Encoder", "width": 0.125, "stride": 8}
    kind = type(network)
    config = {
        "_target_": f"{kind.__module__}.{kind.__name__}",
        "encoder": encoder,
        "input_size": network.input_size,
    }
    return Pretrained(network, settings_of(config, network), "a test")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere.ckpt", "--out", "new"], "nowhere.ckpt"),
        (["--format", "tflite", "--out", "new"], "invalid choice: 'tflite'"),
        (["RUN", "--out", "new", "--int8"], "give both --int8 and --calibrate"),
        (["RUN", "--out", "new", "--format", "torch", "--int8", "--calibrate", "PHOTOGRAPHS"], "add onnx to --format"),
        (["RUN", "--out", "new", "--int8", "--calibrate", "nowhere"], "no folder nowhere"),
        (["RUN", "--out", "new", "--int8", "--calibrate", "PHOTOGRAPHS"], "holds no photographs"),
        (["RUN", "--out", "full", "--format", "safetensors"], "full is not empty"),
        (["RUN", "--out", "file", "--format", "safetensors"], "file is a file"),
        (["RUN", "--out", "file/within", "--format", "safetensors"], "Nothing can be written to file/within"),
        (["RUN", "--out", "shared", "--overwrite"], "holds model.safetensors"),
    ],
)
def test_bad_input(
    words: list[str], told: str, refused: Refused, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("full/notes.txt", "file", "PHOTOGRAPHS/readme.txt", "shared/model.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert told in refused(*(str(trained) if word == "RUN" else word for word in words))
    assert sorted(tmp_path.rglob("*")) == before


def test_without_onnx(refused: Refused, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name))
    told = refused(str(trained), "--out", str(tmp_path / "new"))
    assert "needs onnx" in told and "pip install 'coseg[export]'" in told
    assert not list(tmp_path.iterdir())


def test_graphs_that_differ_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(programs: Any, graphs: Any, folder: Path) -> None:
        (folder / "encode.onnx").write_text("half")
        raise CosegError("differs")

    monkeypatch.setattr(job, "write_onnx", damaged)
    monkeypatch.setattr(job, "traced", lambda graphs: {})
    with pytest.raises(CosegError, match="differs"):
        job.export_model(model_of(siamese()), ["onnx"], tmp_path / "deep" / "new")
    assert not list(tmp_path.iterdir())


def test_a_difference_is_found_and_refused() -> None:
    network, other = siamese(), siamese()
    sizes = [(16, 16), (24, 40)]
    assert require_close(compare(network, other, sizes), "onnx") == 0
    with torch.no_grad():
        other.decoder.logits.bias += 2e-4  # type: ignore[union-attr, operator]
    found = compare(network, other, sizes)
    assert {words for words, _ in found} >= {"2 of 16 x 16 with 24 x 40", "3 of 24 x 40 with 16 x 16"}
    with pytest.raises(CosegError, match=r"as onnx differs from the network by 0\.0002 in a logit"):
        require_close(found, "onnx")
    with pytest.raises(CosegError, match="differs from the network by inf"):
        require_close([("1 of 8 x 8 with 8 x 8", float("nan"))], "onnx")


def test_overwriting_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("notes.txt", "encode.onnx", "encode.int8.onnx"):
        (out / name).write_text("old")
    with export_folder(out, overwrite=True, weights=False) as folder:
        (folder / "encode.onnx").write_text("new")
    assert {file.name: file.read_text() for file in out.iterdir()} == {"notes.txt": "old", "encode.onnx": "new"}
    with pytest.raises(RuntimeError), export_folder(out, overwrite=True, weights=False) as folder:
        (folder / "encode.onnx").write_text("half")
        raise RuntimeError
    assert (out / "encode.onnx").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_weights_of_any_network_can_be_shared(tmp_path: Path) -> None:
    network = ConditionalSiameseNetwork(VGG16Encoder(width=0.125, stride=8), input_size=64).eval()
    model = model_of(network)
    with pytest.raises(CosegError, match="ConditionalSiameseNetwork can't be exported"):
        job.export_model(model, ["torch"], tmp_path / "new")
    lines: list[str] = []
    assert job.export_model(model, ["safetensors"], tmp_path / "new", size=48, tell=lines.append) is None
    shared = load_pretrained(tmp_path / "new")
    assert isinstance(shared.network, ConditionalSiameseNetwork) and shared.settings["size"] == 48
    assert lines == ["safetensors: differs by at most 0.0e+00"]
    assert "graphs" not in shared.settings


def test_weights_in_half_precision_with_mirror_images(tmp_path: Path) -> None:
    model = mirrored(model_of(siamese()))
    lines: list[str] = []
    job.export_model(model, ["safetensors"], tmp_path / "new", half=True, tell=lines.append)
    shared = load_pretrained(tmp_path / "new")
    assert shared.network.name == "SiameseNetwork, mirrored"
    images = torch.rand(2, 1, 3, 40, 56)
    with torch.no_grad():
        found, wanted = shared.network(*images)[0], model.network(*images)[0]
        turned = shared.network(*images.flip(-1))[0].flip(-1)
    torch.testing.assert_close(found, turned)  # the same for the mirror images
    difference = float(lines[0].rsplit(" ", 1)[1])
    assert lines[0].startswith("safetensors: half precision, ") and 0 < difference < 0.05
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0)
    with pytest.raises(CosegError, match="mirrored can't be mirrored"):
        mirrored(shared)
    with pytest.raises(CosegError, match="ConditionalSiameseNetwork can't be mirrored"):
        mirrored(model_of(ConditionalSiameseNetwork(VGG16Encoder(width=0.125, stride=8), input_size=64)))


def test_the_text_beside_the_graphs_follows_the_network() -> None:
    network = siamese(input_size=32)
    settings = model_of(network).settings
    config = config_of(settings, graphs_of(network), True, True, {"onnx": 1.234e-6})
    text = readme(config, "a test")
    assert config["graphs"]["differences"] == {"onnx": 1.2e-6}
    assert "32 x 32, whatever its shape" in text and "mirror" in text and "image by itself" in text
    assert f"FORMATS = {FORMATS}" in example(config) and "formats=FORMATS" in example(config)
    assert "image.resize((32, 32)" in example(config) and example(config) in text
    assert "ImageOps.contain(image, (160, 160)" in example(
        {**config, "size": 160, "graphs": {**config["graphs"], "resize": "longest"}}
    )
    assert "python" not in readme(config_of(settings, graphs_of(network), True, False, {"torch": 0.0}), "a test")
