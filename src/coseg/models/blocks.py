"""What several decoders are built of."""

from __future__ import annotations

from torch import Tensor, nn

from coseg.models.padding import pad_by_reflection


class ReflectConv2d(nn.Conv2d):
    """A convolution to a map of the same size, padded by reflection; maps of any size, torch's own needs larger ones.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: odd.
        bias: whether it has one.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        return super().forward(pad_by_reflection(input, *(self.kernel_size[0] // 2,) * 4))


class ConvBlock(nn.Sequential):
    """A convolution to a map of the same size, batch norm, and a rectifier; weights after He et al. 2015.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: odd.
        batch_norm: whether there is one; if not, the convolution has a bias.
        slope: of the rectifier below zero: 0 for ReLU.
        reflect: pad by reflection, not by zeros.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        batch_norm: bool = True,
        slope: float = 0.0,
        reflect: bool = False,
    ) -> None:
        if reflect:
            conv: nn.Conv2d = ReflectConv2d(in_channels, out_channels, kernel_size, bias=not batch_norm)
        else:
            conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=not batch_norm)
        super().__init__(conv, *normalised(conv, out_channels, batch_norm, slope))


def normalised(
    conv: nn.Conv2d | nn.ConvTranspose2d, channels: int, batch_norm: bool, slope: float = 0.0
) -> list[nn.Module]:
    """What follows on `conv`, batch norm and a (leaky) rectifier; the weights of `conv` are drawn for it."""
    # Of a transposed convolution of stride s, 1 / s² of the kernel meets each output.
    fan = conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1]
    if isinstance(conv, nn.ConvTranspose2d):
        fan //= conv.stride[0] * conv.stride[1]
    nn.init.normal_(conv.weight, std=(2 / (1 + slope**2) / fan) ** 0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    rectifier = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
    return [nn.BatchNorm2d(channels), rectifier] if batch_norm else [rectifier]
