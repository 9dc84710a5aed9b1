"""Calibrate whether the images of a group have a common object, on groups of `coseg.inference.group_draws`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.evaluation.bootstrap import group_interval
from coseg.evaluation.decision import DecisionScores
from coseg.inference.commonness import Calibration
from coseg.inference.each_evidence import Progress, each_evidence
from coseg.inference.group_draws import Group
from coseg.inference.grouped import group_evidence
from coseg.inference.segmenter import CoSegmenter
from coseg.inference.sizes import SizeMeasures


def which_share(groups: Sequence[Group]) -> Tensor:
    """Which of them share a class, bool (N,)."""
    return torch.tensor([group.common for group in groups])


def collect_groups(
    model: CoSegmenter,
    calibration: Calibration,
    catalog: Catalog,
    groups: Sequence[Group],
    progress: Progress | None = None,
) -> Tensor:
    """The evidence of groups of a catalog, float64 (N, 2), from the logits that `calibration` has for their pairs."""
    images = [group.images for group in groups]
    found = zip(images, each_evidence(model, catalog, images, progress), strict=True)
    return torch.stack([group_evidence(calibration.logits(evidence), len(group)) for group, evidence in found])


def measure_groups(calibration: Calibration, evidence: Tensor, groups: Sequence[Group], data: str) -> Calibration:
    """`calibration`, of groups, with its measures on `groups`, whose evidence is (N, 2): of all, and of each size."""
    logits = calibration.logits(evidence)
    sizes = sorted({len(group.images) for group in groups})
    measures = []
    for size in sizes:
        chosen = torch.tensor([len(group.images) == size for group in groups])
        measures.append(_measured(size, [group for group in groups if len(group.images) == size], logits[chosen]))
    all_sizes = _measured(0, groups, logits)
    return replace(
        calibration,
        auc=all_sizes.auc,
        accuracy=all_sizes.accuracy,
        interval=all_sizes.interval,
        pairs=len(groups),
        data=data,
        sizes=tuple(measures),
    )


def _measured(size: int, groups: Sequence[Group], logits: Tensor) -> SizeMeasures:
    truth = which_share(groups)
    scores = DecisionScores()
    scores.update(truth, torch.zeros(len(groups)), logits)
    found = scores.compute()
    right = ((logits > 0) == truth).numpy()
    between = group_interval([group.images for group in groups], right)
    return SizeMeasures(size, len(groups), float(found["decision_accuracy"]), between, float(found["decision_auc"]))
