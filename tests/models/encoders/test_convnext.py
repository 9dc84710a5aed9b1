"""ConvNeXt against torchvision's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torchvision.models import ConvNeXt
from torchvision.models.convnext import CNBlockConfig

from coseg.errors import CosegError
from coseg.models.encoders.convnext import ConvNeXtEncoder


@pytest.mark.parametrize(("stride", "stages", "channels"), [(8, 2, 192), (16, 3, 384), (32, 4, 768)])
def test_keys_and_shapes_are_torchvision_s(stride: int, stages: int, channels: int) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.convnext_tiny(weights=None).state_dict()
        ours = ConvNeXtEncoder(stride=stride)
    found = {key: value.shape for key, value in ours.features.state_dict().items()}
    norm = {key: found.pop(f"{2 * stages}.0.{key}") for key in ("weight", "bias")}
    wanted = {key: value.shape for key, value in theirs.items() if key.startswith("features.")}
    assert {f"features.{key}": shape for key, shape in found.items()} == {
        key: shape for key, shape in wanted.items() if int(key.split(".")[1]) < 2 * stages
    }
    assert norm == {"weight": (channels,), "bias": (channels,)}
    assert ours.out_channels == channels


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_features_are_torchvision_s(stride: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, 32, 1), CNBlockConfig(32, 64, 2), CNBlockConfig(64, None, 1)]
    theirs = ConvNeXt(settings).eval()
    for parameter in theirs.parameters():  # its layer scale of 1e-6 would hide what the blocks do
        torch.nn.init.normal_(parameter, std=0.3)
    torch.save(theirs.state_dict(), tmp_path / "convnext.pth")
    ours = ConvNeXtEncoder([1, 1, 2, 1], 1 / 12, stride, weights=str(tmp_path / "convnext.pth")).eval()
    image = torch.rand(1, 3, 64, 32)
    with torch.no_grad():
        x = (image - ours.mean) / ours.std
        parts = {8: 4, 16: 6, 32: 8}[stride]
        wanted = theirs.features[:parts](x)
        norm = theirs.classifier[0] if stride == 32 else theirs.features[parts][0]  # type: ignore[index]
        torch.testing.assert_close(ours(image), norm(wanted))


def test_layers_are_blocks_with_the_down_sampling_before_them() -> None:
    encoder = ConvNeXtEncoder([1, 2, 1, 1], 1 / 12, stride=16)
    stem, first, second, third, fourth = encoder.layers()
    assert [len(layer) for layer in (stem, first, second, third, fourth)] == [4, 9, 9 + 4, 9, 9 + 4 + 2]
    assert second[0] is encoder.features[2][0].weight  # type: ignore[index]
    assert fourth[-1] is encoder.features[6][0].bias  # type: ignore[index]


def test_stochastic_depth() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 32)
    for probability in (0.0, 0.5):
        encoder = ConvNeXtEncoder([2, 2, 2, 2], 1 / 12, stochastic_depth=probability)
        for name, parameter in encoder.named_parameters():
            if name.endswith("layer_scale"):
                torch.nn.init.ones_(parameter)
        with torch.no_grad():
            results = {float(encoder(image).sum()) for _ in range(8)}
        assert (len(results) == 1) == (probability == 0)
    with pytest.raises(CosegError, match=r"model\.encoder\.stochastic_depth is '1'"):
        ConvNeXtEncoder(stochastic_depth=1)
