"""ResNets of bottleneck blocks, to their last stage."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from torch import nn
from torchvision.models import ResNet50_Weights
from torchvision.models.resnet import Bottleneck, conv1x1

from coseg.models.encoder import Encoder, check_stride, check_width, four_counts, parameters_of, scaled
from coseg.models.weights import load_published

_PLANES = (64, 128, 256, 512)


class ResNetEncoder(Encoder):
    """The convolutions of ResNet-50 (He et al. 2016), of torchvision's blocks.

    `features` has torchvision's layout: at width 1, with the default `blocks`, the keys of torchvision's
    ``resnet50`` fit, but for its classifier. Shapes at stride 16, width 1:

    ====================  =====================
    stem, stride 4        (B, 64, H/4, W/4)
    stage 1               (B, 256, H/4, W/4)
    stage 2               (B, 512, H/8, W/8)
    stage 3               (B, 1024, H/16, W/16)
    stage 4, dilated      (B, 2048, H/16, W/16)
    ====================  =====================

    Args:
        blocks: of each of the four stages.
        width: factor on the numbers of channels, each rounded to a multiple of 8 and at least 8.
        stride: 8, 16 or 32, its own. A smaller one leaves out the stride of the last one or two stages and dilates
            their convolutions, as DeepLab v3 does (Chen et al. 2017).
        weights: the name of torchvision's weights of ``resnet50``, a file with such a state dict, or None: drawn at
            random (He et al. 2015).
        frozen: see `Encoder`.

    Raises:
        CosegError: a value is none of the above, or the weights can't be had.
    """

    features: nn.Sequential

    def __init__(
        self,
        blocks: Iterable[int] = (3, 4, 6, 3),
        width: float = 1.0,
        stride: int = 16,
        weights: str | None = None,
        frozen: bool = False,
    ) -> None:
        counts = four_counts("blocks", blocks)
        check_width(width)
        check_stride(stride)
        channels = scaled(64, width)
        features: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
            bn1=nn.BatchNorm2d(channels),
            relu=nn.ReLU(inplace=True),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        )
        reached, dilation = 4, 1
        for stage, (planes, count) in enumerate(zip(_PLANES, counts, strict=True), start=1):
            wanted = 1 if stage == 1 else 2
            taken = wanted if reached * wanted <= stride else 1
            features[f"layer{stage}"] = _stage(channels, scaled(planes, width), count, taken, dilation, wanted // taken)
            channels = scaled(planes, width) * Bottleneck.expansion
            reached *= taken
            dilation *= wanted // taken
        super().__init__(nn.Sequential(features), channels, stride, frozen)
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if weights is not None:
            self.normalise_with(*load_published(self.features, str(weights), ResNet50_Weights))

    def layers(self) -> list[list[nn.Parameter]]:
        """The stem, then each block: 17 of ResNet-50."""
        blocks = [block for stage in self.features[4:] for block in stage]  # type: ignore[attr-defined]
        return [parameters_of(self.features[:4]), *(list(block.parameters()) for block in blocks)]


def _stage(in_channels: int, planes: int, blocks: int, stride: int, dilation: int, dilate: int) -> nn.Sequential:
    """`blocks` bottlenecks, the first of which takes the `stride` and changes the number of channels.

    The first keeps the `dilation` of the stage before; the others have `dilate` times that.
    """
    channels = planes * Bottleneck.expansion
    shortcut = nn.Sequential(conv1x1(in_channels, channels, stride), nn.BatchNorm2d(channels))
    first = Bottleneck(in_channels, planes, stride, shortcut, dilation=dilation)
    others = [Bottleneck(channels, planes, dilation=dilation * dilate) for _ in range(blocks - 1)]
    return nn.Sequential(first, *others)
