"""The interface of encoders: from images of any size to feature maps at one or several strides."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.errors import CosegError, unknown_choice

STRIDES = (8, 16, 32)
"""Those that the convolutional encoders can have."""

LEAST_LEVEL_STRIDE = 4
"""Finer maps of an encoder are not used as levels: they are large, and hold little about objects."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def unit_range(images: Tensor) -> Tensor:
    """uint8 images (0..255) as float in 0..1; float images are taken to be that already."""
    return images if images.is_floating_point() else images.float() / 255


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Pad (B, C, H, W) at the right and the bottom to multiples of `multiple`.

    By reflection, or by repeating the border where the image is too small to be reflected.
    """
    height, width = images.shape[-2:]
    return pad_by_reflection(images, 0, -width % multiple, 0, -height % multiple)


def pad_by_reflection(images: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Pad (B, C, H, W); on an axis that is too short to be reflected, by repeating the border."""
    height, width = images.shape[-2:]
    for size, pad in ((width, (left, right, 0, 0)), (height, (0, 0, top, bottom))):
        if any(pad):
            images = F.pad(images, pad, mode="reflect" if max(pad) < size else "replicate")
    return images


class Encoder(nn.Module):
    """Normalises images, pads them to a multiple of the stride, and applies `features`.

    The levels of an encoder are its features at several strides, the deepest last, which is what calling it gives.
    Where `features` is a sequence, they are its last map at each stride from 4 on; elsewhere the deepest alone.

    Args:
        features: from (B, 3, H, W), multiples of the stride, to (B, out_channels, H / stride, W / stride).
        out_channels: channels of the feature map.
        stride: pixels of the image to one of the feature map.
        frozen: leave the parameters of `features` and the statistics of its batch norm as they are, and do not
            train: no dropped paths.

    The buffers `mean` and `std` (1, 3, 1, 1) are ImageNet's, for images in 0..1; they are saved with the weights.
    """

    mean: Tensor
    std: Tensor
    level_channels: tuple[int, ...]
    level_strides: tuple[int, ...]
    graph_of_any_size = True
    """Whether one exported graph serves images of every size; learned positions depend on it."""

    def __init__(self, features: nn.Module, out_channels: int, stride: int, frozen: bool = False) -> None:
        super().__init__()
        self.features = features
        self.out_channels = out_channels
        self.stride = stride
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False)
            self.eval()
        self.level_ends: tuple[int, ...] = ()  # where in `features` each level ends; empty: there is one
        self.level_channels, self.level_strides = (out_channels,), (stride,)
        if isinstance(features, nn.Sequential):
            self._find_levels(features)

    def normalise_with(self, mean: Iterable[float], std: Iterable[float]) -> None:
        """Normalise images, in 0..1, with three means and three standard deviations."""
        self.mean.copy_(torch.tensor(tuple(mean)).view(1, 3, 1, 1))
        self.std.copy_(torch.tensor(tuple(std)).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, out_channels, ceil(H / stride), ceil(W / stride)) of uint8 or float (B, 3, H, W) images."""
        return self.deepest(self.prepare(images))

    def deepest(self, prepared: Tensor) -> Tensor:
        """The features of images as `prepare` gives them."""
        features: Tensor = self.features(prepared)
        return features

    def levels(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, level_channels[k], ceil(H / stride) * stride / level_strides[k], ...) of images as in `forward`."""
        return self.levels_of(self.prepare(images))

    def levels_of(self, prepared: Tensor) -> tuple[Tensor, ...]:
        """The levels of images as `prepare` gives them."""
        if not self.level_ends:
            return (self.deepest(prepared),)
        assert isinstance(self.features, nn.Sequential)
        maps, levels, start = prepared, [], 0
        for end in self.level_ends:
            maps = self.features[start:end](maps)
            levels.append(maps)
            start = end
        return tuple(levels)

    def _find_levels(self, features: nn.Sequential) -> None:
        """Where in `features` each level ends, seen in the sizes of a small image's maps."""
        side = 2 * self.stride
        maps, ends = self.mean.new_zeros(1, 3, side, side), {}
        modes = {module: module.training for module in features.modules()}
        features.eval()
        with torch.no_grad():
            for k, layer in enumerate(features, start=1):
                maps = layer(maps)
                if not isinstance(maps, Tensor) or maps.ndim != 4 or not 0 < maps.shape[-1] <= side:
                    raise CosegError(
                        f"{type(self).__name__}: layer {k - 1} of its features, a {type(layer).__name__}, gives no map "
                        f"(B, C, h, w) of an image of {side} x {side} pixels, two strides: let each layer of the "
                        "sequence give one, or pass the layers as one module."
                    )
                ends[side // maps.shape[-1]] = (k, maps.shape[1])
        for module, mode in modes.items():
            module.training = mode
        chosen = {stride: end for stride, end in ends.items() if stride >= min(LEAST_LEVEL_STRIDE, self.stride)}
        self.level_strides = tuple(chosen)
        self.level_ends = tuple(end for end, _ in chosen.values())
        self.level_channels = tuple(channels for _, channels in chosen.values())

    def prepare(self, images: Tensor) -> Tensor:
        """The input of `features`: images normalised and padded."""
        images = (unit_range(images).to(self.mean.dtype) - self.mean) / self.std
        return pad_to_multiple(images, self.stride)

    def layers(self) -> list[list[nn.Parameter]]:
        """The parameters of `features` by depth, from the image on: layer-wise learning rates differ between them."""
        return [list(self.features.parameters())]

    def train(self, mode: bool = True) -> Self:
        """Switch to training, unless frozen."""
        return super().train(mode and not self.frozen)


def check_encoder(encoder: Encoder) -> None:
    """Compare what an encoder gives for a small image with its `out_channels`, `stride` and levels.

    Those of coseg are tested, and encoders without memory (on the meta device) give nothing: both are left out.

    Raises:
        CosegError: they differ; networks are built by these numbers.
    """
    if type(encoder).__module__.startswith("coseg.") or encoder.mean.is_meta:
        return
    side = 4 * encoder.stride
    modes = {module: module.training for module in encoder.modules()}
    encoder.eval()
    try:
        with torch.no_grad():
            images = encoder.mean.new_zeros(1, 3, side, side)
            maps = [("", encoder.out_channels, encoder.stride, encoder(images))]
            levels = zip(encoder.level_channels, encoder.level_strides, encoder.levels(images), strict=True)
            maps += [(f" as level {k}", *level) for k, level in enumerate(levels)]
    finally:
        for module, mode in modes.items():
            module.training = mode
    for which, channels, stride, features in maps:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        needed = (1, channels, side // stride, side // stride)
        if shape != needed:
            raise CosegError(
                f"{type(encoder).__name__} gives {shape}{which} for an image of {side} x {side} pixels, but states "
                f"{channels} channels and a stride of {stride}, which is {needed}: mend out_channels and stride in "
                "super().__init__(features, out_channels, stride), or the layers."
            )


def parameters_of(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """The parameters of several modules, one after the other."""
    return [parameter for module in modules for parameter in module.parameters()]


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, rounded to a multiple of 8 and at least 8."""
    return max(8, round(channels * width / 8) * 8)


def check_stride(stride: object) -> None:
    """Check that `stride` is one of `STRIDES`.

    Raises:
        CosegError: it is not.
    """
    if stride not in STRIDES:
        raise unknown_choice("model.encoder.stride", stride, STRIDES)


def check_width(width: object) -> None:
    """Check that `width` is a positive number.

    Raises:
        CosegError: it is not.
    """
    if not isinstance(width, float | int) or not 0 < width < math.inf:
        raise CosegError(f"model.encoder.width is '{width}', but must be a positive number such as 0.25.")


def require_encoder(encoder: object) -> Encoder:
    """`encoder`, checked.

    Raises:
        CosegError: it is not an `Encoder`.
    """
    if not isinstance(encoder, Encoder):
        raise CosegError(
            f"model.encoder is a {type(encoder).__name__}, but must be an Encoder; choose one with "
            "encoder@model.encoder=vgg16_bn."
        )
    return encoder
