"""Show an object on the page: clicks on a photograph become exemplars, and all photographs are searched for them."""

from __future__ import annotations

import math
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from coseg.errors import CosegError
from coseg.inference.cosegmentation import Cosegmentation, percent
from coseg.inference.exemplar import can_search
from coseg.page.results import OnProgress, PageResult, Showing, Shown, step

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter

MOST_EXEMPLARS = 10
"""Of a visitor: each click is searched for together with all before it."""

POINT, RECTANGLE = "A point on it", "A rectangle around it"
TOOLS = (POINT, RECTANGLE)
"""What clicks on a photograph give; a rectangle takes two, at opposite corners."""

_NARROWEST = 0.01
"""Of the sides of a rectangle, as share of the photograph's."""

_CANNOT = (
    "This model cannot search for an object that you show (the bundled model can). A click shows under "
    "<b>What matched</b> what is similar to that point."
)


def choose(result: PageResult, photograph: int) -> PageResult:
    """The result with another photograph to click in."""
    return replace(result, showing=replace(result.showing, photograph=photograph, corner=None))


def click(
    segmenter: CoSegmenter, result: PageResult, x: float, y: float, tool: str, progress: OnProgress | None = None
) -> PageResult:
    """The result after a click in the chosen photograph.

    Args:
        segmenter: of the photographs.
        result: before the click.
        x: of the click, in pixels of the picture of `PageResult.chosen_size`, from its left edge.
        y: from its top edge.
        tool: one of `TOOLS`. Of a rectangle the first click is kept, and the second completes it.
        progress: called before each photograph is searched.

    Raises:
        CosegError: the click is outside of the photograph; the rectangle is too small; there are too many exemplars.
    """
    showing = result.showing
    place: tuple[float, ...] = _place(result, x, y)
    if tool == RECTANGLE and can_search(segmenter.network):
        if showing.corner is None:
            return replace(result, showing=replace(showing, corner=place))
        place = _between(showing.corner, place)
    if len(showing.exemplars) >= MOST_EXEMPLARS:
        raise CosegError(f"The page takes {MOST_EXEMPLARS} clicks on an object: take one back for another.")
    return _search(segmenter, result, (*showing.exemplars, Shown(showing.photograph, place)), progress)


def take_back(
    segmenter: CoSegmenter, result: PageResult, everything: bool, progress: OnProgress | None = None
) -> PageResult:
    """The result without the last exemplar, or a first corner that was clicked after it; or without any."""
    showing = result.showing
    if showing.corner is not None and not everything:
        return replace(result, showing=replace(showing, corner=None))
    return _search(segmenter, result, () if everything else showing.exemplars[:-1], progress)


def instructions(segmenter: CoSegmenter, result: PageResult | None) -> str:
    """What has been shown, and what a click does, as HTML."""
    if not can_search(segmenter.network):
        return f'<p class="shown">{_CANNOT}</p>'
    if result is None or not (result.showing.exemplars or result.showing.corner):
        return (
            '<p class="shown">Choose a photograph and click on an object in it. All photographs are then searched for '
            "<b>that</b> object.</p>"
        )
    showing = result.showing
    lines = []
    for number, shown in enumerate(showing.exemplars, start=1):
        share = "" if shown.region is None else percent(float(shown.region.mean()))
        taken = f", taken for the coloured {share} of the picture" if share else ""
        sort = "a rectangle" if len(shown.place) == 4 else "a point"
        lines.append(f"<li>{number}. {sort} in <b>{escape(result.names[shown.photograph])}</b>{taken}</li>")
    following = "Click again, here or in another photograph, to show more of it."
    if showing.corner:
        following = "Now click the opposite corner."
    return f'<div class="shown"><ul>{"".join(lines)}</ul><p>{following}</p></div>'


def _search(
    segmenter: CoSegmenter, result: PageResult, exemplars: tuple[Shown, ...], progress: OnProgress | None
) -> PageResult:
    """All photographs searched for what these exemplars show; for none, the result of what they have in common."""
    showing = Showing(result.showing.photograph)
    if not exemplars:
        return replace(result, showing=showing)
    responses = _responses(segmenter, result, exemplars[-1])
    if not can_search(segmenter.network):
        return replace(result, showing=replace(showing, exemplars=exemplars[-1:], responses=responses))
    search = segmenter.exemplar([(result.encoded[shown.photograph], _in_pixels(result, shown)) for shown in exemplars])
    regions = zip(exemplars, search.regions, strict=True)
    exemplars = tuple(shown._replace(region=_fitted(region, result, shown)) for shown, region in regions)
    segments = []
    for k, image in enumerate(result.encoded):
        step(progress, "Searching", k, result.names)
        segments.append(replace(search.segment_encoded(image), name=result.names[k]))
    by_exemplars = Cosegmentation(tuple(segments), input_size=segmenter.size, exemplars=len(exemplars))
    showing = replace(showing, exemplars=exemplars, cosegmentation=by_exemplars, responses=responses)
    return replace(result, showing=showing)


def _responses(segmenter: CoSegmenter, result: PageResult, shown: Shown) -> tuple[NDArray[np.float32], ...]:
    """How similar every photograph is to the point of an exemplar, or to the middle of its rectangle."""
    x, y, width, height = (*shown.place, 0.0, 0.0)[:4]
    shown_in = result.encoded[shown.photograph]
    return tuple(segmenter.response(shown_in, image, y + height / 2, x + width / 2) for image in result.encoded)


def _place(result: PageResult, x: float, y: float) -> tuple[float, float]:
    """A pixel of the picture that was clicked in as (x, y), both 0..1 of the photograph."""
    height, width = result.chosen_size
    if not (-1 <= x <= width and -1 <= y <= height):  # a click at the very edge is rounded to either side
        raise CosegError(
            f"That click is outside of {result.names[result.showing.photograph]}: click on the photograph."
        )
    return min(max((x + 0.5) / width, 0.0), 1.0), min(max((y + 0.5) / height, 0.0), 1.0)


def _between(corner: tuple[float, ...], opposite: tuple[float, ...]) -> tuple[float, ...]:
    (left, right), (top, bottom) = (sorted(ends) for ends in zip(corner, opposite, strict=True))
    if right - left < _NARROWEST or bottom - top < _NARROWEST:
        raise CosegError("That rectangle is too small: click the corner that is opposite to the first.")
    return left, top, right - left, bottom - top


def _in_pixels(result: PageResult, shown: Shown) -> tuple[float, ...]:
    """The place in pixels of the upright photograph."""
    height, width = result.encoded[shown.photograph].size
    scaled = [share * side for share, side in zip(shown.place, (width, height) * 2, strict=False)]
    if len(scaled) == 2:  # a point at the very edge is in the last pixel
        scaled = [min(scaled[0], math.nextafter(width, 0)), min(scaled[1], math.nextafter(height, 0))]
    return tuple(scaled)


def _fitted(region: NDArray[np.uint8], result: PageResult, shown: Shown) -> NDArray[np.bool_]:
    height, width = result.previews[shown.photograph].shape[:2]
    wide = cv2.resize((region == 1).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(wide >= 0.5)
