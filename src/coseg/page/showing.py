"""Show objects on the page: clicks on photographs become exemplars, and all photographs are searched for them.

Each event carries in `Seen` what the visitor saw when it was made, because it may wait while the page changes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from coseg.errors import CosegError
from coseg.imaging.draw import OBJECTS
from coseg.inference.exemplar import can_search
from coseg.inference.inputs import alike
from coseg.inference.named_objects import check_names
from coseg.page.results import Corner, OnProgress, PageResult, Showing, Shown, ShownObject, default_name, step

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter, Encoded

MOST_EXEMPLARS = 10
"""Of an object: each click is searched for together with all before it."""

MOST_IN_ALL = 30
"""Exemplars of all objects of a visitor."""

MOST_OBJECTS = len(OBJECTS)
"""Of a visitor: as many as there are colours."""

POINT, RECTANGLE = "A point on it", "A rectangle around it"
TOOLS = (POINT, RECTANGLE)
"""What clicks on a photograph give; a rectangle takes two, at opposite corners."""

_NARROWEST = 0.01
"""Of the sides of a rectangle, as share of the photograph's."""

_SEEN = re.compile(r"([0-9a-f]{16})-(\d{1,6})-(\d{1,6})-(\d{1,3})")


class Seen(NamedTuple):
    """What the visitor saw when an event was made.

    Attributes:
        serial: of the result.
        searches: which of its masks.
        photograph: index of the photograph to click in.
        number: of the selected object.
    """

    serial: str
    searches: int
    photograph: int
    number: int

    def __str__(self) -> str:
        return "-".join(map(str, self))

    @staticmethod
    def of(result: PageResult) -> Seen:
        """What a visitor sees of a result."""
        showing = result.showing
        return Seen(result.serial, showing.searches, showing.photograph, showing.current.number)

    @staticmethod
    def read(text: str) -> Seen | None:
        """From the form that `str` gives; None: it is not of that form."""
        parts = _SEEN.fullmatch(text)
        return None if parts is None else Seen(parts[1], int(parts[2]), int(parts[3]), int(parts[4]))


Change = Callable[[PageResult, Seen], PageResult]
"""A result changed by an event, from the result as it is and what the visitor saw."""


def choose(result: PageResult, photograph: int) -> PageResult:
    """The result with another photograph to click in; as it is if there is no such photograph."""
    return _with(result, photograph=photograph) if 0 <= photograph < len(result.names) else result


def select(result: PageResult, number: int) -> PageResult:
    """The result with another object that clicks are of; as it is if that was removed."""
    return result if result.showing.object(number) is None else _with(result, selected=number)


def add(result: PageResult) -> PageResult:
    """The result with a further object, which is selected; one that has neither name nor exemplars is used first.

    Raises:
        CosegError: there are as many as there may be.
    """
    showing = result.showing
    if len(showing.objects) >= MOST_OBJECTS:
        raise CosegError(f"The page takes {MOST_OBJECTS} objects: remove one for another.")
    used = {shown.number for shown in showing.objects}
    added = ShownObject(min(set(range(1, MOST_OBJECTS + 1)) - used))
    unused = [shown.number for shown in showing.objects if not (shown.exemplars or shown.name)]
    return _with(result, objects=(*showing.objects, added), selected=[*unused, added.number][0])


def rename(result: PageResult, number: int, name: str) -> PageResult:
    """The result with a name for an object, which becomes that of a folder; empty: no name.

    Raises:
        CosegError: it can't be the name of a folder, or another object has it.
    """
    name = " ".join(name.split())
    name = "" if alike(name) == alike(default_name(number)) else name
    if name:
        check_names([name])
        rivals = [shown.name for shown in result.showing.objects if shown.number != number]
        rivals += [default_name(rival) for rival in range(1, MOST_OBJECTS + 1)]
        if alike(name) in map(alike, rivals):
            raise CosegError(f"Another object is called '{name}': give this one a name that differs in more than case.")
    return _replaced(result, number, lambda shown: replace(shown, name=name))


