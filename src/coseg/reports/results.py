"""``results.json``: written and read with checksums of itself and of the tables beside it; a table for the terminal."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsFloat

from coseg.errors import CosegError
from coseg.files.plain_data import MAX_TABLE_BYTES, read_bytes, read_json
from coseg.files.writing import write_text_atomically
from coseg.metrics import COSOD_MEANS, DECISION_SCORES, SCORES
from coseg.run_dir import COMPRESSED, DECISIONS, MASKS, PAIRS

DIGITS = 6
"""Decimals of all numbers in the files of a test."""

BASELINES, EARLIER_BASELINES = "baselines", "references"
"""The key of the baselines in ``results.json``, and that of earlier versions, which `read_results` renames."""

COSOD = "cosod"
"""The key of the scores of grey maps, a block by the names of `coseg.metrics.cosod.CosodMeans`."""

CHECKSUM, TABLES = "checksum", "tables"
"""Keys in ``results.json``: the SHA-256 of its other values; that of each table, by its name."""

RESULT_KEYS = (
    "dataset", "split", "protocol", "void", "images", "pairs", "groups", "masks", "complete", "intervals", "per_class",
    "by_size", "by_distractor", BASELINES, EARLIER_BASELINES, "decision", "metrics", COSOD, "model", "checkpoint",
    "predictions", "benchmark", "input_size", "seconds", TABLES, CHECKSUM,
)  # fmt: skip
"""Keys of ``results.json`` beside the scores, which no metric of a user may have as its name."""

BASELINE_NAMES = {
    "all_foreground": "all foreground",
    "constant": "best constant mask",
    "all_objects": "all objects",
    "all_objects_distractor": "all objects (distractor)",
}

NAMES = (PAIRS, MASKS, DECISIONS)
"""The tables that a test may leave. A compressed one has the checksum of its content."""


def rounded(value: SupportsFloat) -> float | None:
    """A number as the files have it; None where it is not finite."""
    number = float(value)
    return round(number, DIGITS) if math.isfinite(number) else None


def tested_words(results: Mapping[str, Any]) -> str:
    """How much was tested: ``3012 pairs of 208 images``, or ``7 groups of 208 images``."""
    unit = "groups" if results.get("groups") else "pairs"
    listed = f", list {str(results['benchmark'])[:8]}" if results.get("benchmark") else ""
    return f"{results[unit]} {unit} of {results['images']} images{listed}"


def write_results(path: str | Path, results: Mapping[str, Any]) -> None:
    """Write ``results.json``, with checksums of it and of the tables beside it, which must be written first."""
    complete = with_checksums(results, Path(path).parent)
    write_text_atomically(path, json.dumps(complete, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_results(path: str | Path) -> dict[str, Any]:
    """Read what `write_results` wrote, or what an earlier version did, in today's keys.

    Raises:
        CosegError: there is no such file, or it is not a JSON object; it or a table beside it has changed.
    """
    path = Path(path)
    try:
        results: dict[str, Any] = read_json(path, "run the test again")
    except FileNotFoundError as error:
        raise CosegError(f"There is no {path}. Give the directory that a test wrote its results to.") from error
    if not isinstance(results, dict):
        raise CosegError(f"{path} is damaged (it holds no object of scores). Run the test again.")
    renamed = {EARLIER_BASELINES: BASELINES}
    return {renamed.get(key, key): value for key, value in without_checksums(results, path).items()}


def format_table(results: Mapping[str, Any]) -> str:
    """The results as aligned plain text: scores from 0 to 1 with three decimals, a dash where nothing counts."""
    scores = [(name, results[name], results["intervals"].get(name)) for name in SCORES]
    scores += [(name, results[name], None) for name in results.get("metrics", ())]
    blocks = [
        ("score", "95 % interval", scores),
        *((f"grey maps, {mean.replace('_', ' ')}", "", _grey(results, mean)) for mean in COSOD_MEANS),
        ("baseline", "", [(BASELINE_NAMES.get(k, k), value, None) for k, value in results[BASELINES].items()]),
        ("part of the masks", "", _parts(results)),
        ("decision", _decided_pairs(results), [(n, results["decision"][n], None) for n in _decisions(results)]),
        ("class", "", [(name, value, None) for name, value in results["per_class"].items() if value is not None]),
    ]
    width = max(len(label) for _, _, lines in blocks for label, _, _ in lines)
    size = results.get("input_size")
    model = f"{results['model']} at {size} x {size}" if size else results["model"]
    text = [
        f"{results['dataset']} {results['split']}: {tested_words(results)}"
        + ("" if results["complete"] else " (incomplete: not all of the published split)"),
        f"protocol {results['protocol']}, void {results['void']}",
        f"model {model}, {_origin(results)}, {results['seconds']:.1f} s",
    ]
    for head, note, lines in blocks:
        if not lines:
            continue
        text += ["", f"{head:<{width}}  {'value':>5}  {note}".rstrip()]
        for label, value, ends in lines:
            line = f"{label:<{width}}  {_three(value):>5}"
            text.append(line if not ends or None in ends else f"{line}  {_three(ends[0])} to {_three(ends[1])}")
    return "\n".join(text)


def _origin(results: Mapping[str, Any]) -> str:
    """Where the masks are from."""
    if results.get("predictions"):
        return f"masks in {results['predictions']}"
    return f"weights {results['checkpoint'] or 'untrained'}"


def _parts(results: Mapping[str, Any]) -> list[tuple[str, float | None, None]]:
    names = {"by_size": "{} object", "by_distractor": "{} distractor"}
    return [
        (f"{names[key].format(part)} ({values['masks']})", values["jaccard"], None)
        for key in names
        for part, values in results.get(key, {}).items()
        if values["masks"]
    ]


def _grey(results: Mapping[str, Any], mean: str) -> list[tuple[str, float | None, None]]:
    return [(name, value, None) for name, value in results.get(COSOD, {}).get(mean, {}).items()]


def _decisions(results: Mapping[str, Any]) -> list[str]:
    """The scores of the image-level decision that have a value."""
    return [name for name in DECISION_SCORES if results.get("decision", {}).get(name) is not None]


def _decided_pairs(results: Mapping[str, Any]) -> str:
    decision = results.get("decision", {"positives": 0, "negatives": 0})
    return f"{decision['positives']} pairs with a common object, {decision['negatives']} without"


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def with_checksums(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`values` with the checksums of the tables in `folder`, and their own."""
    tables = {name: _digest(data) for name in NAMES if (data := _content(folder, name)) is not None}
    complete = {**values, **({TABLES: tables} if tables else {})}
    return {**complete, CHECKSUM: digest_of(complete)}


