"""What the page does: find the common object, words for the outcome, heat maps of a point, drawn examples."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.data.readers.shapes import ShapesCatalog, ShapesReader
from coseg.errors import CosegError
from coseg.inference.cosegmentation import common_sentence, percent
from coseg.inference.outputs import cut_out, overlaid
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
    """Whether the photographs share an object, and how often such a statement is right, as HTML."""
    style = {True: "yes", False: "no", None: "unknown"}[cosegmentation.shares]
    images = "A pair" if len(cosegmentation) == 2 else f"A group of {len(cosegmentation)}"
    sentence = escape(common_sentence(cosegmentation, calibration))
    return f'<div class="verdict {style}"><span>{images}</span> {sentence}</div>'


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

    masks: list[Captioned]
    overlays: list[Captioned]
    cutouts: list[Captioned]


def galleries(result: PageResult, threshold: float) -> Galleries:
    """Masks, overlays and cut-outs at the size of the previews, made without the network."""
    made = Galleries([], [], [])
    for i, (name, preview) in enumerate(zip(result.names, result.previews, strict=True)):
        mask = result.mask(i, threshold)
        caption = f"{percent(mask.mean())} {name}"
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


SEED = 5
SIZE = 256
GROUP = 5
PAIR, GROUP_NAME, NOTHING = "A pair", f"A group of {GROUP}", "A pair with nothing in common"


def draw_examples(folder: Path, seed: int = SEED) -> dict[str, list[Path]]:
    """Draw the example sets into `folder`: PNG files of 256 x 256 pixels.

    The first pair and the first group of the seed that share one class, and a pair that shares none.

    Returns:
        Name of each set to its files.
    """
    catalog = ShapesReader(seed, SIZE, seen=60).read("seen")
    sets = {
        PAIR: _sharing(catalog, 2, skip=1),
        GROUP_NAME: _sharing(catalog, GROUP, skip=0),
        NOTHING: _pair_without_common_class(catalog),
    }
    files: dict[str, list[Path]] = {}
    for name, images in sets.items():
        stem = {PAIR: "pair", GROUP_NAME: "group"}.get(name, "nothing")
        files[name] = [folder / f"{stem}_{number}.png" for number in range(1, len(images) + 1)]
        for path, image in zip(files[name], images, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(catalog.image(image)).save(path)
    return files


def _sharing(catalog: ShapesCatalog, count: int, skip: int) -> list[int]:
    """The first `count` images that share one class only; each also holds objects of other classes.

    The classes are tried in their order; the first `skip` classes with such images are skipped.
    """
    contents = catalog.contents
    for k in np.flatnonzero(contents.sum(0)).tolist():
        chosen: list[int] = []
        occupied: NDArray[np.bool_] = np.zeros(contents.shape[1], np.bool_)
        occupied[k] = True
        for i in np.flatnonzero(contents[:, k]).tolist():
            without = contents[i].copy()
            without[k] = False
            if without.any() and not (without & occupied).any():
                chosen.append(i)
                occupied |= without
        if len(chosen) >= count:
            if skip == 0:
                return chosen[:count]
            skip -= 1
    raise ValueError(f"no class is shared by {count} images of seed {catalog.seed}")


def _pair_without_common_class(catalog: ShapesCatalog) -> list[int]:
    """The first image, and the first after it that shares no class with it."""
    return [0, int(np.flatnonzero(~(catalog.contents & catalog.contents[0]).any(1))[0])]
