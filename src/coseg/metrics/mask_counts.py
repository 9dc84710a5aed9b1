"""The pixel counts of masks, from which all scores are computed, and their table of integers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from coseg.errors import unknown_choice
from coseg.labels import COMMON, OTHER, VOID

VOID_RULES = ("background", "ignored")
"""``background``: a prediction on void pixels is wrong. ``ignored``: void pixels are not counted."""

KEY = 2
"""Columns of a table before the counts. They identify a record of a test: the two images of a pair, ``i < j``, or the
class of a group and an image of it."""


class MaskScore(NamedTuple):
    """The pixel counts of one mask (0-dimensional tensors) or of B masks (tensors of shape (B,)).

    Attributes:
        intersection: pixels that are foreground in prediction and truth, int64.
        union: pixels that are foreground in either, int64.
        correct: pixels on which prediction and truth agree, int64.
        counted: pixels that are scored: all, or all but the void ones, int64.
        truth: foreground pixels of the truth, int64; a mask whose `truth` is 0 has no IoU.
        distractor: whether the image also holds an object that is not common to the pair, bool.
    """

    intersection: Tensor
    union: Tensor
    correct: Tensor
    counted: Tensor
    truth: Tensor
    distractor: Tensor

    @property
    def iou(self) -> Tensor:
        """Intersection over union, 0 to 1, float64; nan where the truth is empty."""
        return torch.where(self.truth > 0, self.intersection.double() / self.union.double(), torch.nan)


def check_void(void: str) -> None:
    """Check the name of a rule for void pixels.

    Raises:
        CosegError: `void` is not in `VOID_RULES`.
    """
    if void not in VOID_RULES:
        raise unknown_choice("protocol.void", void, VOID_RULES)


def predicted_mask(logits: Tensor) -> Tensor:
    """The predicted foreground, bool (B, H, W), of logits (B, 2, H, W): their argmax.

    As a comparison: on a CPU torch's argmax over two channels of 384 x 512 takes 70 ms, this 0.1.
    """
    return logits[:, 1] > logits[:, 0]


def mask_score(prediction: Tensor, target: Tensor, void: str) -> MaskScore:
    """Compare predicted masks with target maps.

    Args:
        prediction: bool (H, W) or (B, H, W).
        target: uint8 of the same shape: 0 background, 1 common, 2 other object (scored as background), 255 void.
        void: one of `VOID_RULES`.

    Raises:
        CosegError: `void` is unknown.
        ValueError: the shapes differ, or `prediction` is not bool.

    >>> target = torch.tensor([[0, 1], [2, 255]], dtype=torch.uint8)
    >>> everything = torch.ones(2, 2, dtype=torch.bool)
    >>> mask_score(everything, target, "background").iou, mask_score(everything, target, "ignored").union
    (tensor(0.2500, dtype=torch.float64), tensor(3))
    """
    check_void(void)
    if prediction.shape != target.shape or prediction.dtype != torch.bool:
        raise ValueError(
            f"prediction is {prediction.dtype} {tuple(prediction.shape)}, expected bool {tuple(target.shape)}"
        )
    truth = target == COMMON
    if void == "ignored":
        valid = target != VOID
        prediction = prediction & valid
        counted = _pixels(valid)
    else:
        counted = torch.full(truth.shape[:-2], truth.shape[-2] * truth.shape[-1], device=truth.device)
    # Three counts give the rest: |P or T| = |P| + |T| - |P and T|, and what is wrong is in the union only.
    intersection, in_truth = _pixels(prediction & truth), _pixels(truth)
    union = _pixels(prediction) + in_truth - intersection
    return MaskScore(
        intersection=intersection,
        union=union,
        correct=counted - (union - intersection),
        counted=counted,
        truth=in_truth,
        distractor=_pixels(target == OTHER) > 0,  # takes a third of `any` on a CPU
    )


def _pixels(mask: Tensor) -> Tensor:
    return mask.flatten(-2).sum(-1, dtype=torch.int32).long()  # half the time of a sum in int64


def counts_table(keys: Tensor, *scores: MaskScore) -> Tensor:
    """The table of B pairs, or of B images in groups.

    Args:
        keys: int64 (B, 2).
        scores: the counts of their first masks, tensors (B,), and, of pairs, those of their second.

    Returns:
        int64 (B, 2 + 6 M) for M masks in a record: the key, then the counts of `MaskScore` of each mask.
    """
    columns = [count.to(torch.int64) for score in scores for count in score]
    return torch.cat((keys.to(columns[0].device), torch.stack(columns, 1)), 1)


def counts_from_table(table: Tensor) -> tuple[MaskScore, ...]:
    """The counts of each of the M masks of the N records of a table, int64 (N, 2 + 6 M): tensors (N,)."""
    return tuple(_counts(columns) for columns in table[:, KEY:].split(len(MaskScore._fields), 1))


def _counts(columns: Tensor) -> MaskScore:
    intersection, union, correct, counted, truth, distractor = columns.unbind(1)
    return MaskScore(intersection, union, correct, counted, truth, distractor.bool())
