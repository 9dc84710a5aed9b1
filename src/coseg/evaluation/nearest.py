"""How near the classes of a test are to those of training in the encoder's space: can it explain how they score?

The paper explains what its network reaches on groups that training never showed by training classes that look alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.evaluation.table import NONE, Table

MapOf = Callable[[Tensor], Tensor]
"""``images (1, 3, H, W) -> features (1, C, h, w)``."""


class Nearest(NamedTuple):
    """A class of a test that training did not show.

    Attributes:
        name: of the class.
        jaccard: mean IoU of its masks; None where it has none.
        training: the nearest class of training.
        similarity: cosine between the two, -1 to 1.
    """

    name: str
    jaccard: float | None
    training: str
    similarity: float


def class_features(map_of: MapOf, catalog: Catalog, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The mean feature of the pixels of each class that the catalog pairs images by, each image with the same weight.

    Args:
        map_of: the encoder.
        catalog: N images.
        device: of the encoder.

    Returns:
        A vector float64 (C,), for each class that is in at least one image.
    """
    sums: dict[int, Tensor] = {}
    counts: dict[int, int] = {}
    with torch.no_grad():
        for i in range(len(catalog)):
            image = torch.from_numpy(np.ascontiguousarray(catalog.image(i).transpose(2, 0, 1)))[None]
            features = map_of(image.to(device))[0].double().cpu()
            labels = torch.from_numpy(catalog.labels(i).astype(np.int64))
            height, width = features.shape[-2:]
            for k in np.flatnonzero(catalog.presence[i]).tolist():
                share = F.adaptive_avg_pool2d((labels == k + 1).double()[None], (height, width))[0]
                if share.sum() == 0:  # the Internet images: a class that is said to be there, but is not
                    continue
                mean = (features * share).sum((1, 2)) / share.sum()
                sums[k] = sums.get(k, torch.zeros_like(mean)) + mean
                counts[k] = counts.get(k, 0) + 1
    return {catalog.class_names[k]: sums[k] / counts[k] for k in sorted(sums)}


def nearest_classes(
    training: Mapping[str, Tensor], tested: Mapping[str, Tensor], per_class: Mapping[str, float | None]
) -> list[Nearest]:
    """For each tested class that training lacks, the training class with the largest cosine.

    Features are centred on the mean of the training classes first: all are positive after a ReLU, and would be alike.

    Args:
        training: the features of the classes of training, (C,).
        tested: those of the test.
        per_class: the Jaccard of each class of the test.
    """
    names = list(training)
    centre = torch.stack([training[name] for name in names]).mean(0)
    known = F.normalize(torch.stack([training[name] for name in names]) - centre, dim=1)
    found = []
    for name, feature in tested.items():
        if name not in training:
            similarities = known @ F.normalize(feature - centre, dim=0)
            best = int(similarities.argmax())
            found.append(Nearest(name, per_class.get(name), names[best], float(similarities[best])))
    return found


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: Pearson's correlation of the ranks, ties at their mean rank; nan of constant values."""
    one, other = (_ranks(np.asarray(values, np.float64)) for values in (first, second))
    if min(one.std(), other.std()) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    below = (values[None] < values[:, None]).sum(1)
    upto = (values[None] <= values[:, None]).sum(1)
    return (below + upto + 1) / 2


def nearest_table(rows: Sequence[Nearest]) -> Table:
    """A row for each class, the one that training comes nearest to first."""
    ordered = sorted(rows, key=lambda row: -row.similarity)
    cells = [
        [row.name, row.training, f"{row.similarity:.3f}", NONE if row.jaccard is None else f"{100 * row.jaccard:.1f}"]
        for row in ordered
    ]
    notes = ["Cosine of mean features, centred on the mean of the training classes; Jaccard in per cent."]
    scored = [row for row in ordered if row.jaccard is not None]
    if len(scored) > 2:
        value = rank_correlation([row.similarity for row in scored], [row.jaccard or 0.0 for row in scored])
        notes.append(f"Rank correlation of the two over {len(scored)} classes: {value:.2f}.")
    return Table(["class", "nearest training class", "similarity", "jaccard"], [("", cells)], notes)
