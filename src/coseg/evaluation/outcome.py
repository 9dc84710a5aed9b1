"""From the partial results of a finished test to what it leaves: scores, records and panels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, SupportsFloat

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics import Metric

from coseg.data.catalog import Catalog
from coseg.evaluation.partial_results import Part
from coseg.imaging.draw import save_picture
from coseg.metrics.baselines import BaselineScores
from coseg.metrics.bootstrap import score_intervals
from coseg.metrics.cosod import MapScores, cosod_means
from coseg.metrics.decision import PairDecisions
from coseg.metrics.mask_counts import counts_from_table
from coseg.metrics.pair_scores import PairScores
from coseg.models.base import CosegNetwork
from coseg.reports.panels import PanelRow, draw_panel, in_twos
from coseg.reports.records import (
    GroupRecord,
    PairRecord,
    Record,
    record_column,
    record_images,
    write_decisions,
    write_records,
)
from coseg.reports.results import BASELINES, COSOD, rounded, write_results
from coseg.run_dir import DECISIONS, RESULTS, TEST_PANELS
from coseg.training.extra_metrics import merged_values

SIZES = (0.05, 0.2)
"""Shares of an image from which an object is of medium size, and large."""


class TestPlan(NamedTuple):
    """The settings of a test that its results depend on.

    Attributes:
        folder: where ``results.json``, ``pairs.csv`` or ``masks.csv``, and panels are written.
        protocol: name of the protocol.
        void: ``background`` or ``ignored``.
        checkpoint: path of the checkpoint; None where masks in files are scored.
        predictions: the folder of these; None otherwise.
        benchmark: the checksum of the list of what is tested; None: all, or a sample.
        whole: whether it scores all that the catalog has; a test of less is not complete.
        groups: whether it scores images in groups rather than pairs.
        panels: pairs in each picture; 0: no pictures.
    """

    folder: Path
    protocol: str
    void: str
    checkpoint: str | None
    predictions: str | None
    benchmark: str | None
    whole: bool
    groups: bool
    panels: int


Predict = Callable[[Sequence[Record]], Sequence[PanelRow]]
"""Predicts some records once more, for the panels."""


def write_outcome(
    plan: TestPlan,
    catalog: Catalog,
    network: CosegNetwork,
    parts: Sequence[Part],
    predict: Predict,
    metrics: Mapping[str, Metric] | None = None,
) -> None:
    """Write the records, the panels and, last, ``results.json``.

    Everything is computed from the parts, in the order of their keys: the results do not depend on how often the test
    was interrupted and how many processes ran it.

    Args:
        plan: the settings of the test.
        catalog: the tested images.
        network: that was tested.
        parts: all partial results of the test.
        predict: predicts some records once more, for the panels.
        metrics: of the user, whose states are in the parts.
    """
    table = np.concatenate([part.table for part in parts])
    decisions = np.concatenate([part.decisions for part in parts])
    order = np.lexsort((table[:, 1], table[:, 0]))
    table, decisions = table[order], decisions[order]
    common = common_classes(catalog, table, plan.groups)
    positive: NDArray[np.bool_] = np.any(common, axis=1)
    decided = not plan.groups and not (positive.all() and np.isnan(decisions).all())  # or there is nothing to decide
    pair_decisions = PairDecisions(table, positive, decisions) if decided else None
    table, common = table[positive], common[positive]  # negative pairs count for the decision only
    scores = PairScores(len(catalog.class_names), plan.void, sync_on_compute=False)
    masks = counts_from_table(torch.from_numpy(table))
    scores.add_counts(masks, torch.from_numpy(common))
    baselines = BaselineScores(plan.void, sync_on_compute=False)
    for part in parts:
        baselines.add_sums(part.baselines)

    records = table_records(catalog, table, common, plan.groups)
    results = build_results(
        catalog,
        records,
        scores=scores.compute(),
        intervals=score_intervals(record_images(records), masks, common),
        per_class=scores.per_class(),
        baselines=baselines.compute(),
        protocol=plan.protocol,
        void=plan.void,
        complete=catalog.complete and plan.whole,
        model=network.name,
        checkpoint=plan.checkpoint,
        predictions=plan.predictions,
        benchmark=plan.benchmark,
        input_size=network.input_size,
        seconds=sum(part.seconds for part in parts),
        decision=pair_decisions.block() if pair_decisions is not None else None,
        metrics=merged_values(metrics, [part.metrics for part in parts]) if metrics else None,
        cosod=cosod_block(catalog, parts),
    )
    panels = _panels(records, plan.panels, predict)
    (plan.folder / RESULTS).unlink(missing_ok=True)  # of an earlier test, whose records are replaced now
    write_records(plan.folder, records)
    if pair_decisions is not None:
        write_decisions(plan.folder, pair_decisions, catalog.ids)
    else:
        (plan.folder / DECISIONS).unlink(missing_ok=True)  # of an earlier test
    for name, panel in panels.items():
        save_picture(plan.folder / f"{name}.png", panel)
    write_results(plan.folder / RESULTS, results)  # last: where it is, the test is complete


def common_classes(catalog: Catalog, table: NDArray[np.int64], groups: bool) -> NDArray[np.bool_]:
    """The classes that are foreground in each of the N records of a table of counts, bool (N, K)."""
    if groups:
        return np.eye(len(catalog.class_names), dtype=bool)[table[:, 0]]
    return catalog.presence[table[:, 0]] & catalog.presence[table[:, 1]]


def table_records(catalog: Catalog, table: NDArray[np.int64], common: NDArray[np.bool_], groups: bool) -> list[Record]:
    """The records for a table of counts and their common classes, bool (N, K)."""
    masks = counts_from_table(torch.from_numpy(table))
    measures = [(mask.iou, mask.distractor, mask.truth.double() / mask.counted.clamp(min=1)) for mask in masks]
    columns = [column.tolist() for of_masks in zip(*measures, strict=True) for column in of_masks]
    records: list[Record] = []
    for (first, second), classes, *values in zip(table[:, :2].tolist(), common, *columns, strict=True):
        if groups:
            records.append(GroupRecord(second, catalog.ids[second], catalog.class_names[first], *values))
        else:
            names = tuple(name for name, shared in zip(catalog.class_names, classes, strict=True) if shared)
            records.append(PairRecord(first, second, catalog.ids[first], catalog.ids[second], names, *values))
    return records


def _panels(records: Sequence[Record], count: int, predict: Predict) -> dict[str, NDArray[np.uint8]]:
    """Panels of the best, the middle and the worst records, by the mean of their scores."""
    ranked = sorted((record for record in records if not math.isnan(record.mean)), key=lambda record: -record.mean)
    size = min(count, len(ranked))
    if not size:
        return {}
    middle = (len(ranked) - size) // 2
    chosen = ranked[:size], ranked[middle : middle + size], ranked[len(ranked) - size :]
    predicted = predict([record for part in chosen for record in part])
    parts = (predicted[k * size : (k + 1) * size] for k in range(3))
    return {name: draw_panel(in_twos(part)) for name, part in zip(TEST_PANELS, parts, strict=True)}


def build_results(
    catalog: Catalog,
    records: Sequence[Record],
    *,
    scores: Mapping[str, SupportsFloat],
    intervals: Mapping[str, tuple[float, float]],
    per_class: Iterable[SupportsFloat],
    baselines: Mapping[str, SupportsFloat],
    protocol: str,
    void: str,
    complete: bool,
    model: str,
    checkpoint: str | None,
    input_size: int | None,
    seconds: float,
    decision: Mapping[str, SupportsFloat] | None = None,
    metrics: Mapping[str, SupportsFloat] | None = None,
    predictions: str | None = None,
    benchmark: str | None = None,
    cosod: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What ``results.json`` holds.

    Args:
        catalog: the tested images; gives the names of data set, split and classes.
        records: one for each tested pair, or for each image of each tested group.
        scores: of `coseg.metrics.pair_scores.PairScores.compute`.
        intervals: of the scores, see `coseg.metrics.bootstrap.score_intervals`.
        per_class: K numbers, nan for a class without a mask, as `PairScores.per_class` gives.
        baselines: of `coseg.metrics.baselines.BaselineScores.compute`.
        protocol: its name.
        void: ``background`` or ``ignored``.
        complete: whether all of the published split was tested.
        model: name of the model.
        checkpoint: where its weights are from, None for untrained ones.
        input_size: side to which the model resizes images, None for their own size.
        seconds: how long the test took.
        decision: of `coseg.metrics.decision.PairDecisions.block`, where there is something to report.
        predictions: the folder of the masks that were scored, where they are no network's.
        benchmark: see `TestPlan`.
        metrics: of the user, by their names, which stand beside the scores; ``metrics`` lists them.
        cosod: of `cosod_block`, where grey maps were scored.
    """
    return {
        "dataset": catalog.name,
        "split": catalog.split,
        "protocol": protocol,
        "void": void,
        "images": len(catalog),
        **_counted(records),
        "complete": complete,
        **{name: rounded(value) for name, value in scores.items()},
        **({name: rounded(value) for name, value in metrics.items()} | {"metrics": list(metrics)} if metrics else {}),
        "intervals": {name: [rounded(end) for end in ends] for name, ends in intervals.items()},
        "per_class": {name: rounded(value) for name, value in zip(catalog.class_names, per_class, strict=True)},
        **breakdowns(records),
        BASELINES: {name: rounded(value) for name, value in baselines.items()},
        **({"decision": {name: _rounded(value) for name, value in decision.items()}} if decision else {}),
        **({COSOD: cosod} if cosod else {}),
        "model": model,
        "checkpoint": checkpoint,
        **({"predictions": predictions} if predictions is not None else {}),
        **({"benchmark": benchmark} if benchmark is not None else {}),
        "input_size": input_size,
        "seconds": rounded(seconds),
    }


