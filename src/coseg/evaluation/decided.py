"""What a test of pairs decided: a block of ``results.json``, and ``decisions.csv`` with each pair."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from coseg.evaluation.counts import KEY, mask_counts
from coseg.evaluation.decision import DecisionScores
from coseg.evaluation.rows import DIGITS
from coseg.files import write_text_atomically

DECISIONS = "decisions.csv"
"""Beside ``results.json``, where something was decided."""

COLUMNS = ("i", "j", "id_a", "id_b", "positive", "marked", "decision")


class PairDecisions:
    """The decisions on the tested pairs, by a `DecidingNetwork` or by how much the masks mark.

    Args:
        table: int64 (N, 14), see `coseg.evaluation.counts`.
        positive: bool (N,), whether the pair has a common class.
        decisions: float64 (N,), the logits; nan where nothing decides.
    """

    def __init__(self, table: NDArray[np.int64], positive: NDArray[np.bool_], decisions: NDArray[np.float64]) -> None:
        self.pairs = table[:, :KEY]
        self.positive = positive
        self.decisions = decisions
        shares = [
            (mask.intersection + mask.union - mask.truth).double() / mask.counted.clamp(min=1)
            for mask in mask_counts(torch.from_numpy(table))
        ]
        self.marked: NDArray[np.float64] = torch.stack(shares).mean(0).numpy()

    @property
    def any(self) -> bool:
        """Whether there is something to tell: negative pairs, or a network that decides."""
        return not self.positive.all() or not np.isnan(self.decisions).all()

    def block(self) -> dict[str, float]:
        """The numbers of positive and negative pairs, and `DecisionScores`; empty where there is nothing to tell."""
        if not self.any:
            return {}
        scores = DecisionScores(sync_on_compute=False)
        scores.update(*(torch.from_numpy(each) for each in (self.positive, self.marked, self.decisions)))
        positives = int(self.positive.sum())
        found = {name: value.item() for name, value in scores.compute().items()}
        return {"positives": positives, "negatives": len(self.positive) - positives, **found}

    def write(self, folder: Path, ids: Sequence[str]) -> None:
        """Write ``decisions.csv`` to `folder`, or take an earlier test's away where there is nothing to tell.

        Args:
            folder: of the results.
            ids: of the catalog's images.
        """
        if not self.any:
            (folder / DECISIONS).unlink(missing_ok=True)
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        columns = (self.pairs.tolist(), self.positive.tolist(), self.marked.tolist(), self.decisions.tolist())
        for (i, j), positive, marked, decision in zip(*columns, strict=True):
            cell = "" if np.isnan(decision) else f"{decision:.{DIGITS}f}"
            writer.writerow((i, j, ids[i], ids[j], int(positive), f"{marked:.{DIGITS}f}", cell))
        write_text_atomically(folder / DECISIONS, text.getvalue())
