"""What the page does: find the common object, words for the outcome, heat maps of a point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.errors import CosegError
from coseg.inference.cosegmentation import common_sentence, percent, reliability
from coseg.inference.cutouts import cut_out
from coseg.inference.outputs import overlaid
from coseg.page.results import OnProgress, PageResult, cosegment_files

if TYPE_CHECKING:
    from coseg.hub.calibration import Calibration
    from coseg.inference.cosegmentation import Cosegmentation
    from coseg.inference.segmenter import CoSegmenter


ASK_FOR_A_POINT = (
    '<p class="matched"><b>What matched.</b> Click a point in A, and B shows how similar its positions are for the '
    "network.</p>"
)

_HEAT = 0.65
"""Weight of the heat map over the photograph in grey, 0..1."""

Pixels = NDArray[np.uint8]

Captioned = tuple[Image.Image, str]


def verdict(cosegmentation: Cosegmentation, calibration: Calibration | None) -> str:
    """Whether the photographs share an object and which do not belong, and how sure that is, as HTML."""
    style = {True: "yes", False: "no", None: "unknown"}[cosegmentation.shares]
    images = "A pair" if len(cosegmentation) == 2 else f"A group of {len(cosegmentation)}"
    sentence = escape(common_sentence(cosegmentation, calibration))
    sure = reliability(calibration, len(cosegmentation), cosegmentation.input_size)
    details = f"<details><summary>How sure?</summary>{escape(sure)}</details>" if sure else ""
    return f'<div class="verdict {style}"><span>{images}</span> {sentence}{details}</div>'


def notice(sentences: Sequence[str]) -> str:
    """Errors, and files that were left out, as HTML; empty for no sentence."""
    if not sentences:
        return ""
    return (
        '<div class="notice" role="alert">' + "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences) + "</div>"
    )


def matched(name_a: str, name_b: str, low: float, high: float) -> str:
    """The text above the heat map, as HTML."""
    return (
        f'<p class="matched"><b>What matched.</b> How similar each position in <b>{escape(name_b)}</b> is to the point '
        f"in <b>{escape(name_a)}</b>: cosine similarity of their features, {low:.2f} (blue) to {high:.2f} (red).</p>"
    )


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


def with_point(photograph: Pixels, y: float, x: float) -> Pixels:
    """The photograph with a ring around the point (y, x), 0..1 from the top left corner."""
    height, width = photograph.shape[:2]
    centre = (round(x * (width - 1)), round(y * (height - 1)))
    radius = max(4, round(max(height, width) / 60))
    ringed = photograph.copy()
    for colour, thickness in (((255, 255, 255), 5), ((220, 20, 60), 2)):
        cv2.circle(ringed, centre, radius, colour, thickness, cv2.LINE_AA)
    return ringed


class Galleries(NamedTuple):
    """The three results of each photograph, with captions, in the order of the photographs."""

    cutouts: list[Captioned]
    overlays: list[Captioned]
    masks: list[Captioned]


def galleries(result: PageResult, threshold: float) -> Galleries:
    """Cut-outs, overlays and masks at the size of the previews, made without the network."""
    made = Galleries([], [], [])
    for i, (name, preview) in enumerate(zip(result.names, result.previews, strict=True)):
        mask = result.mask(i, threshold)
        belongs = result.cosegmentation[i].belongs
        likely = "" if math.isnan(belongs) else f" · {percent(belongs)} likely to belong"
        caption = f"{percent(mask.mean())} {name}{likely}"
        made.masks.append((Image.fromarray(mask).convert("L"), caption))
        made.overlays.append((Image.fromarray(overlaid(preview, mask)), caption))
        made.cutouts.append((Image.fromarray(cut_out(preview, mask)), caption))
    return made


class Shown(NamedTuple):
    """What a press of the button shows: the result if there is one, HTML texts, and galleries."""

    result: PageResult | None
    notice: str
    verdict: str
    galleries: Galleries


def find_common(
    segmenter: CoSegmenter, files: Sequence[str | Path] | None, threshold: float, progress: OnProgress | None = None
) -> Shown:
    """Encode and co-segment the files; the notice names those that cannot be read, and the others are used."""
    try:
        result, messages = cosegment_files(segmenter, files or [], progress)
    except CosegError as error:
        return Shown(None, notice([str(error)]), "", Galleries([], [], []))
    return Shown(
        result, notice(messages), verdict(result.cosegmentation, segmenter.calibration), galleries(result, threshold)
    )


class Matched(NamedTuple):
    """The photographs of the panel *What matched*, RGB uint8 (h, w, 3), and its text."""

    a: Pixels
    b: Pixels
    text: str


def match(segmenter: CoSegmenter, result: PageResult, a: int, b: int, point: tuple[float, float] | None) -> Matched:
    """How photograph `b` responds to the `point` (y, x) of photograph `a`, 0..1 from its top left corner.

    Without a point both photographs are shown unchanged.
    """
    if point is None:
        return Matched(result.previews[a], result.previews[b], ASK_FOR_A_POINT)
    response = segmenter.response(result.encoded[a], result.encoded[b], *point)
    heat = heat_map(result.previews[b], response)
    text = matched(result.names[a], result.names[b], heat.low, heat.high)
    return Matched(with_point(result.previews[a], *point), heat.pixels, text)
