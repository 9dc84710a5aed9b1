"""Figures of results: sheets of pairs laid out as in the paper, and bars of scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from coseg.errors import CosegError, unknown_choice
from coseg.evaluation.drawing import INK, PAPER, PREDICTION, caption_font, fitted, letterboxed, shortened, tinted
from coseg.evaluation.panels import PanelRow, PanelSide
from coseg.evaluation.published import published_scores
from coseg.evaluation.report import Result, names, title
from coseg.evaluation.rows import PairRow
from coseg.files import atomic_path

CHOICES = ("even", "best", "worst")
GAP, LINE, BETWEEN = 3, 18, 12
"""Pixels between tiles, for a line of text, and between pairs."""


def choose_pairs(rows: Sequence[PairRow], count: int, how: str = "even") -> list[PairRow]:
    """At most `count` pairs for a sheet, no image twice.

    Args:
        rows: all pairs of a test.
        count: how many.
        how: ``best``, ``worst``, or ``even``: class by class in turn, those nearest to the class's middle score, so
            that a sheet shows what is usual.

    Raises:
        CosegError: there is no such choice.
    """
    if how not in CHOICES:
        raise unknown_choice("--choose", how, CHOICES)
    scored = sorted((row for row in rows if not math.isnan(row.mean)), key=lambda row: row.mean)
    if how == "even":
        classes = sorted({row.classes for row in scored}, key=lambda names: (len(names), names))
        queues = []
        for names_ in classes:
            members = [row for row in scored if row.classes == names_]
            middle = members[len(members) // 2].mean
            queues.append(sorted(members, key=lambda row, middle=middle: abs(row.mean - middle)))  # type: ignore[misc]
        ordered = [queue[k] for k in range(max(map(len, queues), default=0)) for queue in queues if k < len(queue)]
    else:
        ordered = scored[::-1] if how == "best" else scored
    chosen: list[PairRow] = []
    used: set[int] = set()
    for row in ordered:
        if len(chosen) < count and not used & {row.i, row.j}:
            chosen.append(row)
            used |= {row.i, row.j}
    return chosen


def draw_sheet(
    rows: Sequence[PanelRow], captions: Sequence[str], across: int = 4, tile: int = 150
) -> NDArray[np.uint8]:
    """Inputs in odd columns, results in even ones, the two images of a pair above each other.

    Args:
        rows: the pairs, with predictions.
        captions: a short line above each.
        across: pairs side by side.
        tile: side of a tile in pixels.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    across = max(1, min(across, len(rows)))
    wide, high = 2 * tile + GAP, 2 * tile + GAP + LINE
    lines = -(-len(rows) // across)
    size = (across * (wide + BETWEEN) + BETWEEN, lines * (high + BETWEEN) + BETWEEN)
    picture = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(picture)
    font = caption_font(tile)
    for k, (row, caption) in enumerate(zip(rows, captions, strict=True)):
        left, top = (BETWEEN + at * (length + BETWEEN) for at, length in ((k % across, wide), (k // across, high)))
        draw.text((left, top), shortened(draw, caption, wide, font), INK, font)
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


def draw_bars(results: Sequence[Result], path: str | Path) -> None:
    """Bars of the classes and of ``jaccard``, with its interval, of results of one test; printed ones are hatched.

    Args:
        results: tests of the same pairs by the same protocol.
        path: where the picture goes, as PNG.

    Raises:
        CosegError: there is no result, or they are of different tests.
    """
    tests = {title(result.values) for result in results}
    if len(tests) != 1:
        raise CosegError(f"Bars need results of one test, and these are of {len(tests)}: {', '.join(sorted(tests))}.")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    (test,) = tests
    classes = [name for name in results[0].values["per_class"] if _known(results, name)]
    printed = [m for m in published_scores().methods.values() if set(classes) == set(m.icoseg) - {"mean"}]
    bars = len(results) + len(printed)
    figure = Figure(figsize=(max(5.0, 0.25 * (len(classes) + 1) * (bars + 1) + 1.5), 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / bars
    places = np.arange(len(classes) + 1)
    for k, (name, result) in enumerate(zip(names(results), results, strict=True)):
        values = [result.values["per_class"].get(each) for each in classes] + [result.values["jaccard"]]
        heights = [math.nan if value is None else 100 * value for value in values]
        ends = result.values["intervals"].get("jaccard", [None, None])
        spans = np.full((2, len(heights)), np.nan)
        if None not in ends:
            spans[:, -1] = heights[-1] - 100 * ends[0], 100 * ends[1] - heights[-1]
        axes.bar(places + (k - bars / 2 + 0.5) * width, heights, width, label=name, yerr=spans, capsize=2)
    for k, method in enumerate(printed, start=len(results)):
        heights = [method.icoseg[each] for each in [*classes, "mean"]]
        label = f"{method.title}, printed"
        place = places + (k - bars / 2 + 0.5) * width
        axes.bar(place, heights, width, label=label, hatch="///", fill=False, edgecolor="0.4")
    axes.set_xticks(places, [*classes, "all masks"], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_ylabel("Jaccard, %")
    axes.set_ylim(0, 100)
    axes.set_title(test, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _known(results: Sequence[Result], name: str) -> bool:
    return any(result.values["per_class"].get(name) is not None for result in results)
