"""The conditional Siamese network: a classifier of whether there is a common object conditions the masks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coseg.errors import CosegError, unknown_choice
from coseg.models.base import EncoderDecoderNetwork, Losses, PairClassifier, Size
from coseg.models.decoder import Decoder
from coseg.models.encoders.base import Encoder, require_encoder
from coseg.models.features import deepest, inherits

POOLINGS = ("average", "max")
PARTNERS = ("features", "metric")
MASK_PAIRS = ("all", "positive")


class ConditionalSiameseNetwork(EncoderDecoderNetwork, PairClassifier):
    """Siamese encoder and decoder, a metric-learning network, and a decision network that conditions the decoder.

    After Banerjee, Hati, Chaudhuri and Velmurugan 2019, *CoSegNet: Image co-segmentation using a conditional Siamese
    convolutional network*, IJCAI. Only the abstract was available to us; it names the parts, the margin of the
    metric learning, and that masks follow the decision; everything else here is inferred, see
    ``docs/conditional_siamese.md``. With f the encoder's features of an image of S x S pixels, (B, C, h, w),
    h = w = S / stride, and D the width of the metric space:

    - Metric network, for each image: z = ReLU(BN(conv 1 x 1 (f))), (B, D, h, w); p, the mean (or the maximum) of z
      over its positions, (B, D); embedding e = W p / ||W p||, (B, D).
    - Contrastive loss (Hadsell, Chopra and LeCun 2006) with the margin m, the mean over the pairs of
      y ||e_A - e_B||² + (1 - y) max(0, m - ||e_A - e_B||)², where y is 1 for a pair with a common class, else 0.
    - Decision network: two fully connected layers on ``[|u_A - u_B|, u_A u_B]``, (B, 2 D), where u = sqrt(D) e has
      components of order 1; a logit d, (B,). Its input does not depend on which image comes first. Its loss is the
      binary cross-entropy of d and y.
    - Decoder: [f_A, f_B], (B, 2 C, h, w), to the margin of the foreground over the background in each pixel of A; for B
      with A and B exchanged. So both images must have maps of one size.
    - Condition: that margin, where it is larger than d, is d. A pixel is foreground exactly where the decoder
      predicts it and d > 0; for d < 0 the mask is empty.

    In training the decoder's own masks are what is compared with the truth, which is empty for negative pairs: so it
    learns to compare the images too. Or only those of positive pairs are (`mask_pairs`), and the empty masks are left
    to the decision.

    Args:
        encoder: shared by both images.
        input_size: side S to which images are resized; there must be one.
        metric_channels: D.
        decision_channels: between the two layers of the decision network.
        pooling: of z to p, ``average`` or ``max``.
        partner: what the decoder of an image sees of its partner: ``features``, their map f_B; or ``metric``, its
            pooled p_B times each position of z_A, (B, D, h, w).
        margin: m, above 0 and at most 2, the largest distance of two embeddings.
        metric_weight: of the contrastive loss.
        decision_weight: of the loss of the decision.
        mask_pairs: whose masks the decoder learns from, ``all`` pairs or ``positive`` ones alone.
        decoder_channels: see `coseg.models.decoder.Decoder`.
        batch_norm: in the decoder and the metric network.

    Raises:
        CosegError: a value is out of its range or not one of the choices above.

    Example:
        >>> import torch
        >>> from coseg.models.encoders.vgg import VGG16Encoder
        >>> network = ConditionalSiameseNetwork(VGG16Encoder(width=0.125), input_size=32)
        >>> [tuple(logits.shape) for logits in network(torch.rand(2, 3, 33, 47), torch.rand(2, 3, 20, 20))]
        [(2, 2, 33, 47), (2, 2, 20, 20)]
    """

    def __init__(
        self,
        encoder: Encoder,
        input_size: int | None = 224,
        metric_channels: int = 128,
        decision_channels: int = 64,
        pooling: str = "average",
        partner: str = "features",
        margin: float = 1.0,
        metric_weight: float = 1.0,
        decision_weight: float = 1.0,
        mask_pairs: str = "all",
        decoder_channels: Iterable[int] | None = None,
        batch_norm: bool = True,
    ) -> None:
        if input_size is None:
            raise CosegError(
                "model.input_size is null, but the conditional Siamese network compares maps of one size: give the "
                "side of its input, 224 say."
            )
        if pooling not in POOLINGS:
            raise unknown_choice("model.pooling", pooling, POOLINGS)
        if partner not in PARTNERS:
            raise unknown_choice("model.partner", partner, PARTNERS)
        if mask_pairs not in MASK_PAIRS:
            raise unknown_choice("model.mask_pairs", mask_pairs, MASK_PAIRS)
        for name, width in (("metric_channels", metric_channels), ("decision_channels", decision_channels)):
            if not isinstance(width, int) or isinstance(width, bool) or width < 1:
                raise CosegError(f"model.{name} is '{width}', but must be a positive whole number.")
        if not _is_number(margin) or not 0 < margin <= 2:
            raise CosegError(f"model.margin is '{margin}', but must be above 0 and at most 2: vectors have length 1.")
        for name, weight in (("metric_weight", metric_weight), ("decision_weight", decision_weight)):
            if not _is_number(weight) or weight < 0:
                raise CosegError(f"model.{name} is '{weight}', but must be a number, 0 or more.")
        channels = require_encoder(encoder).out_channels
        seen = channels if partner == "features" else metric_channels
        decoder = Decoder(channels + seen, encoder.stride, decoder_channels, channels, batch_norm)
        super().__init__(encoder, decoder, input_size)
        projection: list[nn.Module] = [nn.Conv2d(channels, metric_channels, 1, bias=not batch_norm)]
        projection += [nn.BatchNorm2d(metric_channels)] if batch_norm else []
        self.projection = nn.Sequential(*projection, nn.ReLU(inplace=True))
        self.embedding = nn.Linear(metric_channels, metric_channels)
        self.decision = nn.Sequential(
            nn.Linear(2 * metric_channels, decision_channels),
            nn.ReLU(inplace=True),
            nn.Linear(decision_channels, 1),
        )
        self.pooling = pooling
        self.partner = partner
        self.margin = margin
        self.metric_weight = metric_weight
        self.decision_weight = decision_weight
        self.mask_pairs = mask_pairs

    def encode_for_pairs(self, images: Tensor) -> Any:
        """`Decoder.own_part` of the features of `encode`, and these; those alone in a subclass that reads them."""
        features = self.encode(images)
        plain = not inherits(self, ConditionalSiameseNetwork, "cosegment", "classify", "decode")
        if plain or not isinstance(self.decoder, Decoder):
            return features
        return self.decoder.own_part(features), features

    def cosegment(self, features_a: Any, features_b: Any, size_a: Size, size_b: Size) -> tuple[Tensor, Tensor]:
        """Logits of both images, conditioned on the decision; see the base class."""
        maps = self._project(features_a, features_b)
        decision = self._decision(*map(self._embed, maps))
        logits_a, logits_b = self._masks((features_a, features_b), maps, (size_a, size_b))
        return conditioned(logits_a, decision), conditioned(logits_b, decision)

    def learn(
        self, features_a: Tensor, features_b: Tensor, size_a: Size, size_b: Size, positive: Tensor
    ) -> tuple[Tensor, Tensor, Losses]:
        """The decoder's own logits, with the losses ``decision_loss`` and ``metric_loss``; see the base class.

        With ``mask_pairs=positive`` those of negative pairs are constants for an empty mask, at no loss.
        """
        maps = self._project(features_a, features_b)
        embedded = self._embed(maps[0]), self._embed(maps[1])
        truth = positive.float()
        losses = {
            "decision_loss": self.decision_weight
            * F.binary_cross_entropy_with_logits(self._decision(*embedded), truth),
            "metric_loss": self.metric_weight * contrastive_loss(*embedded, truth, self.margin),
        }
        logits_a, logits_b = self._masks((features_a, features_b), maps, (size_a, size_b))
        if self.mask_pairs == "positive":
            logits_a, logits_b = _emptied(logits_a, ~positive), _emptied(logits_b, ~positive)
        return logits_a, logits_b, losses

    def embed(self, features: Tensor) -> Tensor:
        """The embeddings e, float32 (B, D), of length 1, of features (B, C, h, w)."""
        return self._embed(self.projection(features))

    def classify(self, features_a: Any, features_b: Any) -> Tensor:
        """The decision d, float32 (B,), for features of both sides."""
        return self._decision(*map(self._embed, self._project(features_a, features_b)))

    def _project(self, features_a: Any, features_b: Any) -> tuple[Tensor, Tensor]:
        """z of both sides, in one pass so that batch norm sees both."""
        features_a, features_b = deepest(features_a), deepest(features_b)
        counts = [features_a.shape[0], features_b.shape[0]]  # for a batch of any size, where this is traced
        map_a, map_b = self.projection(torch.cat((features_a, features_b))).split(counts)
        return map_a, map_b

    def _pool(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3)) if self.pooling == "average" else maps.amax((2, 3))

    def _embed(self, maps: Tensor) -> Tensor:
        return F.normalize(self.embedding(self._pool(maps)).float(), dim=1)

    def _decision(self, embedded_a: Tensor, embedded_b: Tensor) -> Tensor:
        scale = math.sqrt(embedded_a.shape[1])
        a, b = scale * embedded_a, scale * embedded_b
        compared = torch.cat(((a - b).abs(), a * b), 1)
        logits: Tensor = self.decision(compared.to(self.decision.get_parameter("0.weight").dtype))
        return logits.squeeze(1).float()

    def _masks(
        self, features: tuple[Any, Any], maps: tuple[Tensor, Tensor], sizes: tuple[Size, Size]
    ) -> tuple[Tensor, Tensor]:
        """The decoder's logits, (B, 2, *size) of each side."""
        base_a, base_b = map(deepest, features)
        map_a, map_b = maps
        if self.partner == "features":
            seen_a, seen_b = base_b, base_a
        else:
            seen_a = map_a * self._pool(map_b)[:, :, None, None]
            seen_b = map_b * self._pool(map_a)[:, :, None, None]
        inputs = seen_a, seen_b
        if isinstance(features[0], Tensor):  # of `encode`: the decoder has not seen the base yet
            inputs = torch.cat((base_a, seen_a), 1), torch.cat((base_b, seen_b), 1)
        logits_a, logits_b = self.decode(inputs, sizes, features)
        return logits_a, logits_b


