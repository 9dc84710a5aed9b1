"""Weights from torchvision and from files, and the sentences for what can go wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor

from coseg.errors import CosegError
from coseg.models.encoders.vgg import VGG16Encoder


@pytest.fixture(scope="module")
def published() -> torchvision.models.VGG:
    """torchvision's network at its full width, with statistics that are not those of a fresh one."""
    torch.manual_seed(0)
    model = torchvision.models.vgg16_bn(weights=None, init_weights=False, num_classes=2)
    model.classifier = torch.nn.Linear(3, 2)  # its own has 120 M parameters
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.01, 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def file(published: torchvision.models.VGG, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "vgg16_bn.pth"
    torch.save(published.state_dict(), path)
    return path


def test_features_are_torchvision_s_without_the_last_pool(published: torchvision.models.VGG, file: Path) -> None:
    encoder = VGG16Encoder(weights=str(file)).eval()
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        wanted = published.features[:-1]((image - encoder.mean) / encoder.std)
        torch.testing.assert_close(encoder(image), wanted)


def test_torchvision_s_names_are_fetched(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = []
    state = torch.load(file)
    state = {key: value for key, value in state.items() if "num_batches" not in key}  # as torchvision's file is

    def fetch(url: str, **settings: object) -> dict[str, Tensor]:
        assert settings["check_hash"] and settings["weights_only"]
        urls.append(url)
        return state

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    encoder = VGG16Encoder(weights="IMAGENET1K_V1")
    assert urls == ["https://download.pytorch.org/models/vgg16_bn-6c64b313.pth"]
    assert torch.equal(encoder.features[0].weight, state["features.0.weight"])
    assert torch.equal(encoder.features[-2].running_var, state["features.41.running_var"])
    torch.testing.assert_close(encoder.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))


def test_weights_for_other_normalisation_bring_it(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"features." + k: v for k, v in VGG16Encoder(batch_norm=False).features.state_dict().items()}
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **settings: state)
    encoder = VGG16Encoder(batch_norm=False, weights="IMAGENET1K_FEATURES")
    torch.testing.assert_close(encoder.std.flatten(), torch.full((3,), 1 / 255))


def test_later_layers_are_left_over(file: Path) -> None:
    encoder = VGG16Encoder(layer="conv4_3", stride=8, weights=str(file))
    assert torch.equal(encoder.features[30].weight, torch.load(file)["features.30.weight"])


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("invalid hash value"), TimeoutError("late")])
def test_without_a_network(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **settings: object) -> NoReturn:
        raise error

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(CosegError, match=r"vgg16_bn-6c64b313\.pth.*model\.encoder\.weights=\.\.\./vgg16_bn-6c64b"):
        VGG16Encoder(width=0.125, weights="IMAGENET1K_V1")


def test_no_such_file_or_name() -> None:
    with pytest.raises(CosegError, match=r"'IMAGENET1K_V2'.*IMAGENET1K_V1"):
        VGG16Encoder(width=0.125, weights="IMAGENET1K_V2")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken"])
def test_files_that_torch_can_t_read(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(CosegError, match=r"weights\.pth.*read"):
        VGG16Encoder(width=0.125, weights=str(path))


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(2)])
def test_files_that_hold_no_state_dict(content: object, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(CosegError, match=r"weights\.pth.*state dict"):
        VGG16Encoder(width=0.125, weights=str(path))


def test_weights_of_another_architecture(file: Path) -> None:
    with pytest.raises(CosegError, match=r"features\.0\.weight.*\(64, 3, 3, 3\).*width=1"):
        VGG16Encoder(width=0.5, weights=str(file))
    state = {key: value for key, value in torch.load(file).items() if not key.startswith("features.41")}
    path = file.with_name("short.pth")
    torch.save(state, path)
    with pytest.raises(CosegError, match=r"\b4\b.*features\.41\.weight"):
        VGG16Encoder(weights=str(path))
