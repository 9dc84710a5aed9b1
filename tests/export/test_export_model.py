from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from facts import mentions, naming
from tiny_networks import model_of, siamese

from coseg.errors import CosegError
from coseg.export import export_model
from coseg.hub.load import load_pretrained
from coseg.hub.share import mirrored, unmirrored
from coseg.models.conditional_siamese import ConditionalSiameseNetwork
from coseg.models.encoders.vgg import VGG16Encoder


def test_graphs_that_differ_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(programs: Any, graphs: Any, folder: Path) -> None:
        (folder / "encode.onnx").write_text("half")
        raise CosegError("differs")

    monkeypatch.setattr(export_model, "write_onnx", damaged)
    monkeypatch.setattr(export_model, "traced", lambda graphs: {})
    with pytest.raises(CosegError, match="differs"):
        export_model.export_model(model_of(siamese()), ["onnx"], tmp_path / "deep" / "new")
    assert not list(tmp_path.iterdir())


def test_weights_of_any_network_can_be_shared(tmp_path: Path) -> None:
    network = ConditionalSiameseNetwork(VGG16Encoder(width=0.125, stride=8), input_size=64).eval()
    model = model_of(network)
    lines: list[str] = []
    assert export_model.export_model(model, ["safetensors"], tmp_path / "new", size=48, report=lines.append) is None
    shared = load_pretrained(tmp_path / "new")
    assert isinstance(shared.network, ConditionalSiameseNetwork) and shared.settings["size"] == 48
    assert len(lines) == 1 and mentions(lines[0], "safetensors", "0.0e+00")
    assert "graphs" not in shared.settings


def test_weights_in_half_precision_with_mirror_images(tmp_path: Path) -> None:
    model = mirrored(model_of(siamese()))
    lines: list[str] = []
    export_model.export_model(model, ["safetensors"], tmp_path / "new", half=True, report=lines.append)
    shared = load_pretrained(tmp_path / "new")
    assert shared.network.name == "SiameseNetwork, mirrored"
    images = torch.rand(2, 1, 3, 40, 56)
    with torch.no_grad():
        found, wanted = shared.network(*images)[0], model.network(*images)[0]
        turned = shared.network(*images.flip(-1))[0].flip(-1)
    torch.testing.assert_close(found, turned)  # the same for the mirror images
    difference = float(lines[0].rsplit(" ", 1)[1])
    assert mentions(lines[0], "safetensors", "half precision") and 0 < difference < 0.05
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0)
    inner = unmirrored(shared)
    assert (
        inner.network is shared.network.network and inner.settings["network"] == model_of(siamese()).settings["network"]
    )
    assert unmirrored(inner) is inner
    with pytest.raises(CosegError, match=naming("SiameseNetwork, mirrored", "can't")):
        mirrored(shared)
    with pytest.raises(CosegError, match=naming("ConditionalSiameseNetwork", "mirrored")):
        mirrored(model_of(ConditionalSiameseNetwork(VGG16Encoder(width=0.125, stride=8), input_size=64)))
