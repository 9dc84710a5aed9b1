"""The pixel counts of tested pairs as one table of integers: all that the scores of a test are made of."""

from __future__ import annotations

import torch
from torch import Tensor

from coseg.evaluation.scores import MaskScore

COLUMNS = ("i", "j", *(f"{count}_a" for count in MaskScore._fields), *(f"{count}_b" for count in MaskScore._fields))
"""What a row holds: the two images of the pair, then the counts of `MaskScore` for each of its masks."""


def counts_table(pairs: Tensor, score_a: MaskScore, score_b: MaskScore) -> Tensor:
    """A row for each of B pairs.

    Args:
        pairs: int64 (B, 2), the images ``i < j``.
        score_a: the counts of their first masks, tensors (B,).
        score_b: those of their second.

    Returns:
        int64 (B, 14), the columns in the order of `COLUMNS`.
    """
    columns = [count.to(torch.int64) for count in (*score_a, *score_b)]
    return torch.cat((pairs.to(columns[0].device), torch.stack(columns, 1)), 1)


def mask_counts(table: Tensor) -> tuple[MaskScore, MaskScore]:
    """The counts of the first and of the second masks of a table, int64 (P, 14); each a tensor (P,)."""
    middle = 2 + len(MaskScore._fields)
    return _counts(table[:, 2:middle]), _counts(table[:, middle:])


def _counts(columns: Tensor) -> MaskScore:
    intersection, union, correct, counted, truth, distractor = columns.unbind(1)
    return MaskScore(intersection, union, correct, counted, truth, distractor.bool())