def conditioned(logits: Tensor, decision: Tensor) -> Tensor:
    """Logits (B, 2, H, W) whose foreground exceeds the background by at most the decision, (B,).

    The foreground's probability never exceeds that of a common object; the prediction is empty where that is below
    one half, and unchanged elsewhere.

    >>> conditioned(torch.tensor([0.0, 3.0]).view(1, 2, 1, 1), torch.tensor([-1.0])).flatten()
    tensor([ 0., -1.])
    """
    background, foreground = logits.unbind(1)
    return torch.stack((background, torch.minimum(foreground, background + decision[:, None, None])), 1)


def _emptied(logits: Tensor, where: Tensor) -> Tensor:
    """Logits (B, 2, H, W), of which those of the pairs `where`, bool (B,), are constants: surely background."""
    empty = logits.new_tensor([0.0, -100.0])[:, None, None]
    return torch.where(where[:, None, None, None], empty, logits)


def contrastive_loss(embedded_a: Tensor, embedded_b: Tensor, positive: Tensor, margin: float) -> Tensor:
    """Hadsell, Chopra and LeCun 2006, equation 4, without its halves: the mean over B pairs.

    Args:
        embedded_a: (B, D).
        embedded_b: (B, D).
        positive: float (B,), 1 for pairs that should be close, 0 for those that should be `margin` apart.
        margin: a distance.

    >>> ends = torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.6, 0.8], [0.3, 0.4]])
    >>> contrastive_loss(*ends, torch.tensor([1.0, 0.0]), margin=1.5)  # (1² + (1.5 - 0.5)²) / 2
    tensor(1.)
    """
    distance = F.pairwise_distance(embedded_a, embedded_b, eps=0)
    return (positive * distance.square() + (1 - positive) * (margin - distance).clamp(min=0).square()).mean()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
