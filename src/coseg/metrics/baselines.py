"""Baselines: what three predictors that match nothing would score on the same masks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from coseg.labels import COMMON, OTHER, VOID
from coseg.metrics.mask_counts import check_void, mask_score

SHARES = tuple(tenth / 10 for tenth in range(3, 11))
"""The axes of the constant ellipses, as shares of the height and of the width of the image."""


_SINGLE = ("masks", "masks_distractor", "all_foreground", "all_objects", "all_objects_distractor")
"""The states of one number, in the order of the columns of `mask_baselines`."""


class BaselineScores(Metric):
    """The ``jaccard`` of baselines: the mean IoU over all masks with non-empty truth, as in `PairScores`.

    - ``all_foreground``: every pixel, void ones included.
    - ``constant``: the best of the constant predictions, which are ``all_foreground`` and the centred ellipses whose
      axes are each a share (0.3, 0.4, …, 1.0) of the height and of the width; best on these very masks.
    - ``all_objects``: the union of all classes, what perfect saliency without matching would predict.
    - ``all_objects_distractor``: the same over the masks whose image holds an object that is not common.

    Args:
        void: ``background`` or ``ignored``, as for the scores that they are compared with.
        kwargs: torchmetrics' own, as for `PairScores`.

    Raises:
        CosegError: `void` is unknown.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    masks: Tensor
    masks_distractor: Tensor
    all_foreground: Tensor
    ellipses: Tensor
    all_objects: Tensor
    all_objects_distractor: Tensor

    def __init__(self, void: str = "background", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_void(void)
        self.void = void
        for name in _SINGLE:
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("ellipses", torch.zeros(len(SHARES) ** 2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, target_a: Tensor, target_b: Tensor) -> None:
        """Add the masks of B pairs: target maps, uint8 (B, H, W) and (B, H', W'), as for `PairScores.update`."""
        for target in (target_a, target_b):
            self.add(mask_baselines(target, self.void))

    def add(self, masks: Tensor) -> None:
        """Add masks by what `mask_baselines` gave for them, (B, 69)."""
        self._computed = None
        self._update_count += 1
        total = masks.sum(0)
        for name, value in zip(_SINGLE, total, strict=False):
            state: Tensor = getattr(self, name)
            state += value
        self.ellipses += total[len(_SINGLE) :]

    def sums(self) -> dict[str, NDArray[np.float64]]:
        """The states by name: sums over the masks seen so far, of this process."""
        return {name: state.cpu().numpy().copy() for name, state in self.metric_state.items()}  # type: ignore[union-attr]

    def add_sums(self, sums: Mapping[str, NDArray[np.float64]]) -> None:
        """Add what `sums` gave for other masks."""
        self._computed = None
        self._update_count += 1
        for name, value in sums.items():
            state: Tensor = getattr(self, name)
            state += torch.as_tensor(value, device=state.device)

    def compute(self) -> dict[str, Tensor]:
        """The baselines by name: 0 to 1, or nan where no mask counts; 0-dimensional, float64."""
        all_foreground = self.all_foreground / self.masks
        return {
            "all_foreground": all_foreground,
            "constant": torch.maximum(all_foreground, (self.ellipses / self.masks).max()),
            "all_objects": self.all_objects / self.masks,
            "all_objects_distractor": self.all_objects_distractor / self.masks_distractor,
        }


def mask_baselines(target: Tensor, void: str) -> Tensor:
    """What each mask adds to the states of `BaselineScores`: it depends on the truth alone.

    Args:
        target: uint8 (B, H, W): 0 background, 1 common, 2 other object, 255 void.
        void: ``background`` or ``ignored``.

    Returns:
        float64 (B, 69): whether the mask counts, whether its image also holds an object that is not common, the IoU of
        all foreground, that of all objects, the latter where there is such an object, and the IoUs of the 64 ellipses.
    """
    objects = mask_score((target == COMMON) | (target == OTHER), target, void)
    has_truth = objects.truth > 0
    iou = objects.iou.nan_to_num(0.0)
    single = (
        has_truth,
        has_truth & objects.distractor,
        objects.truth.double() / objects.counted.clamp(min=1),
        iou,
        iou * objects.distractor,
    )
    return torch.cat(
        (torch.stack([column.double() for column in single], 1), ellipse_ious(target, void).nan_to_num(0.0)), 1
    )


def ellipse_ious(target: Tensor, void: str) -> Tensor:
    """The IoU of each constant ellipse with the truth of each mask.

    A row of an ellipse is an interval, so its sum is a difference of two cumulative sums along the row: E ellipses cost
    E·H look-ups rather than E·H·W products, and the counts are exact.

    Args:
        target: uint8 (B, H, W): 0 background, 1 common, 2 other object, 255 void.
        void: ``background`` or ``ignored``.

    Returns:
        float64 (B, E) for the E = 64 ellipses, height's share first; nan where the truth is empty.
    """
    height, width = target.shape[-2:]
    starts, ends = (edge.to(target.device) for edge in _ellipse_rows(height, width))
    truth = target == COMMON
    intersection = _interval_sums(truth, starts, ends)
    area = _interval_sums(target != VOID, starts, ends) if void == "ignored" else (ends - starts).sum(-1)
    union = area + truth.flatten(1).sum(1, keepdim=True) - intersection
    has_truth = truth.flatten(1).any(1, keepdim=True)
    return torch.where(has_truth, intersection.double() / union.double(), torch.nan)


def _interval_sums(mask: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Pixels of `mask` (B, H, W) that lie in the intervals [starts, ends) of the rows, int64 (E, H): int64 (B, E)."""
    batch, height, width = mask.shape
    sums = torch.zeros(batch, height, width + 1, dtype=torch.int32, device=mask.device)
    torch.cumsum(mask, -1, dtype=torch.int32, out=sums[..., 1:])
    rows = torch.arange(height, device=mask.device) * (width + 1)
    flat = sums.flatten(1)
    return (flat[:, rows + ends] - flat[:, rows + starts]).sum(-1)


@lru_cache(maxsize=256)
def _ellipse_rows(height: int, width: int) -> tuple[Tensor, Tensor]:
    """First and one-past-last column of each row of each ellipse, int64 (E, H). A pixel is in by its centre."""
    shares = torch.tensor(SHARES, dtype=torch.float64)
    y = (torch.arange(height, dtype=torch.float64) + 0.5) / height * 2 - 1
    x = (torch.arange(width, dtype=torch.float64) + 0.5) / width * 2 - 1
    # |x| <= share_x * sqrt(1 - (y / share_y)²), in units of half the width and half the height.
    half = shares[None, :, None] * (1 - (y / shares[:, None, None]) ** 2).sqrt()  # nan where the row misses it
    edges = half.nan_to_num(-1.0).flatten(0, 1)
    starts = torch.searchsorted(x, -edges)
    ends = torch.searchsorted(x, edges, right=True)
    return starts, torch.maximum(starts, ends)
