"""What the page does when something is pressed, moved or clicked; plain values in and out, no widget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from coseg.errors import CosegError
from coseg.inference.outputs import cut_out, overlaid
from coseg.inference.scores import percent
from coseg.page.look import Look, Progress, take_look
from coseg.page.pictures import Pixels, heat_map, with_point
from coseg.page.words import ASK_FOR_A_POINT, matched, notice, verdict

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter

Captioned = tuple[Image.Image, str]


class Galleries(NamedTuple):
    """The three results of each photograph, with captions, in the order of the photographs."""

    masks: list[Captioned]
    overlays: list[Captioned]
    cutouts: list[Captioned]


def galleries(look: Look, threshold: float) -> Galleries:
    """Masks, overlays and cut-outs at the size of the previews; the network is not asked again."""
    made = Galleries([], [], [])
    for i, (name, preview) in enumerate(zip(look.names, look.previews, strict=True)):
        mask = look.mask(i, threshold)
        caption = f"{percent(mask.mean())} {name}"
        made.masks.append((Image.fromarray(mask).convert("L"), caption))
        made.overlays.append((Image.fromarray(overlaid(preview, mask)), caption))
        made.cutouts.append((Image.fromarray(cut_out(preview, mask)), caption))
    return made


class Shown(NamedTuple):
    """What a press of the button brings: the look if there is one, what it says, and its galleries."""

    look: Look | None
    notice: str
    verdict: str
    galleries: Galleries


def look_at(
    segmenter: CoSegmenter, files: Sequence[str | Path] | None, threshold: float, progress: Progress | None = None
) -> Shown:
    """Encode and co-segment the files; what cannot be read is told in the notice, and the rest goes on."""
    try:
        look, told = take_look(segmenter, files or [], progress)
    except CosegError as error:
        return Shown(None, notice([str(error)]), "", Galleries([], [], []))
    return Shown(look, notice(told), verdict(look.result, segmenter.calibration), galleries(look, threshold))


class Matched(NamedTuple):
    """The photographs of the panel *What matched*, RGB uint8 (h, w, 3), and what it says."""

    a: Pixels
    b: Pixels
    words: str


def match(segmenter: CoSegmenter, look: Look, a: int, b: int, point: tuple[float, float] | None) -> Matched:
    """How photograph `b` responds to the `point` (y, x) of photograph `a`, 0..1 from its top left corner.

    Without a point both are shown as they are.
    """
    if point is None:
        return Matched(look.previews[a], look.previews[b], ASK_FOR_A_POINT)
    response = segmenter.response(look.encoded[a], look.encoded[b], *point)
    heat = heat_map(look.previews[b], response)
    words = matched(look.names[a], look.names[b], heat.low, heat.high)
    return Matched(with_point(look.previews[a], *point), heat.pixels, words)
