"""From the journal of a finished test to its results: the scores, the table of pairs and the panels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from coseg.data.catalog import Catalog
from coseg.evaluation.counts import mask_counts
from coseg.evaluation.journal import Part
from coseg.evaluation.metrics import PairScores
from coseg.evaluation.panels import draw_panel
from coseg.evaluation.pictures import save_picture
from coseg.evaluation.references import ReferenceScores
from coseg.evaluation.results import build_results, write_results
from coseg.evaluation.rows import PairRow, write_pairs
from coseg.models.network import CosegNetwork
from coseg.training.predict import predicted_row


class TestPlan(NamedTuple):
    """What a test is told beside its pairs.

    Attributes:
        folder: where ``results.json``, ``pairs.csv`` and panels are written.
        protocol: name of the protocol.
        void: ``background`` or ``ignored``.
        checkpoint: path of the checkpoint.
        all_pairs: how many pairs the catalog has; a test of fewer is not complete.
        panels: pairs in each picture; 0 draws none.
    """

    folder: Path
    protocol: str
    void: str
    checkpoint: str
    all_pairs: int
    panels: int


def write_outcome(
    plan: TestPlan, catalog: Catalog, network: CosegNetwork, parts: Sequence[Part], device: torch.device
) -> None:
    """Write ``pairs.csv``, the panels and, last, ``results.json``.

    Everything comes from the parts alone, their pairs in the order of the images: how often the test was interrupted
    and how many processes ran it leaves no trace.

    Args:
        plan: what the test was told.
        catalog: the tested images.
        network: draws the panels.
        parts: of the journal, all pairs of the test.
        device: for the panels.
    """
    table = np.concatenate([part.table for part in parts])
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    common = catalog.presence[table[:, 0]] & catalog.presence[table[:, 1]]
    scores = PairScores(len(catalog.class_names), plan.void, sync_on_compute=False)
    scores.add_counts(*mask_counts(torch.from_numpy(table)), torch.from_numpy(common))
    references = ReferenceScores(plan.void, sync_on_compute=False)
    for part in parts:
        references.add_sums(part.references)

    rows = pair_rows(catalog, table, common)
    (plan.folder / "results.json").unlink(missing_ok=True)  # of an earlier test, with other pairs beside it
    write_pairs(plan.folder / "pairs.csv", rows)
    results = build_results(
        catalog,
        rows,
        scores=scores.compute(),
        per_class=scores.per_class(),
        references=references.compute(),
        protocol=plan.protocol,
        void=plan.void,
        complete=catalog.complete and len(rows) == plan.all_pairs,
        model=type(network).__name__,
        checkpoint=plan.checkpoint,
        input_size=network.input_size,
        seconds=sum(part.seconds for part in parts),
    )
    if plan.panels:
        _draw(plan, catalog, network.to(device).eval(), rows)
    write_results(plan.folder / "results.json", results)  # last: it says that the test is whole


def pair_rows(catalog: Catalog, table: NDArray[np.int64], common: NDArray[np.bool_]) -> list[PairRow]:
    """The rows of ``pairs.csv`` for a table of counts, int64 (P, 14), and the common classes, bool (P, K)."""
    a, b = mask_counts(torch.from_numpy(table))
    share_a, share_b = (each.truth.double() / each.counted.clamp(min=1) for each in (a, b))
    columns = (*torch.from_numpy(table[:, :2]).T, a.iou, b.iou, a.distractor, b.distractor, share_a, share_b)
    rows = []
    for (i, j, *values), classes in zip(
        zip(*(column.tolist() for column in columns), strict=True), common, strict=True
    ):
        names = tuple(name for name, shared in zip(catalog.class_names, classes, strict=True) if shared)
        rows.append(PairRow(i, j, catalog.ids[i], catalog.ids[j], names, *values))
    return rows


def _draw(plan: TestPlan, catalog: Catalog, network: CosegNetwork, rows: Sequence[PairRow]) -> None:
    """Panels of the best, the middle and the worst pairs, by the mean of their two scores."""
    ranked = sorted((row for row in rows if not math.isnan(row.mean)), key=lambda row: -row.mean)
    size = min(plan.panels, len(ranked))
    middle = (len(ranked) - size) // 2
    for name, chosen in (
        ("best", ranked[:size]),
        ("middle", ranked[middle : middle + size]),
        ("worst", ranked[len(ranked) - size :]),
    ):
        panel = draw_panel([predicted_row(network, catalog, row.i, row.j, plan.void) for row in chosen])
        save_picture(plan.folder / f"{name}.png", panel)
