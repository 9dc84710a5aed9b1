"""The convolutions of VGG16."""

from __future__ import annotations

from torch import nn
from torchvision.models import VGG16_BN_Weights, VGG16_Weights

from coseg.errors import CosegError, unknown_choice
from coseg.models.encoders.base import Encoder, check_stride, check_width, scaled
from coseg.models.encoders.weights import load_published

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_LAYERS = {"conv4_3": 4, "conv5_3": 5}  # the number of blocks


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
        frozen: see `Encoder`.

    Raises:
        CosegError: a value is not one of the above, the stride can't be had at the layer, or the weights can't be had.
    """

    features: nn.Sequential

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
        check_stride(stride)
        check_width(width)
        blocks = _LAYERS[layer]
        pools = stride.bit_length() - 1
        if pools > blocks:
            raise CosegError(
                f"model.encoder.stride={stride} can't be had at model.encoder.layer={layer}, which ends after "
                f"{blocks - 1} pools; choose stride {2**blocks} or less, or layer conv5_3."
            )
        features = _features(width, blocks, pools, batch_norm)
        super().__init__(features, scaled(_BLOCKS[blocks - 1][-1], width), stride, frozen)
        if weights is not None:
            published = VGG16_BN_Weights if batch_norm else VGG16_Weights
            self.normalise_with(*load_published(self.features, str(weights), published, "features.{}".format))

    def layers(self) -> list[list[nn.Parameter]]:
        """Each convolution with its batch norm: 13, or 10 to ``conv4_3``."""
        layers: list[list[nn.Parameter]] = []
        for part in self.features:
            if isinstance(part, nn.Conv2d):
                layers.append([])
            layers[-1] += part.parameters()
        return layers


def _features(width: float, blocks: int, pools: int, batch_norm: bool) -> nn.Sequential:
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
