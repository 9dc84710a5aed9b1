"""What the page says, as HTML: names of files come from outside and are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from coseg.inference.scores import common_sentence

if TYPE_CHECKING:
    from coseg.inference.commonness import Calibration
    from coseg.inference.segment import Cosegmentation
    from coseg.inference.segmenter import CoSegmenter

TITLE = "coseg"


def heading(segmenter: CoSegmenter, model: str) -> str:
    """The top of the page; `model` is where the network came from."""
    size = "" if segmenter.size is None else f" at {segmenter.size} pixels"
    return (
        "<h1>Cut out what photographs have in common</h1>"
        "<p>Drop two photographs or more, press the button, move the threshold, and take the result with you.</p>"
        f'<p class="quiet">Model: {escape(model)}{size} on {segmenter.device}. Photographs stay on the machine that '
        "serves this page, and are removed after half an hour.</p>"
    )


def verdict(result: Cosegmentation, calibration: Calibration | None) -> str:
    """Whether the photographs share something, and how far to trust that."""
    kind = {True: "yes", False: "no", None: "unknown"}[result.shares]
    what = "A pair" if len(result) == 2 else f"A group of {len(result)}"
    return f'<div class="verdict {kind}"><span>{what}</span> {escape(common_sentence(result, calibration))}</div>'


def notice(sentences: Sequence[str]) -> str:
    """What went wrong and what was left out; empty for nothing."""
    if not sentences:
        return ""
    return '<div class="notice" role="alert">' + "".join(f"<p>{escape(each)}</p>" for each in sentences) + "</div>"


def matched(name_a: str, name_b: str, low: float, high: float) -> str:
    """What the heat map shows."""
    return (
        f'<p class="said"><b>What matched.</b> How alike each place of <b>{escape(name_b)}</b> is to the point of '
        f"<b>{escape(name_a)}</b>: cosine similarity of their features, {low:.2f} (blue) to {high:.2f} (red).</p>"
    )


WELCOME = '<div class="verdict">The results will be here.</div>'
ASK_FOR_A_POINT = (
    '<p class="said"><b>What matched.</b> Click a point of A, and see which places of B the network finds alike.</p>'
)
NO_PHOTOGRAPHS = '<p class="quiet">No photographs at hand? Try drawn shapes:</p>'
