"""What is kept of each image to compare it with any other, and the statistics of pairs that come of it.

A network marks in an image, given that image as its own partner, every object that it knows how to find. The feature
vectors at the positions of these objects, a few dozen, describe the image. To compare two descriptors is a small
product of matrices, so all pairs of 200 images are compared in seconds, and the statistics of a pair do not depend on
the group that it is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from coseg.hub.class_directions import ClassDirections
from coseg.models.base import CosegNetwork, Size, image_size

POSITIONS = 64
"""Of a feature map that describe an image, at most: those where an object is most probable."""

ALIKE = ("best_match", "object_similarity")
"""The `pair_statistics` of any network."""

CLASSES = ("centred_similarity", "class_agreement", "class_peak", "known_low", "known_agreement")
"""The further ones where a calibration knows classes."""

_LEAST = 1e-3  # added to a probability before its logarithm


class Descriptors(NamedTuple):
    """Of n images.

    Attributes:
        vectors: float32 (n, P, C), feature vectors.
        weights: float32 (n, P), 0..1: how probable an object is there; 0 also where an image has fewer positions.
    """

    vectors: Tensor
    weights: Tensor

    def __getitem__(self, images: Any) -> Descriptors:  # type: ignore[override]
        """Of some of the images."""
        return Descriptors(self.vectors[images], self.weights[images])


@torch.inference_mode()
def describe(network: CosegNetwork, features: Any, size: Size) -> Descriptors:
    """The descriptor of one image, on the CPU.

    Args:
        network: see above.
        features: from its `encode`, a batch of one.
        size: (height, width) of the encoded image.
    """
    if network.input_size is not None:
        size = (network.input_size, network.input_size)
    feature_map = network.feature_map(features)[0].float()
    probability = network.cosegment(features, features, size, size)[0].float().softmax(1)[:, 1:]
    weights = F.adaptive_avg_pool2d(probability, image_size(feature_map)).flatten()
    best = weights.topk(min(POSITIONS, len(weights)))
    padding = POSITIONS - len(best.values)
    vectors = F.pad(feature_map.flatten(1).T[best.indices], (0, 0, 0, padding))
    return Descriptors(vectors[None].cpu(), F.pad(best.values, (0, padding))[None].clamp_min(1e-6).cpu())


def describe_positions(feature_map: Tensor, positions: Tensor) -> Descriptors:
    """The descriptor of an object that a person has shown, on the CPU: of `POSITIONS` of its positions, evenly spaced.

    Args:
        feature_map: (1, C, h, w), of the image.
        positions: bool (h, w), of the object.
    """
    vectors = feature_map.float()[0][:, positions].T.cpu()
    some = torch.linspace(0, len(vectors) - 1, min(POSITIONS, len(vectors))).round().long()
    padding = POSITIONS - len(some)
    vectors, weights = F.pad(vectors[some], (0, 0, 0, padding)), F.pad(torch.ones(len(some)), (0, padding))
    return Descriptors(vectors[None], weights[None].clamp_min(1e-6))


def stacked(descriptors: Sequence[Descriptors]) -> Descriptors:
    """Descriptors of several images as one."""
    return Descriptors(*(torch.cat(parts) for parts in zip(*descriptors, strict=True)))


def alike(images: Descriptors) -> Tensor:
    """How alike the objects of each two images look, float32 (n, n, 2), symmetric.

    - ``best_match``: for each position of an image the largest cosine similarity with a position of the other,
      averaged with the weights; the mean of both directions.
    - ``object_similarity``: the cosine similarity of the weighted means of the vectors.
    """
    n, positions, channels = images.vectors.shape
    unit = F.normalize(images.vectors, dim=2)
    shares = images.weights / images.weights.sum(1, keepdim=True)
    every = unit.reshape(n * positions, channels).T
    best = torch.stack(
        [
            (share @ (vectors @ every).view(positions, n, positions).amax(2))
            for vectors, share in zip(unit, shares, strict=True)
        ]
    )
    objects = F.normalize(_objects(images), dim=1)
    return torch.stack(((best + best.T) / 2, objects @ objects.T), 2)


class Profiles(NamedTuple):
    """Which classes n images seem to show.

    Attributes:
        mean: float32 (n, K): the weighted mean of the probability of each class over the positions.
        peak: float32 (n, K): its largest value.
    """

    mean: Tensor
    peak: Tensor


def profiles(images: Descriptors, classes: ClassDirections, without: Sequence[int] = ()) -> Profiles:
    """The profiles of images, as if the classes `without`, indices, were not known."""
    logits = classes.logits(images.vectors)
    if len(without):
        logits[..., [k + 1 for k in without]] = -torch.inf
    probability = logits.softmax(-1)[..., 1:]
    shares = images.weights / images.weights.sum(1, keepdim=True)
    shown = probability * (images.weights > 1e-5)[..., None]
    return Profiles((probability * shares[..., None]).sum(1), shown.amax(1))


def pair_statistics(similar: Tensor, images: Descriptors, classes: ClassDirections | None = None) -> Tensor:
    """The statistics of each pair of n images, float32 (n, n, F), symmetric; F is that of `statistics_names`.

    Args:
        similar: of `alike`, (n, n, 2).
        images: n.
        classes: None: the statistics are those of `alike` alone.
    """
    if classes is None:
        return similar
    first, second = torch.triu_indices(len(similar), len(similar))
    further = class_statistics(images, classes, first, second)
    matrix = similar.new_zeros(*similar.shape[:2], further.shape[1])
    matrix[first, second] = matrix[second, first] = further
    return torch.cat((similar, matrix), 2)


def exemplar_statistics(exemplar: Descriptors, image: Descriptors, classes: ClassDirections | None) -> Tensor:
    """The statistics of an object that a person has shown with an image, float32 (F,), as in `pair_statistics`.

    But ``best_match`` is of the exemplar's positions alone: an image with further objects is not the less alike.
    """
    both = stacked((exemplar, image))
    similar = alike(both)
    unit = F.normalize(both.vectors, dim=2)
    share = exemplar.weights[0] / exemplar.weights.sum()
    similar[0, 1, 0] = (unit[0] @ unit[1].T).amax(1) @ share
    return pair_statistics(similar, both, classes)[0, 1]


def class_statistics(
    images: Descriptors, classes: ClassDirections, first: Tensor, second: Tensor, without: Sequence[int] = ()
) -> Tensor:
    """The statistics of N pairs that need classes, float32 (N, 5); their names are `CLASSES`.

    - ``centred_similarity``: the cosine similarity of the weighted means of the vectors, less the mean of all objects.
    - ``class_agreement``: the logarithm of the probability that a position of each image is of one class.
    - ``class_peak``: likewise, of the class of which both images have the most probable position.
    - ``known_low``: how much of the lesser known of the two objects is of the class that it is most of.
    - ``known_agreement``: the product of the last and ``class_agreement``: classes say little of an unknown object.

    Args:
        images: n.
        classes: K.
        first: int64 (N,), of each pair one image.
        second: the other.
        without: indices of classes that count as not known.
    """
    shown = profiles(images, classes, without)
    centred = F.normalize(_objects(images) - classes.mean, dim=1)
    agreement = ((shown.mean[first] * shown.mean[second]).sum(1) + _LEAST).log()
    peak = ((shown.peak[first] * shown.peak[second]).amax(1) + _LEAST).log()
    known = shown.mean.amax(1)
    low = torch.minimum(known[first], known[second])
    similarity = (centred[first] * centred[second]).sum(1)
    return torch.stack((similarity, agreement, peak, low, low * agreement), 1)


def statistics_names(classes: ClassDirections | None) -> tuple[str, ...]:
    """The names of `pair_statistics`."""
    return ALIKE if classes is None else ALIKE + CLASSES


def _objects(images: Descriptors) -> Tensor:
    """The weighted mean of each image's vectors, (n, C)."""
    return (images.vectors * images.weights[..., None]).sum(1) / images.weights.sum(1, keepdim=True)
