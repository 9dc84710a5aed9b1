"""The interface between co-segmentation networks and everything that uses them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.errors import CosegError
from coseg.models.decoder import skip_levels
from coseg.models.encoders.base import Encoder, unit_range
from coseg.models.exemplar import Exemplar, coverage, object_and_rest
from coseg.models.features import deepest, halves

Size = tuple[int, int]
Losses = dict[str, Tensor]

_NAMED = 8
"""Images that a message names at most."""

REMEDIES = (
    "lower optimizer.lr, clip the gradients (trainer.gradient_clip_val=1), or train in full precision "
    "(trainer.precision=32-true)"
)
"""Advice for a training whose values are no longer finite."""


class CosegNetwork(nn.Module, ABC):
    """Predicts, in each of two or more images, the pixels of the objects that they have in common.

    A network is a plain module; images are uint8 (0..255) or float (0..1), (B, 3, H, W), of any size; logits are
    float32, (B, 2, H, W), channel 1 for the common objects, and the prediction is their argmax. `encode` sees one
    image at a time, so a test encodes each image once, however many pairs it is in.

    Args:
        input_size: None: images go in at their own size; a number s: `encode` resizes them to s x s, bilinear with
            antialiasing, and the logits come back at the original size, bilinear.

    Raises:
        CosegError: `input_size` is not a positive whole number.
    """

    def __init__(self, input_size: int | None = None) -> None:
        super().__init__()
        self.input_size = checked_input_size(input_size, "model.input_size")

    @property
    def name(self) -> str:
        """The name in results and reports."""
        return type(self).__name__

    @abstractmethod
    def encode(self, images: Tensor) -> Any:
        """Features of each image of a batch (B, 3, H, W), independent of any partner.

        A tensor, or a tuple of tensors, with the batch as first dimension.
        """

    def encode_for_pairs(self, images: Tensor) -> Any:
        """As `encode`, and with all that can be made of one image alone, for images of many pairs; for `cosegment`."""
        return self.encode(images)

    @abstractmethod
    def cosegment(self, features_a: Any, features_b: Any, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        """Logits ``(B, 2, *size_a)`` and ``(B, 2, *size_b)`` of B pairs from what `encode` returned for each side.

        `size_a` and `size_b` are the (height, width) of the images that were encoded.
        """

    def learn(
        self, features_a: Any, features_b: Any, size_a: Size, size_b: Size, positive: Tensor
    ) -> tuple[Tensor, Tensor, Losses]:
        """The output of a training step: the logits of B pairs, and the network's own losses by name; here none.

        `positive`, bool (B,), is True for pairs with a common class. Each loss is a weighted scalar, which is added to
        that of the logits and logged as ``train/<name>``.
        """
        return *self.cosegment(features_a, features_b, size_a, size_b), {}

    def cosegment_group(
        self, features: Sequence[Any], sizes: Sequence[Size], members: Sequence[int] | None = None
    ) -> Iterable[Tensor]:
        """Logits ``(1, 2, *size)`` of each image of a group against all others: here the mean of its pairwise logits.

        `features` holds what `encode` returned for each image alone (a batch of one), `sizes` their (height, width).
        The logits come in the order of the images, once; a network may make them as they are asked for, so that those
        of a large group are never all held. With `members`, ascending indices, they are of these images alone. A
        network of a user's may leave this argument out.

        Raises:
            CosegError: the group has fewer than two images.
        """
        members = require_group(features, members)
        sums: dict[int, Tensor] = {}
        for i, j in combinations(range(len(features)), 2):
            if i in members or j in members:
                pair = self.cosegment(features[i], features[j], sizes[i], sizes[j])
                for k, logits in zip((i, j), pair, strict=True):
                    sums[k] = sums[k] + logits if k in sums else logits
        return [sums[k] / (len(features) - 1) for k in members]

    def cosegment_exemplars(
        self, exemplars: Sequence[Exemplar], features: Sequence[Any], sizes: Sequence[Size]
    ) -> Iterable[Tensor]:
        """Logits ``(1, 2, *size)`` of each image for the object that a person has shown in the exemplars.

        Args:
            exemplars: one or more of the object, and any number of others, see `Exemplar.another`.
            features: of each image that is searched, from `encode`, a batch of one; one image is enough.
            sizes: their (height, width).

        Raises:
            CosegError: the network has no such method.
        """
        raise no_exemplars(self)

    def cosegment_shown(
        self, features_a: Any, features_b: Any, size_a: Size, size_b: Size, region_a: Tensor, region_b: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `cosegment`, but an image is searched for the object that the region of its partner shows.

        Regions are those of `Exemplar`, uint8 (B, H, W); where one shows no object, the partner is as for `cosegment`.
        So networks learn what `cosegment_exemplars` does; the error of those that can't is the same.
        """
        raise no_exemplars(self)

    def feature_map(self, features: Any) -> Tensor:
        """The one map (B, C, h, w), of `encode`'s output, whose vectors describe what is at each position of an image.

        By default the features themselves or, of a tuple, the last, which is the deepest; other networks override it.
        The map covers the image from its top left corner, at one stride.
        """
        return deepest(features)

    def encode_pairs(self, images_a: Tensor, images_b: Tensor) -> tuple[Any, Any]:
        """Features of both sides of B pairs, in one pass where all images have one size."""
        if images_a.shape == images_b.shape and images_a.dtype == images_b.dtype:
            return halves(self.encode(torch.cat((images_a, images_b))))
        return self.encode(images_a), self.encode(images_b)

    def forward(self, images_a: Tensor, images_b: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of B pairs: (B, 3, H, W) and (B, 3, H', W') to (B, 2, H, W) and (B, 2, H', W')."""
        return self.cosegment(*self.encode_pairs(images_a, images_b), image_size(images_a), image_size(images_b))

    def resize(self, images: Tensor) -> Tensor:
        """Images as float in 0..1, at `input_size` if there is one."""
        images = unit_range(images)
        if self.input_size is None or image_size(images) == (self.input_size, self.input_size):
            return images
        size = (self.input_size, self.input_size)
        return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)

    def restore(self, logits: Tensor, size: Size) -> Tensor:
        """Logits of the padded (and resized) image back at the image's own `size`, as float32."""
        height, width = size if self.input_size is None else (self.input_size, self.input_size)
        logits = logits[..., :height, :width].float()
        if image_size(logits) != (height, width):
            raise ValueError(
                f"features of an image of at most {image_size(logits)} pixels were given with the size {size}"
            )
        if (height, width) != tuple(size):
            logits = F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)
        return logits


