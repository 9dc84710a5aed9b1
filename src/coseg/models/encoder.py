"""Encoders: from images of any size to one feature map each."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchvision.models import VGG16_BN_Weights, VGG16_Weights

from coseg.errors import CosegError, unknown_choice
from coseg.models.padding import pad_by_reflection
from coseg.models.weights import load_features

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_LAYERS = {"conv4_3": 4, "conv5_3": 5}  # the number of blocks
_STRIDES = (8, 16, 32)


def unit_range(images: Tensor) -> Tensor:
    """uint8 images (0..255) as float in 0..1; float images are taken to be that already."""
    return images if images.is_floating_point() else images.float() / 255


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Pad (B, C, H, W) at the right and the bottom to multiples of `multiple`.

    By reflection, or by repeating the border where the image is too small to be reflected.
    """
    height, width = images.shape[-2:]
    return pad_by_reflection(images, 0, -width % multiple, 0, -height % multiple)


class Encoder(nn.Module):
    """Normalises images, pads them to a multiple of the stride, and applies `features`.

    Args:
        features: from (B, 3, H, W), multiples of the stride, to (B, out_channels, H / stride, W / stride).
        out_channels: channels of the feature map.
        stride: pixels of the image to one of the feature map, a power of two.

    The buffers `mean` and `std` (1, 3, 1, 1) are ImageNet's, for images in 0..1; they are saved with the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Module, out_channels: int, stride: int) -> None:
        super().__init__()
        self.features = features
        self.out_channels = out_channels
        self.stride = stride
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, out_channels, ceil(H / stride), ceil(W / stride)) of uint8 or float (B, 3, H, W) images."""
        features: Tensor = self.features(self.prepare(images))
        return features

    def prepare(self, images: Tensor) -> Tensor:
        """The input of `features`: images normalised and padded."""
        images = (unit_range(images).to(self.mean.dtype) - self.mean) / self.std
        return pad_to_multiple(images, self.stride)


class VGG16Encoder(Encoder):
    """The convolutions of VGG16 (Simonyan and Zisserman 2015, configuration D), optionally with batch norm.

    `features` has torchvision's layout: at width 1 the keys ``features.*`` of torchvision's ``vgg16_bn`` (or
    ``vgg16``) fit. A max-pool that the stride does not want is an identity, so that all others keep their number.

    Args:
        width: factor on the numbers of channels, each rounded to a multiple of 8 and at least 8.
        layer: the last convolution, ``conv4_3`` or ``conv5_3``; the features are its output after ReLU.
        stride: 8, 16 or 32. Without change it is 8 at ``conv4_3`` and 16 at ``conv5_3``. A smaller one drops the
            last pool and dilates the convolutions after it, as DeepLab does (Chen et al. 2015); a larger one adds
            a pool at the end.
        batch_norm: normalise after each convolution.
        weights: the name of torchvision's weights, a file with such a state dict, or None: drawn at random
            (He et al. 2015).
        frozen: leave the parameters and the statistics of the batch norm as they are.

    Raises:
        CosegError: a value is none of the above, the stride can't be had at the layer, or the weights can't be had.
    """

    def __init__(
        self,
        width: float = 1.0,
        layer: str = "conv5_3",
        stride: int = 16,
        batch_norm: bool = True,
        weights: str | None = None,
        frozen: bool = False,
    ) -> None:
        if layer not in _LAYERS:
            raise unknown_choice("model.encoder.layer", layer, _LAYERS)
        if stride not in _STRIDES:
            raise unknown_choice("model.encoder.stride", stride, _STRIDES)
        if not isinstance(width, float | int) or not 0 < width < math.inf:
            raise CosegError(f"model.encoder.width is '{width}', but must be a positive number such as 0.25.")
        blocks = _LAYERS[layer]
        pools = stride.bit_length() - 1
        if pools > blocks:
            raise CosegError(
                f"model.encoder.stride={stride} can't be had at model.encoder.layer={layer}, which ends after "
                f"{blocks - 1} pools; choose stride {2**blocks} or less, or layer conv5_3."
            )
        super().__init__(
            _vgg_features(width, blocks, pools, batch_norm), scaled(_BLOCKS[blocks - 1][-1], width), stride
        )
        if weights is not None:
            mean, std = load_features(self.features, str(weights), VGG16_BN_Weights if batch_norm else VGG16_Weights)
            self.mean.copy_(torch.tensor(mean).view(1, 3, 1, 1))
            self.std.copy_(torch.tensor(std).view(1, 3, 1, 1))
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False)
            self.eval()

    def train(self, mode: bool = True) -> VGG16Encoder:
        """Switch to training, unless frozen."""
        super().train(mode and not self.frozen)
        return self


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, rounded to a multiple of 8 and at least 8."""
    return max(8, round(channels * width / 8) * 8)


def _vgg_features(width: float, blocks: int, pools: int, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    in_channels, dilation = 3, 1
    for block, channels_of in enumerate(_BLOCKS[:blocks], start=1):
        for channels in channels_of:
            out_channels = scaled(channels, width)
            conv = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            layers += [conv, nn.BatchNorm2d(out_channels)] if batch_norm else [conv]
            layers += [nn.ReLU(inplace=True)]
            in_channels = out_channels
        if block <= pools:
            layers += [nn.MaxPool2d(2)]
        elif block < blocks:
            layers += [nn.Identity()]
            dilation *= 2
    return nn.Sequential(*layers)
