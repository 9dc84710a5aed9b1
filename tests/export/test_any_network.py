"""Networks that coseg does not know, as programs of torch.export: what is traced, and what a sentence is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from facts import mentions, naming
from tiny_networks import model_of
from torch import Tensor

from coseg.errors import CosegError
from coseg.export.any_network import graphs_of_any, own_group, traced_any
from coseg.export.export_model import export_model
from coseg.models.base import CosegNetwork
from coseg.models.conditional_siamese import ConditionalSiameseNetwork
from coseg.models.encoders.timm import TimmEncoder
from coseg.models.encoders.vgg import VGG16Encoder
from coseg.models.siamese import SiameseNetwork

SIDE = 24


class Colours(CosegNetwork):
    """Features of two levels, a map and a vector; in Python it decides by the size of an image."""

    def __init__(self, input_size: int | None = SIDE) -> None:
        super().__init__(input_size)
        self.layer = torch.nn.Conv2d(3, 4, 3, padding=1)

    def encode(self, images: Tensor) -> Any:
        maps = self.layer(self.resize(images))
        return maps if maps.shape[-1] < 8 else (maps, (maps.mean((2, 3)),))

    def cosegment(self, features_a: Any, features_b: Any, size_a: Any, size_b: Any) -> tuple[Tensor, Tensor]:
        return self.side(features_a, features_b, size_a), self.side(features_b, features_a, size_b)

    def side(self, features: Any, partner: Any, size: Any) -> Tensor:
        distance = (features[0] - partner[1][0][:, :, None, None]).square().sum(1)
        return self.restore(torch.stack((distance, -distance), 1), size)


class OneByOne(Colours):
    """A loop over the images of a batch, which can be traced for a number of them alone."""

    def side(self, features: Any, partner: Any, size: Any) -> Tensor:
        sides = [
            super(OneByOne, self).side(*(((f[0][k : k + 1]), (f[1][0][k : k + 1],)) for f in (features, partner)), size)
            for k in range(len(features[0]))
        ]
        return torch.cat(sides)


class ByValue(Colours):
    """What it does depends on the values of a tensor, which a graph does not know."""

    def side(self, features: Any, partner: Any, size: Any) -> Tensor:
        if float(features[0].mean()) > 0:
            return self.restore(features[0][:, :2], size)
        return super().side(features, partner, size)


class Dictionary(Colours):
    def encode(self, images: Tensor) -> Any:
        return {"maps": 1}


def test_levels_leave_as_features_and_for_the_partner(tmp_path: Path) -> None:
    lines: list[str] = []
    graphs = export_model(model_of(Colours().eval()), ["torch"], tmp_path / "new", report=lines.append)
    assert graphs is not None and graphs.size == SIDE and not graphs.group and not graphs.single
    assert graphs.names == ["features_0", "features_1", "partner_0", "partner_1"]
    assert mentions(lines[0], "Colours", f"{SIDE} x {SIDE}")
    text = (tmp_path / "new" / "README.md").read_text()
    assert mentions(text, f"{SIDE} x {SIDE}", "any batch", "partner_1") and "multiples of 1" not in text


def test_a_network_for_one_image_at_a_time(tmp_path: Path) -> None:
    graphs = export_model(model_of(OneByOne().eval()), ["torch"], tmp_path / "new", report=lambda line: None)
    assert graphs is not None and graphs.single
    assert "one image at a time" in (tmp_path / "new" / "README.md").read_text()


def test_a_size_for_a_network_of_any(tmp_path: Path) -> None:
    model = model_of(Colours(None).eval())
    model.settings["size"] = None
    with pytest.raises(CosegError, match=naming("Colours", "--size")):
        export_model(model, ["torch"], tmp_path / "new")
    graphs = export_model(model, ["torch"], tmp_path / "new", size=16, report=lambda line: None)
    assert graphs is not None and graphs.size == 16 and model.network.input_size is None
    assert '"resize": "square"' in (tmp_path / "new" / "config.json").read_text()


def test_what_cannot_be_traced(tmp_path: Path) -> None:
    with pytest.raises(CosegError) as refused:
        export_model(model_of(ByValue().eval()), ["torch"], tmp_path / "new", report=lambda line: None)
    assert mentions(str(refused.value), "ByValue", Path(__file__).name, "in side", "values of tensors", "safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(CosegError, match=naming("dict", "encode", "tuples")):
        graphs_of_any(Dictionary())


def test_a_network_of_coseg_whose_logits_need_both_images() -> None:
    network = ConditionalSiameseNetwork(VGG16Encoder(width=0.125, stride=8), input_size=32).eval()
    graphs, programs = traced_any(network, graphs_of_any(network))
    assert not graphs.single and programs.keys() == {"encode", "cosegment"} and not own_group(network)
    a, b = torch.randint(256, (2, 3, 3, 32, 32), dtype=torch.uint8)
    encode, cosegment = (programs[name].module() for name in ("encode", "cosegment"))
    with torch.no_grad():
        logits = cosegment(encode(a)[0], encode(b)[1])
        expected, _ = network(a, b)
    assert torch.allclose(logits, expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("network", [Colours, OneByOne])
def test_the_same_as_onnx(network: type[Colours], tmp_path: Path) -> None:
    """Each is compared with the network in onnxruntime, and refused where it differs."""
    pytest.importorskip("onnxruntime")
    lines: list[str] = []
    export_model(model_of(network().eval()), ["onnx"], tmp_path / "new", report=lines.append)
    assert (tmp_path / "new" / "cosegment.onnx").is_file() and "differs by at most" in lines[-1]


def test_a_transformer_of_any_size_takes_that_of_the_export(tmp_path: Path) -> None:
    network = SiameseNetwork(TimmEncoder("test_vit", [0])).eval()
    model = model_of(network)
    model.settings["size"] = None
    with pytest.raises(CosegError, match=naming("transformer", "--size")):
        export_model(model, ["torch"], tmp_path / "new")
    graphs = export_model(model, ["torch"], tmp_path / "new", size=64, report=lambda line: None)
    assert graphs is not None and graphs.size == 64 and network.input_size is None
