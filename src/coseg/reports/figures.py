"""Figures of results: sheets of tested images laid out as in the paper, and bars of scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from coseg.errors import CosegError, unknown_choice
from coseg.files.writing import atomic_path
from coseg.imaging.draw import (
    BASELINE,
    INK,
    PAPER,
    PREDICTION,
    caption,
    caption_size,
    draw_line,
    fitted,
    letterboxed,
    tinted,
)
from coseg.reports.collect import Result, names, published_scores, titles
from coseg.reports.panels import PanelRow, PanelSide, in_twos
from coseg.reports.records import Record
from coseg.reports.tables import is_comparable

CHOICES = ("even", "best", "worst")
GAP, LINE, BETWEEN = 3, 18, 12
"""Pixels between tiles, for a line of text, and between pairs."""


def choose_records(records: Sequence[Record], count: int, how: str = "even") -> list[Record]:
    """At most `count` pairs, or images of groups, for a sheet, no image twice.

    Args:
        records: all of a test.
        count: how many.
        how: ``best``, ``worst``, or ``even``: class by class in turn, those nearest to the class's median score, so
            that a sheet shows typical results.

    Raises:
        CosegError: there is no such choice.
    """
    if how not in CHOICES:
        raise unknown_choice("--choose", how, CHOICES)
    scored = sorted((record for record in records if not math.isnan(record.mean)), key=lambda record: record.mean)
    if how == "even":
        classes = sorted({record.classes for record in scored}, key=lambda names: (len(names), names))
        queues = []
        for names_ in classes:
            members = [record for record in scored if record.classes == names_]
            middle = members[len(members) // 2].mean
            queues.append(sorted(members, key=partial(_distance, score=middle)))
        ordered = [queue[k] for k in range(max(map(len, queues), default=0)) for queue in queues if k < len(queue)]
    else:
        ordered = scored[::-1] if how == "best" else scored
    chosen: list[Record] = []
    used: set[int] = set()
    for record in ordered:
        if len(chosen) < count and not used & {*record.images}:
            chosen.append(record)
            used |= {*record.images}
    return chosen


def _distance(record: Record, score: float) -> float:
    return abs(record.mean - score)


def draw_sheet(
    rows: Sequence[PanelRow], captions: Sequence[str], across: int = 4, tile: int = 150
) -> NDArray[np.uint8]:
    """Inputs in odd columns, results in even ones, the two images of a pair above each other.

    Images of groups stand above each other as they come.

    Args:
        rows: of one or two images each, with predictions.
        captions: a short line for each.
        across: how many side by side.
        tile: side of a tile in pixels.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    if len(stacked := in_twos(rows)) < len(rows):
        captions = [" | ".join(captions[k : k + 2]) for k in range(0, len(rows), 2)]
    rows = stacked
    across = max(1, min(across, len(rows)))
    wide, high = 2 * tile + GAP, 2 * tile + GAP + LINE
    lines = -(-len(rows) // across)
    size = (across * (wide + BETWEEN) + BETWEEN, lines * (high + BETWEEN) + BETWEEN)
    picture = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(picture)
    for k, (row, text) in enumerate(zip(rows, captions, strict=True)):
        left, top = (BETWEEN + at * (length + BETWEEN) for at, length in ((k % across, wide), (k // across, high)))
        draw_line(draw, left, top + BASELINE, caption(draw, text, caption_size(tile), wide), INK)
        for line, side in enumerate(row):
            for column, pixels in enumerate(_tiles(side, tile)):
                place = (left + column * (tile + GAP), top + LINE + line * (tile + GAP))
                picture.paste(Image.fromarray(letterboxed(pixels, tile)), place)
    return np.asarray(picture)


def _tiles(side: PanelSide, tile: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Input and result."""
    assert side.prediction is not None
    image = fitted(side.image, tile)
    return image, tinted(image, fitted(side.prediction, tile), PREDICTION)


HATCHES = ("///", "...", "\\\\\\", "xxx", "ooo", "++")


def draw_bars(results: Sequence[Result], path: str | Path) -> None:
    """Bars of the classes, their mean and all masks, the last with its interval; published ones are hatched.

    Published bars are the groups of iCoseg, beside a test of these images; papers print their mean, which stands at the
    mean of ours and not at the mean over all masks.

    Args:
        results: tests of the same pairs by the same protocol.
        path: where the picture goes, as PNG.

    Raises:
        CosegError: there is no result, or they are of different tests.
    """
    tests = titles(results)
    if len(tests) != 1:
        raise CosegError(f"Bars need results of one test, and these are of {len(tests)}: {', '.join(tests.values())}.")
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ((test, title),) = tests.items()
    published = published_scores()
    classes = [name for name in results[0].values["per_class"] if _known(results, name)]
    comparable = (is_comparable(test, published.tests["icoseg"], protocol) for protocol in published.protocols)
    methods = [m for m in published.methods.values() if set(classes) == set(m.icoseg) - {"mean"}]
    printed = methods if any(comparable) else []
    bars = len(results) + len(printed)
    ticks = [*classes, "mean", "all masks"]
    places = np.arange(len(ticks)) + 0.4 * (np.arange(len(ticks)) >= len(classes))  # the two means stand apart
    width = 0.8 / bars
    size = (min(16.0, max(5.0, 0.14 * len(ticks) * (bars + 1) + 1.5)), 3.6 + 0.16 * -(-bars // 2))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for k, (label, result) in enumerate(zip(names(results), results, strict=True)):
        per_class = [result.values["per_class"].get(name) for name in classes]
        values = [*per_class, result.values["jaccard_class_mean"], result.values["jaccard"]]
        heights = [math.nan if value is None else 100 * value for value in values]
        place = places + (k - bars / 2 + 0.5) * width
        place[-1] = places[-1] + (k - len(results) / 2 + 0.5) * width  # papers print no such score
        axes.bar(place, heights, width, label=label)
        ends = result.values["intervals"].get("jaccard", [None, None])
        if None not in ends and not math.isnan(heights[-1]):
            low, high = (100 * end for end in ends)
            axes.vlines(place[-1], low, high, "0.1", lw=1.2)
    with rc_context({"hatch.linewidth": 0.6}):
        for k, method in enumerate(printed):
            heights = [*(method.icoseg[name] for name in (*classes, "mean")), math.nan]
            place = places + (len(results) + k - bars / 2 + 0.5) * width
            look: dict[str, Any] = {"hatch": HATCHES[k % len(HATCHES)], "facecolor": "1.0", "edgecolor": "0.35"}
            label = f"{method.title}, published"
            if method.protocol != "paper":
                label += f" ({published.protocols[method.protocol].title.split(',')[0]})"
            axes.bar(place, heights, width, label=label, linewidth=0.6, **look)
        axes.set_xticks(places, ticks, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_ylabel("Jaccard, %")
        axes.set_ylim(0, 100)
        axes.set_xlim(-0.6, places[-1] + 0.6)
        axes.set_title(title, fontsize=10)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=200, format="png")


def _known(results: Sequence[Result], name: str) -> bool:
    return any(result.values["per_class"].get(name) is not None for result in results)
