"""What a test leaves: the scores in ``results.json``, and a table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsFloat

from coseg.data.catalog import Catalog
from coseg.errors import CosegError
from coseg.evaluation.rows import GroupRow, Row, breakdowns, rounded
from coseg.files import write_text_atomically
from coseg.plain_data import read_json

DECISION_SCORES = ("decision_accuracy", "decision_auc", "foreground_auc", "false_foreground")
"""The scores of a decision on pairs; see `coseg.evaluation.decision.DecisionScores`."""

REFERENCE_NAMES = {
    "all_foreground": "all foreground",
    "constant": "best constant mask",
    "all_objects": "all objects",
    "all_objects_distractor": "all objects (distractor)",
}


def build_results(
    catalog: Catalog,
    rows: Sequence[Row],
    *,
    scores: Mapping[str, SupportsFloat],
    intervals: Mapping[str, tuple[float, float]],
    per_class: Iterable[SupportsFloat],
    references: Mapping[str, SupportsFloat],
    protocol: str,
    void: str,
    complete: bool,
    model: str,
    checkpoint: str | None,
    input_size: int | None,
    seconds: float,
    decision: Mapping[str, SupportsFloat] | None = None,
) -> dict[str, Any]:
    """What ``results.json`` holds.

    Args:
        catalog: the tested images; gives the names of data set, split and classes.
        rows: a row for each tested pair, or for each image of each tested group.
        scores: the five of `coseg.evaluation.metrics.PairScores.compute`.
        intervals: of the scores, see `coseg.evaluation.intervals.score_intervals`.
        per_class: K numbers, nan for a class without a mask, as `PairScores.per_class` gives.
        references: those of `coseg.evaluation.references.ReferenceScores.compute`.
        protocol: its name.
        void: ``background`` or ``ignored``.
        complete: whether all of the published split was tested.
        model: name of the model.
        checkpoint: where its weights are from, None for untrained ones.
        input_size: side to which the model resizes images, None for their own size.
        seconds: how long the test took.
        decision: of `coseg.evaluation.decided.PairDecisions.block`, where something was decided.
    """
    return {
        "dataset": catalog.name,
        "split": catalog.split,
        "protocol": protocol,
        "void": void,
        "images": len(catalog),
        **_counted(rows),
        "complete": complete,
        **{name: rounded(value) for name, value in scores.items()},
        "intervals": {name: [rounded(end) for end in ends] for name, ends in intervals.items()},
        "per_class": {name: rounded(value) for name, value in zip(catalog.class_names, per_class, strict=True)},
        **breakdowns(rows),
        "references": {name: rounded(value) for name, value in references.items()},
        **({"decision": {name: _rounded(value) for name, value in decision.items()}} if decision else {}),
        "model": model,
        "checkpoint": checkpoint,
        "input_size": input_size,
        "seconds": rounded(seconds),
    }


def _rounded(value: SupportsFloat) -> float | None:
    return value if isinstance(value, int) else rounded(value)


def _counted(rows: Sequence[Row]) -> dict[str, int]:
    groups = {row.group for row in rows if isinstance(row, GroupRow)}
    return {"pairs": 0, "groups": len(groups), "masks": len(rows)} if groups else {"pairs": len(rows)}


def tested_words(results: Mapping[str, Any]) -> str:
    """How much was tested: ``3012 pairs of 208 images``, or ``7 groups of 208 images``."""
    unit = "groups" if results.get("groups") else "pairs"
    return f"{results[unit]} {unit} of {results['images']} images"


def write_results(path: str | Path, results: Mapping[str, Any]) -> None:
    """Write ``results.json``."""
    write_text_atomically(path, json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_results(path: str | Path) -> dict[str, Any]:
    """Read what `write_results` wrote.

    Raises:
        CosegError: there is no such file, or it is not a JSON object.
    """
    path = Path(path)
    try:
        results: dict[str, Any] = read_json(path, "run the test again")
    except FileNotFoundError as error:
        raise CosegError(f"There is no {path}. Give the directory that a test wrote its results to.") from error
    if not isinstance(results, dict):
        raise CosegError(f"{path} is damaged (it holds no object of scores). Run the test again.")
    return results


def format_table(results: Mapping[str, Any]) -> str:
    """The results as aligned plain text: scores from 0 to 1 with three decimals, a dash where nothing counts."""
    scores = ("jaccard", "jaccard_class_mean", "jaccard_global", "jaccard_distractor", "pixel_accuracy")
    blocks = [
        ("score", "95 % interval", [(name, results[name], results["intervals"].get(name)) for name in scores]),
        ("reference", "", [(REFERENCE_NAMES.get(k, k), value, None) for k, value in results["references"].items()]),
        ("part of the masks", "", _parts(results)),
        ("decision", _decided_on(results), [(n, results["decision"][n], None) for n in _decisions(results)]),
        ("class", "", [(name, value, None) for name, value in results["per_class"].items() if value is not None]),
    ]
    width = max(len(label) for _, _, lines in blocks for label, _, _ in lines)
    size = results.get("input_size")
    model = f"{results['model']} at {size} x {size}" if size else results["model"]
    text = [
        f"{results['dataset']} {results['split']}: {tested_words(results)}"
        + ("" if results["complete"] else " (incomplete: not all of the published split)"),
        f"protocol {results['protocol']}, void {results['void']}",
        f"model {model}, weights {results['checkpoint'] or 'untrained'}, {results['seconds']:.1f} s",
    ]
    for head, note, lines in blocks:
        if not lines:
            continue
        text += ["", f"{head:<{width}}  {'value':>5}  {note}".rstrip()]
        for label, value, ends in lines:
            row = f"{label:<{width}}  {_three(value):>5}"
            text.append(row if not ends or None in ends else f"{row}  {_three(ends[0])} to {_three(ends[1])}")
    return "\n".join(text)


def _parts(results: Mapping[str, Any]) -> list[tuple[str, float | None, None]]:
    names = {"by_size": "{} object", "by_distractor": "{} distractor"}
    return [
        (f"{names[key].format(part)} ({found['masks']})", found["jaccard"], None)
        for key in names
        for part, found in results.get(key, {}).items()
        if found["masks"]
    ]


def _decisions(results: Mapping[str, Any]) -> list[str]:
    """The scores of the decision that there are."""
    return [name for name in DECISION_SCORES if results.get("decision", {}).get(name) is not None]


def _decided_on(results: Mapping[str, Any]) -> str:
    found = results.get("decision", {"positives": 0, "negatives": 0})
    return f"{found['positives']} pairs with a common object, {found['negatives']} without"


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
