"""A picture of a sweep: for each parameter its values against the Jaccard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coseg.files import atomic_path
from coseg.sweeps.jobs import Sweep, SweepJob
from coseg.sweeps.report import number, short

COLOURS = {"complete": "#1f77b4", "pruned": "#d9580d"}
COLUMNS = 3


def draw_parameters(sweep: Sweep, png: str | Path) -> bool:
    """Draw the best validation Jaccard of each job against each of its values; the best job is ringed.

    Numbers that span more than a factor of 20 are on a logarithmic axis. Failed jobs have no point.

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
        places = {text: found for text, found in values.items() if found is not None}
        low, high = min(places.values()), max(places.values())
        if low > 0 and high > 20 * low:
            axes.set_xscale("log")
    for state, colour in COLOURS.items():
        found = [job for job in jobs if job.state == state]
        if found:
            axes.scatter(
                [places[job.values[key]] for job in found], [job.jaccard for job in found], 22, colour, label=state
            )
    for job in best:
        if key in job.values:
            axes.scatter(
                [places[job.values[key]]], [job.jaccard], 90, facecolors="none", edgecolors="black", label="best"
            )