def click(
    segmenter: CoSegmenter,
    result: PageResult,
    seen: Seen,
    x: float,
    y: float,
    tool: str,
    progress: OnProgress | None = None,
) -> PageResult:
    """The result after a click.

    Args:
        segmenter: of the photographs.
        result: before the click.
        seen: the photograph that was clicked in, and the object that the click is of.
        x: of the click, in pixels of the picture of `PageResult.clicked_size`, from its left edge.
        y: from its top edge.
        tool: one of `TOOLS`. Of a rectangle the first click is kept; the second in the same photograph completes it.
        progress: called before each photograph is searched.

    Raises:
        CosegError: the click is outside of the photograph; the rectangle is too small; there are too many exemplars.
    """
    showing, place = result.showing, _place(result, seen.photograph, x, y)
    if tool == RECTANGLE and can_search(segmenter.network):
        corner = showing.corner
        if corner is None or (corner.number, corner.photograph) != (seen.number, seen.photograph):
            return _with(result, corner=Corner(seen.number, seen.photograph, place))
        place = _between(corner.place, place)
    shown = showing.object(seen.number)
    if shown is None:
        raise CosegError("The object of that click was removed in the meantime, so the click was left out.")
    if len(shown.exemplars) >= MOST_EXEMPLARS:
        raise CosegError(f"The page takes {MOST_EXEMPLARS} clicks on an object: take one back for another.")
    if len(showing.exemplars) >= MOST_IN_ALL:
        raise CosegError(f"The page takes {MOST_IN_ALL} clicks on all objects together: take one back for another.")
    exemplar = Shown(seen.photograph, place)
    added = _replaced(result, seen.number, lambda shown: replace(shown, exemplars=(*shown.exemplars, exemplar)))
    return _search(segmenter, _with(added, corner=None), seen.number, progress)


def take_back(segmenter: CoSegmenter, result: PageResult, seen: Seen, progress: OnProgress | None = None) -> PageResult:
    """The result without the last exemplar of the object that was seen, or a first corner that was clicked after it."""
    corner = result.showing.corner
    if corner is not None and corner.number == seen.number:
        return _with(result, corner=None)
    fewer = _replaced(result, seen.number, lambda shown: replace(shown, exemplars=shown.exemplars[:-1]))
    return _search(segmenter, fewer, seen.number, progress)


def take_all_back(result: PageResult) -> PageResult:
    """The result of what the photographs have in common."""
    showing = result.showing
    return replace(result, showing=Showing(photograph=showing.photograph, searches=showing.searches + 1))


def remove(segmenter: CoSegmenter, result: PageResult, seen: Seen, progress: OnProgress | None = None) -> PageResult:
    """The result without the object that was seen."""
    showing = result.showing
    removed = showing.object(seen.number)
    left = tuple(shown for shown in showing.objects if shown is not removed)
    if not left:
        return take_all_back(result)
    corner = None if showing.corner is not None and showing.corner.number == seen.number else showing.corner
    selected = left[0].number if showing.selected == seen.number else showing.selected
    fewer = _with(result, objects=left, corner=corner, selected=selected)
    return fewer if removed is None or not removed.exemplars else _search(segmenter, fewer, None, progress)


def merged(before: PageResult, after: PageResult, now: PageResult) -> PageResult:
    """The result `after` a search with `before`, and with what was chosen, selected, named and added until `now`."""
    known = {shown.number: shown.name for shown in before.showing.objects}
    added = [shown for shown in now.showing.objects if shown.number not in known]
    names = {
        shown.number: shown.name for shown in now.showing.objects if shown.name != known.get(shown.number, shown.name)
    }
    kept = [replace(shown, name=names.get(shown.number, shown.name)) for shown in after.showing.objects]
    objects = (*kept, *added)
    is_there = now.showing.selected in {shown.number for shown in objects}
    selected = now.showing.selected if is_there else after.showing.selected
    return _with(after, objects=objects, selected=selected, photograph=now.showing.photograph)


