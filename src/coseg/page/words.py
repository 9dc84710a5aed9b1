"""What the page says, as HTML: names of files come from outside and are escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coseg.inference.segmenter import Cosegmentation

TITLE = "coseg"


def heading(model: str) -> str:
    """The top of the page."""
    return (
        "<h1>Cut out what photographs have in common</h1>"
        "<p>Drop two photographs or more, press the button, move the threshold, and take the result with you.</p>"
        f'<p class="quiet">Model: {escape(model)}. Photographs stay on the machine that serves this page, and are '
        "removed after half an hour.</p>"
    )


def verdict(result: Cosegmentation) -> str:
    """Whether the photographs share something."""
    count = len(result.segments)
    what = "This pair" if count == 2 else f"This group of {count}"
    if result.shares is None or math.isnan(result.common):
        kind, text = "unknown", "The model is not calibrated: it marks, but cannot say whether they share anything."
    elif result.shares:
        kind, text = "yes", "<b>They share something.</b>"
    else:
        kind, text = "no", "<b>They seem to share nothing.</b> The masks are a guess all the same."
    number = "" if math.isnan(result.common) else f" Likelihood of a common object: {result.common:.0%}."
    return f'<div class="verdict {kind}"><span>{what}</span> {text}{number}</div>'


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
