"""ResNet against torchvision's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torchvision.models.resnet import Bottleneck, ResNet

from coseg.errors import CosegError
from coseg.models.encoders.resnet import ResNetEncoder


def test_keys_and_shapes_are_torchvision_s() -> None:
    with torch.device("meta"):
        theirs = torchvision.models.resnet50(weights=None)
        ours = ResNetEncoder()
    wanted = {key: value.shape for key, value in theirs.state_dict().items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in ours.features.state_dict().items()} == wanted
    assert sum(parameter.numel() for parameter in ours.parameters()) == 23_508_032  # 25,557,032 less the classifier
    assert (ours.out_channels, ours.stride, len(ours.layers())) == (2048, 16, 17)


@pytest.mark.parametrize(
    ("stride", "dilated"), [(32, [False, False, False]), (16, [False, False, True]), (8, [False, True, True])]
)
def test_features_are_torchvision_s(stride: int, dilated: list[bool], tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = ResNet(Bottleneck, [1, 1, 2, 2], num_classes=2, replace_stride_with_dilation=dilated).eval()
    for name, buffer in theirs.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.1, 1)
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    ours = ResNetEncoder([1, 1, 2, 2], stride=stride, weights=str(tmp_path / "resnet.pth")).eval()
    image = torch.rand(1, 3, 64, 96)
    theirs.avgpool = theirs.fc = torch.nn.Identity()  # type: ignore[assignment]
    with torch.no_grad():
        wanted = theirs((image - ours.mean) / ours.std).view(1, 2048, 64 // stride, 96 // stride)
        torch.testing.assert_close(ours(image), wanted)


def test_torchvision_s_names_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = []

    def fetch(url: str, **settings: object) -> dict[str, torch.Tensor]:
        urls.append(url)
        return {}

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    with pytest.raises(CosegError, match=r"IMAGENET1K_V2 lack .* the first being conv1\.weight"):
        ResNetEncoder([1, 1, 1, 1], 0.125, weights="IMAGENET1K_V2")
    assert urls == ["https://download.pytorch.org/models/resnet50-11ad3fa6.pth"]


@pytest.mark.parametrize("blocks", [[3, 4, 6], [3, 4, 6, 0], 4, "3463", [1, 1, 1, 1.5]])
def test_blocks_are_checked(blocks: object) -> None:
    with pytest.raises(CosegError, match=r"model\.encoder\.blocks is .* list of four"):
        ResNetEncoder(blocks)  # type: ignore[arg-type]