def checked_input_size(size: object, what: str) -> int | None:
    """`size`, which the user set as `what`.

    Raises:
        CosegError: it is neither None nor a positive whole number.
    """
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise CosegError(f"{what} is '{size}', but must be a number of pixels (128, say) or null.")
    return size


class WrappedNetwork(CosegNetwork):
    """A network that asks another one, and has its input size; a base of such networks.

    Args:
        network: the one that is asked; kept as `network`.
    """

    def __init__(self, network: CosegNetwork) -> None:
        nn.Module.__init__(self)  # not the base class's, which would set an input size
        self.network = network

    @property
    def input_size(self) -> int | None:  # type: ignore[override]
        """That of the network within."""
        return self.network.input_size

    @input_size.setter
    def input_size(self, size: int | None) -> None:
        self.network.input_size = size


class PairClassifier(CosegNetwork):
    """A network with an image-level classifier: does a pair have a common object?

    The classifier's logit is an output besides the masks, scored by `coseg.metrics.decision.DecisionScores`. It must
    not depend on which image comes first.
    """

    @abstractmethod
    def embed(self, features: Any) -> Tensor:
        """A vector for each image, float32 (B, D): images that share a class should lie closer than those that don't.

        `features` is what `encode` returned.
        """

    @abstractmethod
    def classify(self, features_a: Any, features_b: Any) -> Tensor:
        """The logit that each of B pairs has a common object, float32 (B,); above 0 the classifier says yes."""