def _with(result: PageResult, **changes: object) -> PageResult:
    return replace(result, showing=replace(result.showing, **changes))  # type: ignore[arg-type]


def _replaced(result: PageResult, number: int, change: Callable[[ShownObject], ShownObject]) -> PageResult:
    """The result with one object changed."""
    objects = tuple(change(shown) if shown.number == number else shown for shown in result.showing.objects)
    return _with(result, objects=objects)


def _search(segmenter: CoSegmenter, result: PageResult, changed: int | None, progress: OnProgress | None) -> PageResult:
    """All photographs searched for what the exemplars of all objects show; the exemplars of `changed` have changed."""
    objects = [_with_responses(segmenter, result, shown, changed) for shown in result.showing.objects]
    if not can_search(segmenter.network):
        objects = [replace(shown, exemplars=shown.exemplars[-1:]) for shown in objects]
    elif shown_objects := [shown for shown in objects if shown.exemplars]:
        search = segmenter.exemplars({shown.title: _exemplars(result, shown) for shown in shown_objects})
        segments = []
        for k, image in enumerate(result.encoded):
            step(progress, "Searching", k, result.names)
            segments.append([replace(part, name=result.names[k]) for part in search.segment_encoded(image)])
        masks = search.gathered(result.encoded, segments)
        objects = [
            replace(
                shown,
                cosegmentation=masks[shown.title],
                exemplars=tuple(
                    exemplar._replace(region=_fitted(region, result, exemplar))
                    for exemplar, region in zip(shown.exemplars, search.searches[shown.title].regions, strict=True)
                ),
            )
            if shown.exemplars
            else shown
            for shown in objects
        ]
    return _with(result, objects=tuple(objects), searches=result.showing.searches + 1)


def _with_responses(segmenter: CoSegmenter, result: PageResult, shown: ShownObject, changed: int | None) -> ShownObject:
    """The object without masks; of the changed one with how similar all photographs are to its last exemplar."""
    shown = replace(shown, cosegmentation=None)
    if shown.number != changed:
        return shown
    if not shown.exemplars:
        return replace(shown, responses=())
    last = shown.exemplars[-1]
    x, y, width, height = (*last.place, 0.0, 0.0)[:4]
    centre = y + height / 2, x + width / 2
    responses = [segmenter.response(result.encoded[last.photograph], image, *centre) for image in result.encoded]
    return replace(shown, responses=tuple(responses))


def _place(result: PageResult, photograph: int, x: float, y: float) -> tuple[float, ...]:
    """A pixel of the picture that was clicked in as (x, y), both 0..1 of the photograph."""
    if photograph >= len(result.names):
        raise CosegError("That click is in none of the photographs: click again.")
    height, width = result.clicked_size(photograph)
    if not (-1 <= x <= width and -1 <= y <= height):  # a click at the very edge is rounded to either side
        raise CosegError(f"That click is outside of {result.names[photograph]}: click on the photograph.")
    return min(max((x + 0.5) / width, 0.0), 1.0), min(max((y + 0.5) / height, 0.0), 1.0)


def _between(corner: tuple[float, ...], opposite: tuple[float, ...]) -> tuple[float, ...]:
    (left, right), (top, bottom) = (sorted(ends) for ends in zip(corner, opposite, strict=True))
    if right - left < _NARROWEST or bottom - top < _NARROWEST:
        raise CosegError("That rectangle is too small: click the corner that is opposite to the first.")
    return left, top, right - left, bottom - top


def _exemplars(result: PageResult, shown: ShownObject) -> list[tuple[Encoded, tuple[float, ...]]]:
    """The encoded photograph of each exemplar of an object, and its place in pixels."""
    return [(result.encoded[exemplar.photograph], _in_pixels(result, exemplar)) for exemplar in shown.exemplars]


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
