"""From the journal of a finished test to its results: the scores, the table of rows and the panels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from coseg.data.catalog import Catalog
from coseg.evaluation.counts import mask_counts
from coseg.evaluation.decided import PairDecisions
from coseg.evaluation.intervals import score_intervals
from coseg.evaluation.journal import Part
from coseg.evaluation.metrics import PairScores
from coseg.evaluation.panels import PanelRow, draw_panel, in_twos
from coseg.evaluation.pictures import save_picture
from coseg.evaluation.references import ReferenceScores
from coseg.evaluation.results import build_results, write_results
from coseg.evaluation.rows import GroupRow, PairRow, Row, row_images
from coseg.evaluation.rows_file import write_rows
from coseg.models.network import CosegNetwork


class TestPlan(NamedTuple):
    """What a test is told beside what it scores.

    Attributes:
        folder: where ``results.json``, ``pairs.csv`` or ``masks.csv``, and panels are written.
        protocol: name of the protocol.
        void: ``background`` or ``ignored``.
        checkpoint: path of the checkpoint.
        whole: whether it scores all that the catalog has; a test of less is not complete.
        groups: whether it scores images in groups rather than pairs.
        panels: rows in each picture; 0 draws none.
    """

    folder: Path
    protocol: str
    void: str
    checkpoint: str
    whole: bool
    groups: bool
    panels: int


Predict = Callable[[Sequence[Row]], Sequence[PanelRow]]


def write_outcome(
    plan: TestPlan, catalog: Catalog, network: CosegNetwork, parts: Sequence[Part], predict: Predict
) -> None:
    """Write the rows, the panels and, last, ``results.json``.

    Everything comes from the parts alone, their rows in the order of their keys: how often the test was interrupted
    and how many processes ran it leaves no trace.

    Args:
        plan: what the test was told.
        catalog: the tested images.
        network: that was tested.
        parts: of the journal, all of the test.
        predict: gives what the network predicts of some rows once more, for the panels.
    """
    table = np.concatenate([part.table for part in parts])
    decisions = np.concatenate([part.decisions for part in parts])
    order = np.lexsort((table[:, 1], table[:, 0]))
    table, decisions = table[order], decisions[order]
    common = common_classes(catalog, table, plan.groups)
    positive: NDArray[np.bool_] = np.any(common, axis=1)
    decided = None if plan.groups else PairDecisions(table, positive, decisions)
    table, common = table[positive], common[positive]  # negative pairs count for the decision alone
    scores = PairScores(len(catalog.class_names), plan.void, sync_on_compute=False)
    masks = mask_counts(torch.from_numpy(table))
    scores.add_counts(masks, torch.from_numpy(common))
    references = ReferenceScores(plan.void, sync_on_compute=False)
    for part in parts:
        references.add_sums(part.references)

    rows = table_rows(catalog, table, common, plan.groups)
    results = build_results(
        catalog,
        rows,
        scores=scores.compute(),
        intervals=score_intervals(row_images(rows), masks, common),
        per_class=scores.per_class(),
        references=references.compute(),
        protocol=plan.protocol,
        void=plan.void,
        complete=catalog.complete and plan.whole,
        model=network.name,
        checkpoint=plan.checkpoint,
        input_size=network.input_size,
        seconds=sum(part.seconds for part in parts),
        decision=decided.block() if decided is not None else None,
    )
    panels = _panels(rows, plan.panels, predict)
    (plan.folder / "results.json").unlink(missing_ok=True)  # of an earlier test, with other rows beside it
    write_rows(plan.folder, rows)
    if decided is not None:
        decided.write(plan.folder, catalog.ids)
    for name, panel in panels.items():
        save_picture(plan.folder / f"{name}.png", panel)
    write_results(plan.folder / "results.json", results)  # last: it says that the test is whole


def common_classes(catalog: Catalog, table: NDArray[np.int64], groups: bool) -> NDArray[np.bool_]:
    """The classes that are foreground in each row of a table of counts, bool (N, K)."""
    if groups:
        return np.eye(len(catalog.class_names), dtype=bool)[table[:, 0]]
    return catalog.presence[table[:, 0]] & catalog.presence[table[:, 1]]


def table_rows(catalog: Catalog, table: NDArray[np.int64], common: NDArray[np.bool_], groups: bool) -> list[Row]:
    """The rows for a table of counts and their common classes, bool (N, K)."""
    counts = mask_counts(torch.from_numpy(table))
    measures = [
        (each.iou, each.distractor, each.truth.double() / each.counted.clamp(min=1)) for each in counts
    ]  # of each mask
    columns = [column.tolist() for of_masks in zip(*measures, strict=True) for column in of_masks]
    rows: list[Row] = []
    for (first, second), classes, *values in zip(table[:, :2].tolist(), common, *columns, strict=True):
        if groups:
            rows.append(GroupRow(second, catalog.ids[second], catalog.class_names[first], *values))
        else:
            names = tuple(name for name, shared in zip(catalog.class_names, classes, strict=True) if shared)
            rows.append(PairRow(first, second, catalog.ids[first], catalog.ids[second], names, *values))
    return rows


def _panels(rows: Sequence[Row], count: int, predict: Predict) -> dict[str, NDArray[np.uint8]]:
    """Panels of the best, the middle and the worst rows, by the mean of their scores."""
    ranked = sorted((row for row in rows if not math.isnan(row.mean)), key=lambda row: -row.mean)
    size = min(count, len(ranked))
    if not size:
        return {}
    middle = (len(ranked) - size) // 2
    chosen = ranked[:size], ranked[middle : middle + size], ranked[len(ranked) - size :]
    drawn = predict([row for some in chosen for row in some])
    parts = (drawn[k * size : (k + 1) * size] for k in range(3))
    return {name: draw_panel(in_twos(part)) for name, part in zip(("best", "middle", "worst"), parts, strict=True)}
