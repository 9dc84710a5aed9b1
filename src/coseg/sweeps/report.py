"""A sweep as tables, pictures of its parameters, and its best configuration as an experiment."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from coseg.errors import CosegError
from coseg.files.plain_data import read_json
from coseg.files.writing import atomic_path
from coseg.reports.tables import NONE, Table
from coseg.run_dir import CONFIG, ENVIRONMENT
from coseg.sweeps.jobs import DAMAGED, Sweep, SweepJob
from coseg.training.run import run_config

DISTINCT = 8
"""Up to this number of different values, each value of a numeric parameter has a line."""

GROUPS = 3
"""More values are put into this number of groups of equal size."""

COLOURS = {"complete": "#1f77b4", "pruned": "#d9580d"}
"""State of a job to the colour of its point."""

COLUMNS = 3
"""Largest number of plots side by side."""


def jobs_table(sweep: Sweep) -> Table:
    """A line for each job: complete ones by their Jaccard, then pruned, stopped and failed ones."""
    order = ["complete", "pruned"]

    def key(job: SweepJob) -> tuple[int, float, int]:
        rank = order.index(job.state) if job.state in order else len(order) + (job.state in ("failed", DAMAGED))
        return rank, -job.jaccard if not math.isnan(job.jaccard) else 0.0, job.number

    rows = [
        [
            str(job.number),
            job.state,
            *(short(job.values.get(key, NONE)) for key in sweep.keys),
            _score(job.jaccard),
            str(job.validations),
            NONE if math.isnan(job.seconds) else f"{job.seconds:.0f}",
        ]
        for job in sorted(sweep.jobs, key=key)
    ]
    states = [job.state for job in sweep.jobs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    notes = [f"{len(states)} jobs: {counts}. The Jaccard is that of the best validation, in per cent."]
    notes += [f"Job {job.number} failed: {job.error}" for job in sweep.jobs if job.state == "failed"]
    notes += [f"Job {job.number} is damaged: {job.error}" for job in sweep.jobs if job.state == DAMAGED]
    return Table(["job", "state", *sweep.keys, "val/jaccard", "validations", "s"], [("", rows)], notes)


def values_table(sweep: Sweep) -> Table:
    """A line for each value of each parameter: the number of complete jobs with it, their mean and best Jaccard.

    Words are sorted by their mean, numbers by their value; see `DISTINCT` and `GROUPS`.
    """
    rows = []
    complete = sweep.ranked()
    for key in sweep.keys:
        having = [job for job in complete if key in job.values]
        for name, jobs in _grouped(key, having):
            scores = [job.jaccard for job in jobs]
            rows.append([key, name, str(len(jobs)), _score(mean(scores)), _score(max(scores))])
    notes = ["Complete jobs only."]
    if len(sweep.keys) > 1:
        notes = ["Complete jobs only, whose other values also differ: a hint, not a controlled experiment."]
    return Table(["parameter", "value", "jobs", "mean", "best"], [("", rows)], notes)


def _grouped(key: str, jobs: Sequence[SweepJob]) -> list[tuple[str, list[SweepJob]]]:
    numbers = {job.values[key]: number(job.values[key]) for job in jobs}
    known = [value for value in numbers.values() if value is not None]
    if len(known) < len(numbers):
        parts = {text: [job for job in jobs if job.values[key] == text] for text in numbers}
        best = sorted(parts, key=lambda text: -mean(job.jaccard for job in parts[text]))
        return [(short(text), parts[text]) for text in best]
    if len(numbers) <= DISTINCT:
        order = sorted(numbers, key=lambda text: numbers[text] or 0.0)
        return [(short(text), [job for job in jobs if job.values[key] == text]) for text in order]
    ordered = sorted(jobs, key=lambda job: float(job.values[key]))
    ends = [round(k * len(ordered) / GROUPS) for k in range(GROUPS + 1)]
    thirds = [ordered[low:high] for low, high in pairwise(ends)]
    return [(f"{short(part[0].values[key])} to {short(part[-1].values[key])}", part) for part in thirds if part]


def number(text: str) -> float | None:
    """The value as a number, if it is one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def short(text: str) -> str:
    """A value for a table: a long number with three digits."""
    value = number(text)
    return f"{value:.3g}" if value is not None and len(text) > 6 else text


def _score(value: float) -> str:
    return NONE if math.isnan(value) else f"{100 * value:.1f}"


