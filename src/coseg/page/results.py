"""The result of co-segmenting the photographs of a visitor, which the page keeps.

`coseg.page.events` makes and changes it, `coseg.page.visitors` keeps it, `coseg.page.archive` writes it to a file.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coseg.errors import CosegError
from coseg.inference.cosegmentation import Segment, label_map
from coseg.inference.inputs import unique_names
from coseg.inference.named_objects import at_threshold
from coseg.inference.photographs import load_photograph

if TYPE_CHECKING:
    from coseg.inference.segmenter import Cosegmentation, CoSegmenter, Encoded

MOST_FILES = 50
"""Largest number of photographs in a group on the page; ``coseg-predict`` takes whole albums."""

PREVIEWS = ((4, 1024), (12, 768), (MOST_FILES, 512))
"""Largest number of photographs, and the longest side of their previews in pixels."""

CLICKED = 1024
"""Smallest longest side of the picture to click in. Gradio gives places of clicks wrongly in a picture that the browser
enlarges, so the page enlarges it."""

OnProgress = Callable[[int, int, str], None]
"""Called with the number of steps that are done, their number, and a sentence on the next."""


class Shown(NamedTuple):
    """An exemplar: where a visitor has shown the object.

    Attributes:
        photograph: its index in the result.
        place: a point (x, y) or a rectangle (x, y, width, height), in 0..1 of the photograph from its top left corner.
        region: what it was taken for, bool (h, w) at the size of the preview; None: that is not known.
    """

    photograph: int
    place: tuple[float, ...]
    region: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class ShownObject:
    """An object that a visitor shows, and what was found by it.

    Attributes:
        number: of its colour and its label, from 1 on; it stays if other objects are removed.
        name: that the visitor gave it; empty: none.
        exemplars: where the object is.
        cosegmentation: its masks in all photographs; None: it was not searched for.
        responses: how similar the N photographs are to its last exemplar, float32 (rows, columns) each; or none.
    """

    number: int = 1
    name: str = ""
    exemplars: tuple[Shown, ...] = ()
    cosegmentation: Cosegmentation | None = None
    responses: tuple[NDArray[np.float32], ...] = ()

    @property
    def title(self) -> str:
        """Its name, or "Object" and its number."""
        return self.name or default_name(self.number)


def default_name(number: int) -> str:
    """What an object is called that has no name."""
    return f"Object {number}"


class Corner(NamedTuple):
    """The first corner of a rectangle: of an object, in a photograph, at a place (x, y) in 0..1."""

    number: int
    photograph: int
    place: tuple[float, ...]


@dataclass(frozen=True)
class Showing:
    """What a visitor shows: one object or several.

    Attributes:
        objects: in the order in which they were added; one of no name and without an exemplar: nothing was shown.
        selected: number of the object that the visitor shows now.
        photograph: index of the photograph to click in.
        corner: of a rectangle whose second corner is missing.
        searches: how often the masks have changed.
    """

    objects: tuple[ShownObject, ...] = (ShownObject(),)
    selected: int = 1
    photograph: int = 0
    corner: Corner | None = None
    searches: int = 0

    @property
    def is_named(self) -> bool:
        """Whether the visitor tells objects apart: there are several, or one that has a name or is left of several."""
        first = self.objects[0]
        return len(self.objects) > 1 or bool(first.name) or first.number > 1

    @property
    def searched(self) -> tuple[ShownObject, ...]:
        """The objects that have masks."""
        return tuple(shown for shown in self.objects if shown.cosegmentation is not None)

    @property
    def exemplars(self) -> tuple[Shown, ...]:
        """Those of all objects."""
        return tuple(exemplar for shown in self.objects for exemplar in shown.exemplars)

    def object(self, number: int) -> ShownObject | None:
        """The object of a number; None: it was removed."""
        return next((shown for shown in self.objects if shown.number == number), None)

    @property
    def current(self) -> ShownObject:
        """The selected object."""
        return self.object(self.selected) or self.objects[0]


@dataclass(frozen=True)
class PageResult:
    """N photographs that were encoded once and co-segmented; everything else on the page is made from this.

    Attributes:
        files: the photographs as they were uploaded, N.
        names: of the photographs, all different, N.
        previews: the pictures that are shown, RGB uint8 (h, w, 3), N.
        encoded: features of the photographs, N.
        cosegmentation: their masks, and whether they share an object.
        given: all files, also those that were left out.
        messages: a sentence for each file that was left out, and on photographs that show the same picture.
        showing: the objects that the visitor has shown, instead of what the photographs have in common.
        serial: of these photographs, no other result has it.
    """

    files: tuple[Path, ...]
    names: tuple[str, ...]
    previews: tuple[NDArray[np.uint8], ...]
    encoded: tuple[Encoded, ...]
    cosegmentation: Cosegmentation
    given: tuple[Path, ...] = ()
    messages: tuple[str, ...] = ()
    showing: Showing = Showing()
    serial: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def current(self) -> Cosegmentation:
        """The masks of the first object that was shown; if none was, of what the photographs have in common."""
        return next((shown.cosegmentation for shown in self.showing.searched), None) or self.cosegmentation

    @property
    def is_of_objects(self) -> bool:
        """Whether it has masks of objects with names or numbers, rather than one mask of each photograph."""
        return self.showing.is_named and bool(self.showing.searched)

    def clicked_size(self, photograph: int) -> tuple[int, int]:
        """(height, width) of the picture of a photograph in which the visitor clicks."""
        height, width = self.previews[photograph].shape[:2]
        scale = max(1.0, CLICKED / max(height, width))
        return max(1, round(scale * height)), max(1, round(scale * width))

    def is_of(self, files: Sequence[str | Path]) -> bool:
        """Whether this is the result of these files; gradio may have moved them."""
        paths = [Path(file) for file in files]
        if sorted(paths) == sorted(self.given):
            return True
        if sorted(path.name for path in paths) != sorted(path.name for path in self.given):
            return False
        try:
            return sorted(map(_checksum, paths)) == sorted(map(_checksum, self.given))
        except OSError:  # one was removed
            return False

    def segments(self, i: int, threshold: float) -> list[Segment]:
        """The segments of photograph `i`: of each object that was searched for, or of what is common."""
        shown = [cosegmentation[i] for item in self.showing.searched if (cosegmentation := item.cosegmentation)]
        return at_threshold(shown or [self.cosegmentation[i]], threshold)

    def labels(self, i: int, threshold: float) -> NDArray[np.uint8]:
        """The label map of photograph `i` at the size of its preview, uint8 (h, w): numbers of objects, or 1."""
        height, width = self.previews[i].shape[:2]
        numbers = [0, *([shown.number for shown in self.showing.searched] or [1])]
        return np.array(numbers, np.uint8)[
            label_map([replace(segment, size=(height, width)) for segment in self.segments(i, threshold)])
        ]

    def mask(self, i: int, threshold: float) -> NDArray[np.bool_]:
        """The mask of photograph `i` at the size of its preview, bool (h, w): of all objects together."""
        return self.labels(i, threshold) > 0


def _checksum(path: Path) -> tuple[str, str]:
    with path.open("rb") as file:
        return path.name, hashlib.file_digest(file, "sha256").hexdigest()


def cosegment_files(
    segmenter: CoSegmenter, files: Sequence[str | Path], progress: OnProgress | None = None
) -> PageResult:
    """Read and encode photographs one at a time, and co-segment those that can be read.

    Raises:
        CosegError: fewer than two photographs remain; it includes the sentences about the files that were left out.
    """
    paths = given = [Path(file) for file in files]
    messages: list[str] = []
    if len(paths) > MOST_FILES:
        messages.append(
            f"The page takes {MOST_FILES} photographs at a time, so the last {len(paths) - MOST_FILES} were left out; "
            "for a whole album use coseg-predict."
        )
        paths = paths[:MOST_FILES]
    longest = next(side for most, side in PREVIEWS if len(paths) <= most)
    uploaded = [path.name for path in paths]
    read, previews, encoded = [], [], []
    for number, path in enumerate(paths):
        step(progress, "Reading", number, uploaded, after=len(paths))
        try:
            preview = load_photograph(path, longest).pixels
            features = segmenter.encode(path)
        except CosegError as error:  # a visitor knows the name of the file, not its path on the server
            messages.append(str(error).replace(str(path), path.name))
            continue
        read.append(path)
        previews.append(preview)
        encoded.append(features)
    if len(read) < 2:
        only = "none" if not read else f"only {read[0].name}"
        reason = "It takes two photographs to have something in common"
        raise CosegError(" ".join([*messages, f"{reason}, and there is {only}: add {2 - len(read)} or more."]))
    # Masks and cut-outs lose the suffix of the photograph, so the stems must be unique.
    stems = unique_names([path.stem for path in read], form="{} ({})".format)
    names = tuple(stem + path.suffix for stem, path in zip(stems, read, strict=True))

    def compared(done: int, total: int) -> None:
        if done < total:
            step(progress, "Comparing", done - len(names), names, before=len(names))

    compared(len(names), 2 * len(names))
    cosegmentation = segmenter.cosegment(encoded, compared)
    named = zip(cosegmentation, names, strict=True)
    cosegmentation = replace(cosegmentation, segments=tuple(replace(segment, name=name) for segment, name in named))
    messages.extend(
        f"{names[i]} and {names[j]} show the same picture: what they have in common is everything, so their masks "
        "mean little."
        for i, j in cosegmentation.repeated
    )
    return PageResult(
        tuple(read), names, tuple(previews), tuple(encoded), cosegmentation, tuple(given), tuple(messages)
    )


def step(
    progress: OnProgress | None, doing: str, k: int, names: Sequence[str], before: int = 0, after: int = 0
) -> None:
    """Report that photograph `k` is next; so many steps were done `before` the first, and come `after` the last."""
    if progress is not None:
        total = len(names)
        progress(before + k, before + total + after, f"{doing} photograph {k + 1} of {total}: {names[k]}")
