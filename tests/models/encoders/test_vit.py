"""The vision transformer against torchvision's, and DINOv2's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import VisionTransformer

from coseg.errors import CosegError
from coseg.models.encoders.vit import ViTEncoder, resized_positions

TINY = {"dim": 24, "depth": 2, "heads": 3, "grid": 5}


def dinov2_file(dim: int, depth: int, grid: int, registers: int = 0) -> dict[str, Tensor]:
    """Names and shapes of the state dict of DINOv2's ``…_pretrain.pth`` of patches of 14, its numbers drawn."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, 1 + grid**2, dim),
        "mask_token": (1, dim),
        "patch_embed.proj.weight": (dim, 3, 14, 14),
        "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
    }
    if registers:
        shapes["register_tokens"] = (1, registers, dim)
    layers = {"attn.qkv": (3 * dim, dim), "attn.proj": (dim, dim), "mlp.fc1": (4 * dim, dim), "mlp.fc2": (dim, 4 * dim)}
    for block in range(depth):
        for name, shape in layers.items():
            shapes |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{block}.{name}"] = (dim,)
    generator = torch.Generator().manual_seed(0)
    return {key: 0.1 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}


Save = Callable[[dict[str, Tensor]], str]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def saved(state: dict[str, Tensor]) -> str:
        torch.save(state, tmp_path / "vit.pth")
        return str(tmp_path / "vit.pth")

    return saved


def test_the_default_is_vit_s_14() -> None:
    with torch.device("meta"):
        encoder = ViTEncoder()
    wanted = {key: value.shape for key, value in dinov2_file(384, 12, 37).items()}
    assert len(wanted) == 175
    assert {key: value.shape for key, value in encoder.features.state_dict().items()} == wanted
    assert (encoder.out_channels, encoder.stride) == (384, 14)
    assert [len(layer) for layer in encoder.layers()] == [4] + [14] * 11 + [16]


@pytest.mark.parametrize("registers", [0, 4])
def test_a_file_fills_every_entry(save: Save, registers: int) -> None:
    state = dinov2_file(24, 2, 5, registers)
    encoder = ViTEncoder(**TINY, registers=registers, weights=save(state))
    own = encoder.features.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[key], value) for key, value in state.items())


def test_features_are_torchvision_s(save: Save) -> None:
    """Which has no layer scale: its factors are 1 here. The image has as many patches as there are positions."""
    torch.manual_seed(0)
    theirs = VisionTransformer(70, 14, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=96).eval()
    torch.nn.init.normal_(theirs.class_token)
    for layer in theirs.encoder.layers:
        torch.nn.init.normal_(layer.self_attention.in_proj_bias)
    names = {
        "class_token": "cls_token",
        "encoder.pos_embedding": "pos_embed",
        "conv_proj.": "patch_embed.proj.",
        "encoder.layers.encoder_layer_": "blocks.",
        "encoder.ln.": "norm.",
        ".ln_": ".norm",
        ".self_attention.in_proj_": ".attn.qkv.",
        ".self_attention.out_proj.": ".attn.proj.",
        ".mlp.0.": ".mlp.fc1.",
        ".mlp.3.": ".mlp.fc2.",
    }
    state = {"mask_token": torch.zeros(1, 24)}
    for key, value in theirs.state_dict().items():
        for old, new in names.items():
            key = key.replace(old, new)
        if not key.startswith("heads."):
            state[key] = value
    state |= {f"blocks.{block}.ls{k}.gamma": torch.ones(24) for block in (0, 1) for k in (1, 2)}
    ours = ViTEncoder(**TINY, weights=save(state)).eval()
    images = torch.rand(2, 3, 70, 70)
    with torch.no_grad():
        x = theirs._process_input((images - ours.mean) / ours.std)
        wanted = theirs.encoder(torch.cat((theirs.class_token.expand(2, -1, -1), x), 1))[:, 1:]
        torch.testing.assert_close(ours(images), wanted.mT.reshape(2, 24, 5, 5), atol=1e-5, rtol=1e-5)
        for layer in ours.features.blocks:
            layer.ls1.gamma.zero_()
            layer.ls2.gamma.zero_()
        embedded = theirs._process_input((images - ours.mean) / ours.std) + theirs.encoder.pos_embedding[:, 1:]
        torch.testing.assert_close(ours(images), theirs.encoder.ln(embedded).mT.reshape(2, 24, 5, 5))


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(3, 8), (5, 2), (1, 1), (12, 5)])
def test_positions_are_interpolated_bicubically(size: tuple[int, int], antialias: bool) -> None:
    positions = torch.randn(1, 26, 4, generator=torch.Generator().manual_seed(0))
    grid = positions[:, 1:].view(1, 5, 5, 4).permute(0, 3, 1, 2)
    wanted = F.interpolate(grid, size, mode="bicubic", antialias=antialias).flatten(2).mT
    found = resized_positions(positions, *size, antialias)
    torch.testing.assert_close(found, torch.cat((positions[:, :1], wanted), 1))
    assert torch.equal(resized_positions(positions, 5, 5, antialias), positions)


def test_positions_of_a_file_with_another_grid(save: Save) -> None:
    state = dinov2_file(24, 2, 9)
    encoder = ViTEncoder(**TINY, weights=save(state))
    torch.testing.assert_close(encoder.features.pos_embed.data, resized_positions(state["pos_embed"], 5, 5, False))
    state["pos_embed"] = state["pos_embed"][:, :-1]
    with pytest.raises(CosegError, match=r"pos_embed of shape \(1, 81, 24\)"):
        ViTEncoder(**TINY, weights=save(state))


def test_registers_are_seen_and_have_no_place_on_the_map() -> None:
    torch.manual_seed(0)
    encoder = ViTEncoder(**TINY, registers=2).eval()
    image = torch.rand(1, 3, 28, 42)
    with torch.no_grad():
        before = encoder(image)
        assert encoder.features.register_tokens is not None
        encoder.features.register_tokens.normal_()
        after = encoder(image)
    assert before.shape == after.shape == (1, 24, 2, 3)
    assert not torch.allclose(before, after)


def test_width_is_shared_out_among_the_heads() -> None:
    with torch.device("meta"):
        assert ViTEncoder(width=0.25).out_channels == 96
        assert ViTEncoder(width=0.01).out_channels == 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"registers": 0}, r"have 1 entries that the encoder has no place for, the first being register_tokens"),
        ({"depth": 1}, r"have 14 entries .* the first being blocks\.1\."),
        ({"depth": 3}, r"lack 14 of the encoder's .* blocks\.2\."),
        ({"dim": 30}, r"of shape .*, but the encoder's is"),
        ({"stride": 16}, r"patch_embed\.proj\.weight of shape \(24, 3, 14, 14\)"),
    ],
)
def test_files_that_do_not_fit(change: dict[str, int], words: str, save: Save) -> None:
    path = save(dinov2_file(24, 2, 5, 2))
    with pytest.raises(CosegError, match=words):
        ViTEncoder(**{**TINY, "registers": 2, **change}, weights=path)


def test_nothing_is_fetched() -> None:
    with pytest.raises(CosegError, match=r"'IMAGENET1K_V1', but there is no such file, and .* never fetched"):
        ViTEncoder(**TINY, weights="IMAGENET1K_V1")


@pytest.mark.parametrize("name", ["dim", "depth", "heads", "grid", "registers"])
def test_sizes_are_checked(name: str) -> None:
    with pytest.raises(CosegError, match=rf"model\.encoder\.{name} is '-1'"):
        ViTEncoder(**{name: -1})