class EncoderDecoderNetwork(CosegNetwork):
    """A network with one encoder and one decoder, each shared by both images; how the two meet is the subclass's.

    The features are one tensor (B, C, ceil(H / stride), ceil(W / stride)), or a tuple of which it is the last: with
    `skips` before it what the decoder takes of finer levels, made once an image.

    Args:
        encoder: shared by both images; kept as `encoder`.
        decoder: shared by both images, from its input to logits at the stride of 1; kept as `decoder`.
        input_size: see `CosegNetwork`.
        skips: for each of `skip_levels` a module, from the encoder's level to what joins the decoder.
    """

    def __init__(
        self, encoder: Encoder, decoder: nn.Module, input_size: int | None = None, skips: Sequence[nn.Module] = ()
    ) -> None:
        super().__init__(input_size)
        self.encoder = encoder
        self.decoder = decoder
        if skips:
            self.skips = nn.ModuleList(skips)

    @property
    def feature_channels(self) -> int:
        """C of `feature_map`."""
        return self.encoder.out_channels

    @property
    def map_stride(self) -> int:
        """Pixels between neighbours of `feature_map`."""
        return self.encoder.stride

    def exemplar_positions(self, exemplar: Exemplar) -> tuple[Tensor, Tensor]:
        """Where `feature_map` of an exemplar shows the object, and where the rest, bool (h, w) each."""
        if exemplar.positions is None:
            shown = self.shown_positions(exemplar.features, exemplar.size, exemplar.region[None])
            objects, rest = (positions[0] for positions in shown)
        else:
            objects, rest = exemplar.positions
        return (torch.zeros_like(objects), objects) if exemplar.another else (objects, rest)

    def shown_positions(self, features: Any, size: Size, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Likewise of regions (B, H, W): bool (B, h, w) each; all positions and none where there is no object."""
        size = size if self.input_size is None else (self.input_size, self.input_size)
        feature_map = self.feature_map(features)
        regions = regions.to(feature_map.device)
        return object_and_rest(*coverage(regions, size, image_size(feature_map), self.map_stride))

    def encode(self, images: Tensor) -> Any:
        """Features of each image; see the base class."""
        images = self.resize(images)
        return self.with_skips(self.encoder.prepare(images)) if self.has_skips else self.encoder(images)

    @property
    def has_skips(self) -> bool:
        """Whether the decoder takes finer levels."""
        return hasattr(self, "skips")

    def with_skips(self, prepared: Tensor) -> tuple[Tensor, ...]:
        """The features, a tuple, of images as `Encoder.prepare` gives them."""
        levels = self.encoder.levels_of(prepared)
        return *(skip(levels[k]) for skip, k in zip(self.skips, skip_levels(self.encoder), strict=True)), levels[-1]

    def decode(
        self, inputs: Sequence[Tensor], sizes: Sequence[Size], features: Sequence[Any] | None = None
    ) -> list[Tensor]:
        """Logits of each input of the decoder at its `sizes`; maps of one size go through together.

        Args:
            inputs: for each side, (B, ...).
            sizes: of the images.
            features: of the images, where the decoder takes skips.
        """
        skips = [side[:-1] if isinstance(side, tuple) else () for side in features or [()] * len(inputs)]
        if all(maps.shape[1:] == inputs[0].shape[1:] for maps in inputs):  # one batch: batch norm sees both sides
            joined = (torch.cat(maps) for maps in zip(*skips, strict=True))
            decoded = self.decoder(torch.cat(tuple(inputs)), *joined).split([tensor.shape[0] for tensor in inputs])
        else:
            decoded = [self.decoder(tensor, *maps) for tensor, maps in zip(inputs, skips, strict=True)]
        return [self.restore(logits, size) for logits, size in zip(decoded, sizes, strict=True)]


def no_exemplars(network: CosegNetwork) -> CosegError:
    """The error for a network that has no method for exemplars."""
    return CosegError(
        f"{network.name} can't search for an exemplar: the bundled model can, and networks of model=embedding_matching "
        "and model=cross_correlation."
    )


def require_group(features: Sequence[Any], members: Sequence[int] | None = None) -> Sequence[int]:
    """`members`, or the indices of all images. Raises CosegError: the group has fewer than two images."""
    if len(features) < 2:
        raise CosegError(f"A group needs at least two images, but has {len(features)}; give more images.")
    return range(len(features)) if members is None else members


def image_size(images: Tensor) -> Size:
    """Height and width of (..., H, W)."""
    return images.shape[-2], images.shape[-1]


def all_finite(*tensors: Tensor | None) -> bool:
    """Whether all numbers are finite; None counts as none."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors if tensor is not None)


def not_finite(what: str, images: Iterable[str]) -> CosegError:
    """The error for logits of `what`, a network or a checkpoint, of the images with these ids."""
    names = list(dict.fromkeys(images))
    rest = f" and {len(names) - _NAMED} more images" if len(names) > _NAMED else ""
    return CosegError(
        f"{what} gives logits that are not finite numbers for {', '.join(names[:_NAMED])}{rest}: its weights are "
        f"broken, or the precision is too low for it. Take another checkpoint or trainer.precision=32-true; in "
        f"training, {REMEDIES}."
    )
