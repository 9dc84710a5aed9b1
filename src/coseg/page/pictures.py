"""The pictures of the page: photographs with the mask as overlay, cut-out or mask, heat maps, and what was shown."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.imaging.draw import Colour, label_picture, object_colour
from coseg.inference.cutouts import cut_out
from coseg.inference.outputs import coloured, overlaid
from coseg.page.results import PageResult
from coseg.page.words import caption, caption_of_objects

OVERLAY, CUTOUT, MASK, MATCHED = "Overlay", "Cut-out", "Mask", "What matched"
VIEWS = {OVERLAY: "jpeg", CUTOUT: "webp", MASK: "png", MATCHED: "jpeg"}
"""What the gallery shows of every photograph, and the file format of such pictures."""

_HEAT = 0.65
"""Weight of the heat map over the photograph in grey, 0..1."""

_TINT = 0.4
"""Weight of the colour over what a click was taken for, 0..1."""

_ONE_OBJECT = (20, 184, 166)
"""Colour of what a click was taken for, if the visitor shows one object without a name."""

_LINES = (((255, 255, 255), 3.0), ((220, 20, 60), 1.4))
"""Colours of rings and outlines and their widths, for a picture of 400 pixels."""

Pixels = NDArray[np.uint8]

Captioned = tuple[Image.Image, str]


ALL = 0
"""In place of the number of an object: all objects."""


def gallery(
    result: PageResult, view: str, threshold: float, likeliest_first: bool = False, number: int = ALL
) -> list[Captioned]:
    """The photographs with their captions, made without the network.

    Args:
        result: of the photographs.
        view: one of `VIEWS`.
        threshold: pixels with a larger probability are foreground, 0..1.
        likeliest_first: in order of the likelihood to belong, where there is one; else as the photographs were given.
        number: of the object that is shown, if there are several.
    """
    order = order_of(result, number) if likeliest_first else ()
    return [_captioned(result, i, view, threshold, number) for i in order or range(len(result.names))]


def order_of(result: PageResult, number: int = ALL) -> tuple[int, ...]:
    """Indices of the photographs, the likeliest first; empty for several objects, and where it is not known."""
    objects = _chosen(result, number)
    if len(objects) > 1:
        return ()
    current = result.showing.searched[objects[0]].cosegmentation if objects else result.current
    return () if current is None else current.order


def _chosen(result: PageResult, number: int) -> list[int]:
    """Places among the objects that were searched for: of the one with a number, if there is one; else of all."""
    numbers = [shown.number for shown in result.showing.searched]
    return [numbers.index(number)] if number in numbers else list(range(len(numbers)))


def _captioned(result: PageResult, i: int, view: str, threshold: float, number: int) -> Captioned:
    preview, responses = result.previews[i], result.showing.current.responses
    if view == MATCHED:
        if not responses:
            return Image.fromarray(preview), f"{result.names[i]}\nclick on an object to see what is similar to it"
        heat = heat_map(preview, responses[i])
        similar = f"similarity {heat.low:.2f} (blue) to {heat.high:.2f} (red)"
        return Image.fromarray(heat.pixels), f"{result.names[i]}\n{similar}"
    if result.is_of_objects:
        return _captioned_objects(result, i, view, threshold, number)
    mask = result.mask(i, threshold)
    text = caption(result.names[i], result.current[i], float(mask.mean()), bool(result.current.exemplars))
    if view == MASK:
        return Image.fromarray(mask).convert("L"), text
    return Image.fromarray(cut_out(preview, mask) if view == CUTOUT else overlaid(preview, mask)), text


def _captioned_objects(result: PageResult, i: int, view: str, threshold: float, number: int) -> Captioned:
    preview, labels = result.previews[i], result.labels(i, threshold)
    places = _chosen(result, number)
    objects = [result.showing.searched[place] for place in places]
    segments = result.segments(i, threshold)
    lines = [
        (shown.title, segments[place], float((labels == shown.number).mean()))
        for place, shown in zip(places, objects, strict=True)
    ]
    text = caption_of_objects(result.names[i], lines)
    is_single, first = len(objects) == 1, objects[0].number
    mask = labels == first if is_single else labels > 0
    if view == CUTOUT:
        return Image.fromarray(cut_out(preview, mask)), text
    if view == MASK:
        last = max(shown.number for shown in objects)
        return Image.fromarray(mask).convert("L") if is_single else label_picture(labels, last), text
    colour = object_colour(first)
    return Image.fromarray(overlaid(preview, mask, colour) if is_single else coloured(preview, labels)), text


class Heat(NamedTuple):
    """A heat map over a photograph: `pixels`, RGB uint8 (h, w, 3), and its lowest and highest similarity."""

    pixels: Pixels
    low: float
    high: float


def heat_map(photograph: Pixels, response: NDArray[np.float32]) -> Heat:
    """A response (rows, columns), cosine similarities, over its photograph: blue is its minimum, red its maximum."""
    height, width = photograph.shape[:2]
    low, high = float(response.min()), float(response.max())
    scaled = ((response - low) / max(high - low, 1e-6)).astype(np.float32)
    wide = cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap(np.rint(255 * wide).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    grey = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)[..., None]
    mixed = _HEAT * colours.astype(np.float32) + (1 - _HEAT) * grey
    return Heat(np.rint(mixed).astype(np.uint8), low, high)


def chosen_picture(result: PageResult) -> Pixels:
    """The chosen photograph with what was shown in it: places that were clicked, and what they were taken for."""
    showing, (height, width) = result.showing, result.clicked_size(result.showing.photograph)
    preview = result.previews[showing.photograph]
    picture: Pixels = np.asarray(cv2.resize(preview, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    for shown in showing.objects:
        here = (exemplar for exemplar in shown.exemplars if exemplar.photograph == showing.photograph)
        regions = [exemplar.region for exemplar in here if exemplar.region is not None]
        if regions:
            region = np.logical_or.reduce(regions).astype(np.uint8)
            region = cv2.resize(region, (width, height), interpolation=cv2.INTER_NEAREST)
            picture = _tinted(picture, region > 0, object_colour(shown.number) if showing.is_named else _ONE_OBJECT)
    for exemplar in showing.exemplars:
        if exemplar.photograph == showing.photograph:
            _draw_place(picture, exemplar.place)
    if showing.corner is not None and showing.corner.photograph == showing.photograph:
        _draw_place(picture, showing.corner.place)
    return picture


def _tinted(picture: Pixels, region: NDArray[np.bool_], colour: Colour) -> Pixels:
    mixed = (1 - _TINT) * picture + _TINT * np.array(colour, np.float32)
    tinted = np.where(region[..., None], mixed, picture).round().astype(np.uint8)
    outlines, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    darker = tuple(round(0.75 * value) for value in colour)
    cv2.drawContours(tinted, outlines, -1, darker, _thickness(picture, 2), cv2.LINE_AA)
    return tinted


def _draw_place(picture: Pixels, place: tuple[float, ...]) -> None:
    """A ring around a point (x, y), or the outline of a rectangle (x, y, width, height); in 0..1 of the picture."""
    height, width = picture.shape[:2]
    x, y = round(place[0] * (width - 1)), round(place[1] * (height - 1))
    for colour, thickness in _LINES:
        if len(place) == 4:
            right, bottom = round((place[0] + place[2]) * (width - 1)), round((place[1] + place[3]) * (height - 1))
            cv2.rectangle(picture, (x, y), (right, bottom), colour, _thickness(picture, thickness), cv2.LINE_AA)
        else:
            radius = max(4, round(max(height, width) / 60))
            cv2.circle(picture, (x, y), radius, colour, _thickness(picture, thickness), cv2.LINE_AA)


def _thickness(picture: Pixels, width: float) -> int:
    return max(1, round(width * max(picture.shape[:2]) / 400))
