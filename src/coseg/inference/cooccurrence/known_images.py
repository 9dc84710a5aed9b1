"""Images of a data set, described once: the statistics of any pair or group of them whose classes are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.data.pair_index import mix
from coseg.hub.calibration import Calibration
from coseg.hub.class_directions import ClassDirections
from coseg.inference.cooccurrence.descriptors import (
    Descriptors,
    alike,
    class_statistics,
    describe,
    stacked,
    statistics_names,
)
from coseg.inference.cooccurrence.statistics import DECISION
from coseg.inference.segmenter import CoSegmenter
from coseg.models.base import PairClassifier, all_finite, image_size, not_finite

Progress = Callable[[int, int], None]
"""Called with the finished steps and their total."""

_POSITIONS = 8  # of each class that an image shows, for the directions of classes


class KnownImages:
    """Described images whose classes are known.

    Args:
        similar: the statistics of each pair that need no classes, float32 (n, n, F).
        presence: bool (n, K), which image holds which class.
        images: None for a network with an image-level classifier.
        classes: the directions of the K classes; None: statistics without classes.

    Attributes:
        names: of the statistics.
    """

    def __init__(
        self,
        similar: Tensor,
        presence: NDArray[np.bool_],
        images: Descriptors | None = None,
        classes: ClassDirections | None = None,
    ) -> None:
        self.similar = similar
        self.presence = presence
        self.images = images
        self.classes = classes
        self.names = DECISION if images is None else statistics_names(classes)

    def statistics(self, pairs: Sequence[tuple[int, int]], without: Sequence[tuple[int, ...]]) -> Tensor:
        """Of N pairs, float32 (N, F), each as if the classes `without`, indices, were not known."""
        first, second = torch.tensor(pairs).T
        values = self.similar[first, second]
        if self.images is None or self.classes is None:
            return values
        further = torch.zeros(len(pairs), len(self.names) - values.shape[1])
        for left_out in dict.fromkeys(without):
            chosen = torch.tensor([classes == left_out for classes in without])
            further[chosen] = class_statistics(self.images, self.classes, first[chosen], second[chosen], left_out)
        return torch.cat((values, further), 1)

    def logits(self, calibration: Calibration, without: tuple[int, ...] = ()) -> Tensor:
        """Of all pairs, float64 (n, n), as if the classes `without` were not known."""
        if self.images is None or self.classes is None:
            return calibration.logits(self.similar)
        n = len(self.presence)
        first, second = torch.triu_indices(n, n)
        further = class_statistics(self.images, self.classes, first, second, without)
        values = calibration.logits(torch.cat((self.similar[first, second], further), 1))
        matrix = values.new_zeros(n, n)
        matrix[first, second] = matrix[second, first] = values
        return matrix


def known_images(
    model: CoSegmenter,
    catalog: Catalog,
    classes: ClassDirections | None,
    most: int,
    seed: int,
    progress: Progress | None = None,
) -> KnownImages:
    """Read, encode and describe images of a catalog, all or `most`, chosen at random with rare classes first.

    Raises:
        CosegError: a number of the network's is not finite; the image is named.
    """
    chosen = balanced(catalog.presence, most, seed)
    presence = catalog.presence[chosen]
    if isinstance(model.network, PairClassifier):
        return KnownImages(_decisions(model, catalog, chosen, progress), presence)
    described = []
    for done, i in enumerate(chosen):
        image = model.encode(catalog.image(i), catalog.ids[i])
        described.append(describe(model.network, image.features, image.working))
        _require_finite(model, catalog, (i,), *described[-1])
        if progress is not None:
            progress(done + 1, len(chosen))
    images = stacked(described)
    return KnownImages(alike(images), presence, images, classes)


def learned_classes(
    model: CoSegmenter, catalog: Catalog, most: int, seed: int, progress: Progress | None = None
) -> ClassDirections | None:
    """The directions of the classes of a catalog, from feature vectors at positions whose class its label maps give.

    None for a network with an image-level classifier, and for a catalog with fewer than two classes.

    Raises:
        CosegError: a number of the network's is not finite; the image is named.
    """
    if isinstance(model.network, PairClassifier) or len(catalog.class_names) < 2:
        return None
    vectors, classes = [], []
    generator = torch.Generator().manual_seed(seed)
    chosen = balanced(catalog.presence, most, seed)
    for done, i in enumerate(chosen):
        image = model.encode(catalog.image(i), catalog.ids[i])
        feature_map = model.network.feature_map(image.features)[0].float().cpu()
        _require_finite(model, catalog, (i,), feature_map)
        labels = torch.from_numpy(catalog.labels(i).astype(np.int64))
        for label in labels.unique().tolist():
            if label > len(catalog.class_names):  # void
                continue
            share = F.adaptive_avg_pool2d((labels == label).float()[None, None], image_size(feature_map)).flatten()
            inside = (share >= min(0.9, float(share.max()))).nonzero()[:, 0]
            some = inside[torch.randperm(len(inside), generator=generator)[:_POSITIONS]]
            vectors.append(feature_map.flatten(1).T[some])
            classes.append(torch.full((len(some),), label))
        if progress is not None:
            progress(done + 1, len(chosen))
    return ClassDirections.fit(catalog.class_names, torch.cat(vectors), torch.cat(classes))


def balanced(presence: NDArray[np.bool_], most: int, seed: int) -> list[int]:
    """At most `most` of n images: in turn one of each class, at random, until there are enough; in ascending order."""
    if len(presence) <= most:
        return list(range(len(presence)))
    rng = np.random.default_rng(mix(seed, 7))
    queues = [rng.permutation(np.flatnonzero(column)).tolist() for column in presence.T]
    chosen: set[int] = set()
    while len(chosen) < most and any(queues):
        for queue in queues:
            while queue and queue[-1] in chosen:
                queue.pop()
            if queue and len(chosen) < most:
                chosen.add(queue.pop())
    return sorted(chosen)


@torch.inference_mode()
def _decisions(model: CoSegmenter, catalog: Catalog, chosen: Sequence[int], progress: Progress | None) -> Tensor:
    """The logit of the image-level classifier for each pair, float32 (n, n, 1)."""
    network = model.network
    assert isinstance(network, PairClassifier)
    features = []
    for done, i in enumerate(chosen):
        features.append(model.encode(catalog.image(i), catalog.ids[i]).features)
        if progress is not None:
            progress(done + 1, len(chosen))
    matrix = torch.zeros(len(chosen), len(chosen), 1)
    for a in range(len(chosen)):
        for b in range(a + 1, len(chosen)):
            matrix[a, b] = matrix[b, a] = network.classify(features[a], features[b]).float().cpu()
    _require_finite(model, catalog, chosen, matrix)
    return matrix


def _require_finite(model: CoSegmenter, catalog: Catalog, images: Sequence[int], *values: Tensor) -> None:
    if not all_finite(*values):
        raise not_finite(f"The network {model.network.name}", [catalog.ids[i] for i in images])