def draw_parameters(sweep: Sweep, png: str | Path) -> bool:
    """Draw the best validation Jaccard of each job against each of its values. A ring is around the best job.

    The axis is logarithmic for numbers whose range is more than a factor of 20. Failed jobs have no point.

    Returns:
        Whether there was anything to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [job for job in sweep.jobs if job.state in COLOURS and not math.isnan(job.jaccard)]
    keys = [key for key in sweep.keys if any(key in job.values for job in shown)]
    if not keys:
        return False
    columns = min(COLUMNS, len(keys))
    rows = math.ceil(len(keys) / columns)
    figure = Figure(figsize=(3.6 * columns, 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    best = sweep.ranked()[:1]
    for position, key in enumerate(keys, 1):
        axes = figure.add_subplot(rows, columns, position)
        _draw(axes, key, shown, best)
        axes.set_xlabel(key)
        if (position - 1) % columns == 0:
            axes.set_ylabel("validation Jaccard")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
    with atomic_path(png) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    return True


def _draw(axes: Any, key: str, jobs: Sequence[SweepJob], best: Sequence[SweepJob]) -> None:
    jobs = [job for job in jobs if key in job.values]
    values = {job.values[key]: number(job.values[key]) for job in jobs}
    if None in values.values():
        names = sorted(values)
        places: dict[str, float] = {name: float(k) for k, name in enumerate(names)}
        axes.set_xticks(range(len(names)), [short(name) for name in names])
        axes.set_xlim(-0.5, len(names) - 0.5)
        if max(map(len, names)) * len(names) > 30:
            axes.tick_params(axis="x", labelrotation=25)
    else:
        places = {text: value for text, value in values.items() if value is not None}
        low, high = min(places.values()), max(places.values())
        if low > 0 and high > 20 * low:
            axes.set_xscale("log")
    for state, colour in COLOURS.items():
        shown = [job for job in jobs if job.state == state]
        if shown:
            axes.scatter(
                [places[job.values[key]] for job in shown], [job.jaccard for job in shown], 22, colour, label=state
            )
    for job in best:
        if key in job.values:
            axes.scatter(
                [places[job.values[key]]], [job.jaccard], 90, facecolors="none", edgecolors="black", label="best"
            )


NAME = "best"
"""The name of the experiment."""

SET_BY_RUN = ("name", "runs", "resume", "check", "experiment", "ablation")
"""Keys that each run sets, and those that choose files: they are not part of the experiment."""

_CROSS_GROUP = ("experiment", "recipe", "encoder_weights@model.encoder", "ablation")
"""Groups whose files set values of other groups: the experiment holds these values, so it does not choose the files."""


def experiment_text(sweep: Sweep, job: SweepJob, composed: DictConfig | None, trust: bool = False) -> str:
    """The text of an experiment file that trains as `job` did, with the files that it chose and all of its values.

    Args:
        sweep: the sweep of the job.
        job: a complete one.
        composed: the configuration that the overrides of the job give now. Its values refer to each other, so that
            ``dataset.root=…`` beside the experiment works. It is used where its values are those of the job; None:
            the overrides no longer compose.
        trust: the job may name classes outside of coseg, torch, lightning and albumentations.

    Raises:
        CosegError: its run directory lacks the choices, is damaged, or names such classes.
    """
    path = job.folder / ENVIRONMENT
    advice = "take the folder from a copy"
    environments = read_json(path, advice, verbatim=True) if path.exists() else []
    first = environments[0] if isinstance(environments, list) and environments else {}
    if not isinstance(first, dict) or not isinstance(first.get("choices"), dict):
        raise CosegError(f"{path} does not hold the configuration files of the job: an earlier version made it.")
    defaults = [
        {f"override /{group}": _choice(chosen)}
        for group, chosen in first["choices"].items()
        if not group.startswith("hydra/")
        and group.partition("/")[0] not in _CROSS_GROUP
        and "@" not in group.removesuffix("@model.encoder")
    ]
    kept = _kept(run_config(job.folder / CONFIG, advice, trust), False)
    if composed is not None and _kept(composed, True) == kept:
        kept = _kept(composed, False)
    head = [
        "# @package _global_",
        f"# Job {job.number} of the {sweep.source} {sweep.folder.name}, the best of {len(sweep.jobs)}: "
        f"validation Jaccard {job.jaccard:.4f}.",
        f"# {' '.join(f'{key}={value}' for key, value in job.values.items())}",
    ]
    body = {"defaults": defaults, "name": f"{sweep.folder.name}_{NAME}", **kept}
    return "\n".join(head) + "\n" + yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=120)


def _kept(config: Any, resolve: bool) -> dict[str, Any]:
    values = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key not in SET_BY_RUN}


def _choice(chosen: Any) -> Any:
    """The name of a file of a group, or a list of names, as Hydra records them.

    Raises:
        CosegError: it is no such name.
    """
    names = chosen.strip("[]").split(",") if isinstance(chosen, str) and chosen.startswith("[") else chosen
    for name in names if isinstance(names, list) else [names]:
        if name is not None and not re.fullmatch(r"[\w.+-]+(/[\w.+-]+)*", str(name).strip()):
            raise CosegError(f"{str(name)[:80]!r} is no file of a configuration group: the run's folder is damaged.")
    return [str(name).strip() for name in names] if isinstance(names, list) else names


def experiment_path(folder: Path) -> Path:
    """The path of the file below `folder`, where ``--config-dir`` looks for it."""
    return folder / "experiment" / f"{NAME}.yaml"
