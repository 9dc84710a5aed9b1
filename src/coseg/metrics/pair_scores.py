"""The five scores of a test, gathered over masks and processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from coseg.metrics import SCORES as SCORES
from coseg.metrics.baselines import BaselineScores
from coseg.metrics.mask_counts import MaskScore, check_void, mask_score, predicted_mask


class PairScores(Metric):
    r"""The scores of predicted pairs. A pair has two masks, each with an intersection I, a union U and an IoU = I/U.

    - ``jaccard``: the mean of the IoU over all masks.
    - ``jaccard_class_mean``: for each class the mean of the IoU over the masks of the pairs that share it, then the
      mean over the classes. A pair that shares two classes counts for both, with the same IoU (that of their union).
    - ``jaccard_global``: :math:`\sum I / \sum U` over all masks.
    - ``jaccard_distractor``: ``jaccard`` over the masks whose image also holds an object that is not common.
    - ``pixel_accuracy``: the mean over all masks of the share of their scored pixels that are right ("precision", P,
      in the literature).

    A mask with empty truth has no IoU: it counts for ``jaccard_global`` and ``pixel_accuracy`` alone. A score of no
    mask at all is nan. Of these, only ``jaccard_global`` is what pooling the pixels of all masks gives: large objects
    outweigh small ones there.

    The states are float64 sums that are added up over processes, so each pair must be seen by one process only.

    Args:
        num_classes: K; 0 where ``jaccard_class_mean`` is not wanted.
        void: ``background`` (predictions on void pixels are wrong) or ``ignored`` (void pixels are not scored).
        baselines: also score what needs no matching on the same masks, see `BaselineScores`; `compute` has their
            names too. It takes a few milliseconds a pair.
        kwargs: torchmetrics' own, such as ``sync_on_compute=False`` where one process holds all pairs.

    Raises:
        CosegError: `void` is unknown.

    In a loop of one's own, with the logits of a network or with masks:

    >>> target = torch.tensor([[[1, 1, 0], [0, 2, 2]]], dtype=torch.uint8)  # 1 common, 2 another object, 255 void
    >>> logits = torch.stack((torch.zeros(1, 2, 3), target - 0.5), 1)  # (B, 2, H, W): all objects are foreground
    >>> scores = PairScores(num_classes=1, baselines=True)
    >>> scores.update(logits, target, target == 1, target, torch.tensor([[True]]))
    >>> for name, value in scores.compute().items():
    ...     print(f"{name} {value:.3f}")
    jaccard 0.750
    jaccard_class_mean 0.750
    jaccard_global 0.667
    jaccard_distractor 0.750
    pixel_accuracy 0.833
    all_foreground 0.333
    constant 0.333
    all_objects 0.500
    all_objects_distractor 0.500
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, num_classes: int, void: str = "background", baselines: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_void(void)
        self.void = void
        self.baselines = BaselineScores(void, **kwargs) if baselines else None
        for name in ("iou", "masks", "iou_distractor", "masks_distractor", "intersection", "union", "right", "scored"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("class_iou", "class_masks"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")

    iou: Tensor
    masks: Tensor
    iou_distractor: Tensor
    masks_distractor: Tensor
    intersection: Tensor
    union: Tensor
    right: Tensor
    scored: Tensor
    class_iou: Tensor
    class_masks: Tensor

    def update(
        self, prediction_a: Tensor, target_a: Tensor, prediction_b: Tensor, target_b: Tensor, common: Tensor
    ) -> None:
        """Add B pairs.

        Args:
            prediction_a: of the first images, logits (B, 2, H, W), float, or predicted masks (B, H, W), bool.
            target_a: uint8 (B, H, W): 0 background, 1 common, 2 other object, 255 void.
            prediction_b: likewise of the second images, of any other size.
            target_b: uint8 (B, H', W').
            common: bool (B, K), the classes that both images of a pair hold.

        Raises:
            ValueError: a prediction is neither, or not of its target's size.
        """
        for prediction, target in ((prediction_a, target_a), (prediction_b, target_b)):
            if prediction.ndim == 4 and prediction.is_floating_point() and prediction.shape[1] == 2:
                prediction = predicted_mask(prediction)
            self._add(mask_score(prediction, target, self.void), common)
        if self.baselines is not None:
            self.baselines.update(target_a, target_b)

    def reset(self) -> None:
        """Forget all pairs."""
        super().reset()
        if self.baselines is not None:
            self.baselines.reset()

    def add_counts(self, scores: Iterable[MaskScore], common: Tensor) -> None:
        """Add the masks of B pairs, or of B images in groups, by their counts, tensors (B,); `common` as above."""
        self._computed = None
        self._update_count += 1
        for score in scores:
            self._add(score, common)

    def _add(self, score: MaskScore, common: Tensor) -> None:
        has_truth = score.truth > 0
        iou = score.iou.nan_to_num(0.0)  # nan only where there is no truth, which the counts leave out
        self.iou += iou.sum()
        self.masks += has_truth.sum()
        self.iou_distractor += (iou * score.distractor).sum()
        self.masks_distractor += (has_truth & score.distractor).sum()
        self.class_iou += (iou[:, None] * common).sum(0)
        self.class_masks += (has_truth[:, None] & common).sum(0)
        self.intersection += score.intersection.sum()
        self.union += score.union.sum()
        self.right += (score.correct.double() / score.counted.clamp(min=1)).sum()
        self.scored += (score.counted > 0).sum()

    def compute(self) -> dict[str, Tensor]:
        """The scores named in `SCORES`, and the baselines where they were asked for.

        Each is 0-dimensional, float64, 0 to 1, or nan where no mask counts.
        """
        baselines: dict[str, Tensor] = self.baselines.compute() if self.baselines is not None else {}
        return {
            "jaccard": self.iou / self.masks,
            "jaccard_class_mean": (self.class_iou / self.class_masks).nanmean(),
            "jaccard_global": self.intersection / self.union,
            "jaccard_distractor": self.iou_distractor / self.masks_distractor,
            "pixel_accuracy": self.right / self.scored,
            **baselines,
        }

    def per_class(self) -> Tensor:
        """The mean IoU over the masks of the pairs that share each class: float64 (K,), nan where no pair does.

        As `compute`, it gathers over the processes, so all of them must call it.
        """
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync, should_unsync=self._should_unsync
        ):
            return self.class_iou / self.class_masks
