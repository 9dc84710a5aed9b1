"""The best job of a sweep as an experiment file that `coseg-train` runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from coseg.errors import CosegError
from coseg.plain_data import read_json
from coseg.sweeps.jobs import Sweep, SweepJob
from coseg.training.run import run_config

NAME = "best"
"""Of the experiment."""

OWN = ("name", "runs", "resume", "check", "experiment", "ablation")
"""What a run sets for itself, and what chose a file."""

_UNCHOSEN = ("experiment", "experiment_model", "ablation")
"""Groups whose files change values of all others: the values in the file hold what they said."""


def experiment_text(sweep: Sweep, job: SweepJob, composed: DictConfig | None, trust: bool = False) -> str:
    """An experiment file that trains as `job` did: the files it chose, and every value it had.

    Args:
        sweep: of the job.
        job: a complete one.
        composed: what the job's overrides compose now, whose values refer to each other, so that ``dataset.root=…``
            beside the experiment still does what it says. Used where it is what the job had; None: could not be had.
        trust: the job may name classes outside of coseg, torch, lightning and albumentations.

    Raises:
        CosegError: its run directory does not tell, is damaged, or names such classes.
    """
    path = job.folder / "environment.json"
    advice = "take the folder from a copy"
    environments = read_json(path, advice, verbatim=True) if path.exists() else []
    first = environments[0] if isinstance(environments, list) and environments else {}
    if not isinstance(first, dict) or not isinstance(first.get("choices"), dict):
        raise CosegError(f"{path} does not tell what the job was composed of: an earlier version made it.")
    defaults = [
        {f"override /{group}": _choice(chosen)}
        for group, chosen in first["choices"].items()
        if not group.startswith("hydra/") and group not in _UNCHOSEN and "@" not in group.removesuffix("@model.encoder")
    ]
    kept = _kept(run_config(job.folder / "config.yaml", advice, trust), False)
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
    """A file of a group, or a list of such, as Hydra records it.

    Raises:
        CosegError: it is none.
    """
    names = chosen.strip("[]").split(",") if isinstance(chosen, str) and chosen.startswith("[") else chosen
    for name in names if isinstance(names, list) else [names]:
        if name is not None and not re.fullmatch(r"[\w.+-]+(/[\w.+-]+)*", str(name).strip()):
            raise CosegError(f"{str(name)[:80]!r} is no file of a configuration group: the run's folder is damaged.")
    return [str(name).strip() for name in names] if isinstance(names, list) else names


def experiment_path(folder: Path) -> Path:
    """Where the file lies under `folder`, so that ``--config-dir`` finds it."""
    return folder / "experiment" / f"{NAME}.yaml"
