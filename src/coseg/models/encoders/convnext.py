"""ConvNeXt, to the stage of a stride."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torchvision.models import ConvNeXt, ConvNeXt_Tiny_Weights
from torchvision.models.convnext import CNBlockConfig

from coseg.errors import CosegError
from coseg.models.encoder import Encoder, check_stride, check_width, four_counts, parameters_of, scaled
from coseg.models.weights import load_published

_CHANNELS = (96, 192, 384, 768)


class ConvNeXtEncoder(Encoder):
    """torchvision's ConvNeXt (Liu et al. 2022; by default ConvNeXt-Tiny), to the stage that has the stride.

    Its stages have no stride that dilation could replace (they are separated by 2 x 2 convolutions of stride 2), so a
    smaller stride takes an earlier stage: (B, 192, H/8, W/8), (B, 384, H/16, W/16) or (B, 768, H/32, W/32) at width 1.
    The features end with the layer norm that follows that stage in torchvision's network (of the next
    down-sampling, or of the classifier), so at width 1 each entry has torchvision's weights.

    Args:
        blocks: of each of the four stages.
        width: factor on the numbers of channels, each rounded to a multiple of 8 and at least 8.
        stride: 8, 16 or 32.
        stochastic_depth: the probability that the last block is left out in training; of the others it is lower in
            proportion to their depth.
        weights: the name of torchvision's weights of ``convnext_tiny``, a file with such a state dict, or None: drawn
            at random (as torchvision does).
        frozen: see `Encoder`.

    Raises:
        CosegError: a value is none of the above, or the weights can't be had.
    """

    features: nn.Sequential

    def __init__(
        self,
        blocks: Iterable[int] = (3, 3, 9, 3),
        width: float = 1.0,
        stride: int = 16,
        stochastic_depth: float = 0.1,
        weights: str | None = None,
        frozen: bool = False,
    ) -> None:
        counts = four_counts("blocks", blocks)
        check_width(width)
        check_stride(stride)
        if not isinstance(stochastic_depth, float | int) or not 0 <= stochastic_depth < 1:
            raise CosegError(
                f"model.encoder.stochastic_depth is '{stochastic_depth}', but must be a probability below 1, 0.1 say."
            )
        channels = [scaled(each, width) for each in _CHANNELS]
        following = [*channels[1:], None]
        settings = [CNBlockConfig(*each) for each in zip(channels, following, counts, strict=True)]
        whole = ConvNeXt(settings, stochastic_depth)
        stages = stride.bit_length() - 2
        parts = list(whole.features)[: 2 * stages]
        norm = whole.features[2 * stages][0] if stages < len(counts) else whole.classifier[0]  # type: ignore[index]
        super().__init__(nn.Sequential(*parts, nn.Sequential(norm)), channels[stages - 1], stride, frozen)
        if weights is not None:
            self.normalise_with(*load_published(self.features, str(weights), ConvNeXt_Tiny_Weights, _published_name))

    def layers(self) -> list[list[nn.Parameter]]:
        """The stem, then each block: to stride 32, 19 of ConvNeXt-Tiny.

        A down-sampling goes with the block after it, the last norm with the block before it.
        """
        layers: list[list[nn.Parameter]] = []
        stem, *parts = self.features[:-1]
        waiting = list(stem.parameters())
        layers.append(waiting)
        waiting = []
        for part in parts:
            if isinstance(part[-1], nn.Conv2d):  # type: ignore[index]
                waiting = list(part.parameters())
                continue
            for block in part:  # type: ignore[attr-defined]
                layers.append(waiting + list(block.parameters()))
                waiting = []
        layers[-1] += parameters_of(self.features[-1:])
        return layers


def _published_name(key: str) -> str:
    """The name of an entry of `features` in torchvision's state dict."""
    return key.replace("8.0.", "classifier.0.") if key.startswith("8.") else f"features.{key}"
