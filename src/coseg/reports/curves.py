"""A picture of a training run: loss and Jaccard against the step."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from coseg.errors import CosegError
from coseg.files.plain_data import MAX_METRICS_BYTES, read_text
from coseg.files.writing import atomic_path

LOSSES = ("train/loss", "val/loss")
JACCARDS = ("val/jaccard", "val/jaccard_distractor")

Series = dict[str, list[tuple[float, float]]]
"""For each column the (step, value) points, in the order of the steps."""


def plot_curves(metrics_csv: str | Path, png: str | Path) -> None:
    """Draw ``train/loss`` and ``val/loss``, and ``val/jaccard`` and ``val/jaccard_distractor``, against ``step``.

    Columns that the table lacks are left out. Without any of them no picture is written: a run may stop before its
    first line.

    Args:
        metrics_csv: the table of Lightning's `CSVLogger`, most of whose cells are empty.
        png: where the picture goes.
    """
    series = read_series(metrics_csv)
    plots = [
        (title, chosen) for title, names in (("loss", LOSSES), ("Jaccard", JACCARDS)) if (chosen := _of(series, names))
    ]
    if not plots:
        return
    # The object interface: no window system, and no global state that another thread may be drawing with.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(plots), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for position, (title, chosen) in enumerate(plots, start=1):
        axes = figure.add_subplot(1, len(plots), position)
        for colour, (name, points) in zip(("#1f77b4", "#d9580d"), chosen.items(), strict=False):
            steps, values = zip(*points, strict=True)
            if name == "train/loss" and len(points) >= 2 * WINDOW:
                axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
                axes.plot(steps, running_mean(values), color=colour, label=f"{name}, mean of {WINDOW}")
            else:
                axes.plot(steps, values, color=colour, marker="o", markersize=3, label=name)
        axes.set(title=title, xlabel="step")
        if title == "Jaccard":
            axes.set_ylim(0, 1)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    with atomic_path(png) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


WINDOW = 10
"""Points of the running mean of the training loss."""


def running_mean(values: Sequence[float]) -> list[float]:
    """The mean of each value and the up to ``WINDOW - 1`` before it."""
    return [sum(part) / len(part) for k in range(len(values)) if (part := values[max(0, k - WINDOW + 1) : k + 1])]


def read_series(metrics_csv: str | Path) -> Series:
    """The points of each column; cells that are empty or nan are skipped. No file, no points.

    Raises:
        CosegError: the file is not a table.
    """
    path = Path(metrics_csv)
    series: Series = {}
    try:
        text = read_text(path, "take it from a copy, or remove it", MAX_METRICS_BYTES)
        for row in csv.DictReader(io.StringIO(text, newline="")):
            step = _number(row.get("step"))
            for name, cell in row.items():
                value = _number(cell)
                if step is not None and value is not None:
                    series.setdefault(name, []).append((step, value))
    except FileNotFoundError:
        return series
    except csv.Error as error:
        raise CosegError(f"{path} is damaged ({error}): take it from a copy, or remove it.") from None
    return {name: sorted(points) for name, points in series.items()}


def _of(series: Series, names: Sequence[str]) -> Series:
    return {name: series[name] for name in names if name in series}


def _number(cell: object) -> float | None:
    """The cell as a number; None where it is empty, nan, or cut short by a run that was killed."""
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return value if value == value else None
