"""The pixel counts of tested masks as one table of integers: all that the scores of a test are made of."""

from __future__ import annotations

import torch
from torch import Tensor

from coseg.evaluation.scores import MaskScore

KEY = 2
"""Columns before the counts: what tells a row from all others of its test. The two images of a pair, ``i < j``, or the
class of a group and an image of it."""


def counts_table(keys: Tensor, *scores: MaskScore) -> Tensor:
    """A row for each of B pairs, or of B images in groups.

    Args:
        keys: int64 (B, 2).
        scores: the counts of their first masks, tensors (B,), and, of pairs, those of their second.

    Returns:
        int64 (B, 2 + 6 M) for M masks in a row: the key, then the counts of `MaskScore` of each mask.
    """
    columns = [count.to(torch.int64) for score in scores for count in score]
    return torch.cat((keys.to(columns[0].device), torch.stack(columns, 1)), 1)


def mask_counts(table: Tensor) -> tuple[MaskScore, ...]:
    """The counts of each of the M masks in the rows of a table, int64 (N, 2 + 6 M); each a tensor (N,)."""
    return tuple(_counts(columns) for columns in table[:, KEY:].split(len(MaskScore._fields), 1))


def _counts(columns: Tensor) -> MaskScore:
    intersection, union, correct, counted, truth, distractor = columns.unbind(1)
    return MaskScore(intersection, union, correct, counted, truth, distractor.bool())
