"""What int8 costs and saves: scores and seconds of graphs on pairs of a data set."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from coseg.data.datamodule import PairDataModule
from coseg.data.dataset import ImageItem, pair_targets
from coseg.evaluation.scores import mask_score, predicted_mask
from coseg.evaluation.visits import PairVisits
from coseg.export.runtime import GraphNetwork

GIGABYTES = 1.0
"""Features that are held, so that each image is encoded once."""


class Measured(NamedTuple):
    """What graphs do on pairs.

    Attributes:
        pairs: their number.
        jaccard: mean IoU of all masks with a truth, void as background.
        jaccard_distractor: of those whose image also holds an object that is not common; nan where none does.
        encode: seconds an image.
        cosegment: seconds a pair, both masks.
    """

    pairs: int
    jaccard: float
    jaccard_distractor: float
    encode: float
    cosegment: float

    @property
    def seconds(self) -> float:
        """Of a pair of new images."""
        return 2 * self.encode + self.cosegment


def measure(network: GraphNetwork, datamodule: PairDataModule, void: str = "background") -> Measured:
    """Score graphs on the test pairs of a data module, one pair at a time, each image encoded once.

    The masks are those of `network` at the images' original sizes, by `coseg.evaluation.scores`.
    """
    order = datamodule.order("test")
    presence = datamodule.catalog("test").presence
    encoding, cosegmenting = _Clock(), _Clock()

    def read(indices: Iterable[int]) -> Iterable[ImageItem]:
        return datamodule.image_loader("test", indices, workers=0)

    def encode(image: Tensor) -> Any:
        return encoding.run(partial(network.encode, image))

    overlaps: list[float] = []
    distracted: list[bool] = []
    pairs = sorted({order.pair(0, k) for k in range(len(order))})
    for group in PairVisits(pairs, read, encode, GIGABYTES):
        features, sizes = (group.features_a, group.features_b), group.sizes
        logits = cosegmenting.run(partial(network.cosegment, *features, *sizes))
        first, second = np.array(group.pairs).T
        common = torch.from_numpy(presence[first] & presence[second])
        for each, labels in zip(logits, (group.labels_a, group.labels_b), strict=True):
            score = mask_score(predicted_mask(each), pair_targets(labels, common), void)
            overlaps += score.iou.tolist()
            distracted += score.distractor.tolist()
    iou, hard = np.array(overlaps), np.array(distracted)
    return Measured(len(pairs), _mean(iou), _mean(iou[hard]), encoding.mean, cosegmenting.mean)


def table(rows: dict[str, Measured]) -> str:
    """What was measured, a line for each kind of graph, and the difference of the last to the first."""
    lines = [f"{'':<10}  {'jaccard':>8}  {'distractor':>10}  {'ms an image':>11}  {'ms a pair':>9}  {'both':>8}"]
    for name, row in rows.items():
        times = (1000 * seconds for seconds in (row.encode, row.cosegment, row.seconds))
        cells = "  ".join(f"{ms:>{width}.1f}" for ms, width in zip(times, (11, 9, 8), strict=True))
        lines.append(f"{name:<10}  {row.jaccard:>8.4f}  {row.jaccard_distractor:>10.4f}  {cells}")
    first, *_, last = rows.values()
    if len(rows) > 1:
        gains = last.jaccard - first.jaccard, last.jaccard_distractor - first.jaccard_distractor
        lines.append(f"{'difference':<10}  {gains[0]:>+8.4f}  {gains[1]:>+10.4f}")
    return "\n".join(lines)


class _Clock:
    """The time of calls; the first, which makes a runtime ready, is left out where there are others."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def run(self, job: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = job()
        self.times.append(time.perf_counter() - began)
        return result

    @property
    def mean(self) -> float:
        return float(np.mean(self.times[1:] or self.times))


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
