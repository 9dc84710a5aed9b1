"""The best job of a sweep as an experiment file that `coseg-train` runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from coseg.errors import CosegError
from coseg.sweeps.jobs import Sweep, SweepJob

NAME = "best"
"""Of the experiment."""

OWN = ("name", "runs", "resume", "check", "experiment", "ablation")
"""What a run sets for itself, and what chose a file."""

_UNCHOSEN = ("experiment", "experiment_model", "ablation")
"""Groups whose files change values of all others: the values in the file hold what they said."""


def experiment_text(sweep: Sweep, job: SweepJob, composed: DictConfig | None) -> str:
    """An experiment file that trains as `job` did: the files it chose, and every value it had.

    Args:
        sweep: of the job.
        job: a complete one.
        composed: what the job's overrides compose now, whose values refer to each other, so that ``dataset.root=…``
            beside the experiment still does what it says. Used where it is what the job had; None: could not be had.

    Raises:
        CosegError: its run directory does not tell.
    """
    path = job.folder / "environment.json"
    environments: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    if not environments or "choices" not in environments[0]:
        raise CosegError(f"{path} does not tell what the job was composed of: an earlier version made it.")
    defaults = [
        {f"override /{group}": _choice(chosen)}
        for group, chosen in environments[0]["choices"].items()
        if not group.startswith("hydra/") and group not in _UNCHOSEN and "@" not in group.removesuffix("@model.encoder")
    ]
    kept = _kept(OmegaConf.load(job.folder / "config.yaml"), False)
    if composed is not None and _kept(composed, True) == kept:
        kept = _kept(composed, False)
    head = [
        "# @package _global_",
        f"# Job {job.number} of the {sweep.kind} {sweep.folder.name}, the best of {len(sweep.jobs)}: "
        f"validation Jaccard {job.jaccard:.4f}.",
        f"# {' '.join(f'{key}={value}' for key, value in job.values.items())}",
    ]
    body = {"defaults": defaults, "name": f"{sweep.folder.name}_{NAME}", **kept}
    return "\n".join(head) + "\n" + yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=120)


def _kept(config: Any, resolve: bool) -> dict[str, Any]:
    values = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key not in OWN}


def _choice(chosen: Any) -> Any:
    return yaml.safe_load(chosen) if isinstance(chosen, str) and chosen.startswith("[") else chosen


def experiment_path(folder: Path) -> Path:
    """Where the file lies under `folder`, so that ``--config-dir`` finds it."""
    return folder / "experiment" / f"{NAME}.yaml"