def cosod_block(catalog: Catalog, parts: Sequence[Part]) -> dict[str, Any] | None:
    """The scores of the grey maps in the parts of a test, by `CosodMeans`; None where there are none."""
    blocks = [part.metrics[COSOD] for part in parts if COSOD in part.metrics]
    if not blocks:
        return None
    keys = np.concatenate([block["keys"] for block in blocks])
    rows = np.concatenate([block["rows"] for block in blocks])
    groups: dict[str, list[MapScores]] = {}
    for k in np.lexsort((keys[:, 1], keys[:, 0])):
        groups.setdefault(catalog.class_names[keys[k, 0]], []).append(MapScores.from_row(rows[k]))
    means = cosod_means(groups)

    def block(scores: Mapping[str, float]) -> dict[str, float | None]:
        return {name: rounded(value) for name, value in scores.items()}

    return {
        "mean_of_images": block(means.mean_of_images),
        "mean_of_groups": block(means.mean_of_groups),
        "per_group": {name: {"images": len(groups[name]), **block(scores)} for name, scores in means.per_group.items()},
    }


def _rounded(value: SupportsFloat) -> float | None:
    return value if isinstance(value, int) else rounded(value)


def _counted(records: Sequence[Record]) -> dict[str, int]:
    groups = {record.group for record in records if isinstance(record, GroupRecord)}
    return {"pairs": 0, "groups": len(groups), "masks": len(records)} if groups else {"pairs": len(records)}


def breakdowns(records: Sequence[Record]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """``jaccard`` of parts of the masks, and how many there are: by the object's size, and with or without distractor.

    A small object covers less than 5 % of the image, a large one 20 % or more.
    """
    scores, shares, distractor = (
        record_column(records, name).ravel() for name in ("jaccards", "shares", "distractors")
    )
    small, large = SIZES
    sizes = {"small": shares < small, "medium": (shares >= small) & (shares < large), "large": shares >= large}
    parts = {"by_size": sizes, "by_distractor": {"without": distractor == 0, "with": distractor == 1}}
    has_truth = ~np.isnan(scores)
    return {
        name: {
            part: {"jaccard": rounded(scores[mask & has_truth].mean()) if (mask & has_truth).any() else None}
            | {"masks": int((mask & has_truth).sum())}
            for part, mask in masks.items()
        }
        for name, masks in parts.items()
    }