def without_checksums(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What `with_checksums` was given, if neither the values nor a table that still exists have changed.

    Values without checksums, of an earlier version, are as they are.

    Args:
        values: of a file.
        path: of the file.

    Raises:
        CosegError: something has changed; the file is named.
    """
    rest = {key: value for key, value in values.items() if key != CHECKSUM}
    if CHECKSUM not in values and TABLES not in values:
        return rest
    if values.get(CHECKSUM) != digest_of(rest):
        raise changed(path)
    tables = rest.pop(TABLES, {})
    if not isinstance(tables, dict) or not set(tables) <= set(NAMES):  # no other file is opened, whatever the name
        raise changed(path)
    for name, digest in tables.items():
        data = _content(path.parent, name)
        if data is not None and _digest(data) != digest:
            raise changed(_place(path.parent, name))
    return rest


def digest_of(values: Any) -> str:
    """The SHA-256 of values that JSON can hold, however they are laid out in a file."""
    return _digest(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())


def changed(path: Path) -> CosegError:
    """The error for a file that is not as a test left it."""
    return CosegError(f"{path} is damaged: it is not as the test left it (its checksum differs). Run the test again.")


def _content(folder: Path, name: str) -> bytes | None:
    path = _place(folder, name)
    if not path.exists():
        return None
    return read_bytes(path, "run the test again", MAX_TABLE_BYTES, gzipped=path.suffix == COMPRESSED)


def _place(folder: Path, name: str) -> Path:
    path = folder / name
    return path if path.exists() else folder / (name + COMPRESSED)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
