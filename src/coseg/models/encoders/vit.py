"""A plain vision transformer, as DINOv2's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.errors import CosegError
from coseg.models.encoder import Encoder, check_count, check_width
from coseg.models.weights import fill, read_state

_POSITIONS = "pos_embed"


class ViTEncoder(Encoder):
    """A vision transformer (Dosovitskiy et al. 2021) as DINOv2's (Oquab et al. 2024): by default ViT-S/14.

    The features are the last layer norm's output for the patches: (B, dim, ceil(H / stride), ceil(W / stride)).
    Weights come from a file in DINOv2's own layout, such as ``dinov2_vits14_pretrain.pth``; nothing is ever fetched.
    Larger ones: ViT-B/14 has ``dim=768 heads=12``, ViT-L/14 ``dim=1024 depth=24 heads=16``; those with registers
    (Darcet et al. 2024) have ``registers=4``.

    Args:
        dim: channels.
        depth: transformer blocks.
        heads: of the attention; they share out the channels.
        registers: tokens beside that of the class which belong to no patch.
        grid: learned positions of each axis (DINOv2: 37, for images of 518 pixels). They are interpolated to the
            patches of an image, and those of a file with another grid to this one.
        layer_scale: what the factors on each residual start from.
        width: factor on `dim`, rounded to a multiple of `heads`.
        stride: the side of a patch in pixels.
        weights: a file with a state dict in DINOv2's layout, or None: drawn at random.
        frozen: see `Encoder`.

    Raises:
        CosegError: a value is none of the above, or the file is missing, no state dict, or does not fit to the last
            entry.
    """

    features: VisionTransformer

    def __init__(
        self,
        dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        registers: int = 0,
        grid: int = 37,
        layer_scale: float = 1.0,
        width: float = 1.0,
        stride: int = 14,
        weights: str | None = None,
        frozen: bool = False,
    ) -> None:
        for name, value in (("dim", dim), ("depth", depth), ("heads", heads), ("grid", grid), ("stride", stride)):
            check_count(name, value)
        check_count("registers", registers, least=0)
        check_width(width)
        channels = max(1, round(dim * width / heads)) * heads
        features = VisionTransformer(channels, depth, heads, registers, grid, layer_scale, stride)
        super().__init__(features, channels, stride, frozen)
        if weights is not None:
            state = read_state(
                str(weights),
                "one with the names of DINOv2, such as dinov2_vits14_pretrain.pth",
                "this encoder's weights are never fetched: give a file such as dinov2_vits14_pretrain.pth, or null to "
                "train from scratch",
            )
            fill(self.features, _at_grid(state, self.features), str(weights), whole=True)

    def layers(self) -> list[list[nn.Parameter]]:
        """The embeddings, then each block; the last norm goes with the last block."""
        blocks = [list(block.parameters()) for block in self.features.blocks]
        blocks[-1] += self.features.norm.parameters()
        return [[*self.features.embedding_parameters()], *blocks]


class VisionTransformer(nn.Module):
    """From images (B, 3, H, W) of whole patches to (B, dim, H / patch, W / patch); the names are those of DINOv2."""

    mask_token: Tensor

    def __init__(
        self, dim: int, depth: int, heads: int, registers: int, grid: int, layer_scale: float, patch: int
    ) -> None:
        super().__init__()
        self.grid = grid
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + grid * grid, dim))
        self.register_tokens = nn.Parameter(torch.empty(1, registers, dim)) if registers else None
        # DINOv2 hides patches behind it when it learns; here it only has its place in the file.
        self.register_buffer("mask_token", torch.zeros(1, dim))
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(3, dim, patch, stride=patch)))
        self.blocks = nn.ModuleList(_Block(dim, heads, layer_scale) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for token in (self.cls_token, self.register_tokens):
            if token is not None:
                nn.init.normal_(token, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def embedding_parameters(self) -> list[nn.Parameter]:
        """All that comes before the first block."""
        tokens = [self.cls_token, self.pos_embed, self.register_tokens]
        return [token for token in tokens if token is not None] + list(self.patch_embed.parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Features of the patches."""
        patches = self.patch_embed(images)
        batch, dim, rows, columns = patches.shape
        x = torch.cat((self.cls_token.expand(batch, -1, -1).to(patches.dtype), patches.flatten(2).mT), 1)
        x = x + resized_positions(self.pos_embed, rows, columns, self.register_tokens is not None)
        if self.register_tokens is not None:  # they have no position
            x = torch.cat((x[:, :1], self.register_tokens.expand(batch, -1, -1).to(x.dtype), x[:, 1:]), 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x[:, -rows * columns :])
        return x.mT.reshape(batch, dim, rows, columns)


class _Block(nn.Module):
    """Attention and a perceptron, each after a layer norm and scaled before it is added."""

    def __init__(self, dim: int, heads: int, layer_scale: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = _Attention(dim, heads)
        self.ls1 = _LayerScale(dim, layer_scale)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(OrderedDict(fc1=nn.Linear(dim, 4 * dim), act=nn.GELU(), fc2=nn.Linear(4 * dim, dim)))
        self.ls2 = _LayerScale(dim, layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        query, key, value = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value)  # (B, heads, tokens, dim / heads)
        projected: Tensor = self.proj(seen.transpose(1, 2).reshape(batch, tokens, dim))
        return projected


class _LayerScale(nn.Module):
    """A learned factor for each channel (Touvron et al. 2021)."""

    def __init__(self, dim: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), float(initial)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def resized_positions(positions: Tensor, rows: int, columns: int, antialias: bool) -> Tensor:
    """Embeddings (1, 1 + n², dim), the first of the class, at another grid: (1, 1 + rows * columns, dim).

    Bicubic, and with `antialias` where DINOv2 does so: with registers. As products with matrices, whose gradient is
    deterministic on GPUs too.
    """
    first, grid = positions[:, :1], positions[:, 1:]
    side = _side(positions)
    if (rows, columns) == (side, side):
        return positions
    down, across = (_bicubic(side, n, antialias, positions.device).to(positions.dtype) for n in (rows, columns))
    grid = torch.einsum("ry,cx,yxd->rcd", down, across, grid.view(side, side, -1))
    return torch.cat((first, grid.reshape(1, rows * columns, -1)), 1)


def _bicubic(size: int, wanted: int, antialias: bool, device: torch.device) -> Tensor:
    """The matrix (wanted, size) of the interpolation of one axis."""
    identity = torch.eye(size, device=device)[None, None]
    return F.interpolate(identity, (wanted, size), mode="bicubic", antialias=antialias)[0, 0]


def _side(positions: Tensor) -> int:
    return round((positions.shape[1] - 1) ** 0.5)


def _at_grid(state: Mapping[str, Tensor], features: VisionTransformer) -> dict[str, Tensor]:
    """`state` with its positions at the grid of `features`.

    Raises:
        CosegError: its positions are no square.
    """
    positions = state.get(_POSITIONS)
    if positions is None or positions.shape == features.pos_embed.shape:
        return dict(state)
    if positions.dim() != 3 or positions.shape[1] != 1 + _side(positions) ** 2:
        raise CosegError(
            f"The weights have {_POSITIONS} of shape {tuple(positions.shape)}, but DINOv2's is (1, 1 + n², channels)."
        )
    antialias = features.register_tokens is not None
    return {**state, _POSITIONS: resized_positions(positions, features.grid, features.grid, antialias)}
