"""A ``results.json`` as `coseg-test` leaves it, with numbers that are easy to follow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coseg.metrics import COSOD_SCORES

VALUES: dict[str, Any] = {
    "dataset": "voc", "split": "test", "protocol": "paper", "void": "background", "images": 725, "pairs": 37700,
    "complete": True, "jaccard": 0.5, "jaccard_class_mean": 0.4, "jaccard_global": 0.625, "jaccard_distractor": None,
    "pixel_accuracy": 0.9, "intervals": {"jaccard": [0.4506, 0.55], "jaccard_distractor": [None, None]},
    "per_class": {"cat": 0.3, "dog": 0.5, "cow": None}, "baselines": {}, "model": "Net",
    "checkpoint": "/some/run/checkpoints/best.ckpt", "input_size": None, "seconds": 1.0,
}  # fmt: skip


def cosod(**changes: Any) -> dict[str, Any]:
    """Scores of grey maps: these as the mean over images, and 0.1 less as that over groups."""
    scores = {**dict.fromkeys(COSOD_SCORES, 0.5), **changes}
    less = {name: round(value - 0.1, 6) if isinstance(value, float) else value for name, value in scores.items()}
    return {"mean_of_images": scores, "mean_of_groups": less, "per_group": {}}


def write(folder: Path, **changes: Any) -> Path:
    """Write them, with these changes, to `folder`, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(VALUES | changes))
    return folder
