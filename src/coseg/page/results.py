"""The result of co-segmenting the photographs of a visitor, which the page keeps, and its download as a zip file.

`coseg.page.events` calls this, and `coseg.page.visitors` keeps the results.
"""

from __future__ import annotations

import secrets
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coseg.errors import CosegError
from coseg.files.writing import atomic_path, json_text
from coseg.inference.cosegmentation import common_scores, image_scores
from coseg.inference.inputs import unique_names
from coseg.inference.outputs import PICTURES, write_pictures
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

ARCHIVE = "coseg.zip"


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
class Showing:
    """What a visitor has shown, and what was found by it.

    Attributes:
        photograph: index of the one to click in.
        corner: the first corner (x, y) of a rectangle, 0..1, while the second is missing.
        exemplars: where the object is.
        cosegmentation: the masks of that object in all photographs; None: nothing was shown.
        responses: how similar the N photographs are to the last exemplar, float32 (rows, columns) each; or none.
    """

    photograph: int = 0
    corner: tuple[float, ...] | None = None
    exemplars: tuple[Shown, ...] = ()
    cosegmentation: Cosegmentation | None = None
    responses: tuple[NDArray[np.float32], ...] = ()


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
        showing: the object that the visitor has shown, instead of what the photographs have in common.
    """

    files: tuple[Path, ...]
    names: tuple[str, ...]
    previews: tuple[NDArray[np.uint8], ...]
    encoded: tuple[Encoded, ...]
    cosegmentation: Cosegmentation
    given: tuple[Path, ...] = ()
    showing: Showing = Showing()

    @property
    def current(self) -> Cosegmentation:
        """The masks of what was shown; if nothing was, of what the photographs have in common."""
        return self.showing.cosegmentation or self.cosegmentation

    @property
    def chosen_size(self) -> tuple[int, int]:
        """(height, width) of the picture of the chosen photograph, in which the visitor clicks."""
        height, width = self.previews[self.showing.photograph].shape[:2]
        scale = max(1.0, CLICKED / max(height, width))
        return max(1, round(scale * height)), max(1, round(scale * width))

    def is_of(self, files: Sequence[str | Path]) -> bool:
        """Whether this is the result of files with these names; gradio may have moved them."""
        return sorted(path.name for path in self.given) == sorted(Path(file).name for file in files)

    def mask(self, i: int, threshold: float) -> NDArray[np.bool_]:
        """The mask of photograph `i` at the size of its preview, bool (h, w)."""
        height, width = self.previews[i].shape[:2]
        return replace(self.current.segments[i], size=(height, width)).mask(threshold)


def cosegment_files(
    segmenter: CoSegmenter, files: Sequence[str | Path], progress: OnProgress | None = None
) -> tuple[PageResult, list[str]]:
    """Read and encode photographs one at a time, and co-segment those that can be read.

    Returns:
        The result, and a sentence for each file that was left out.

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
    return PageResult(tuple(read), names, tuple(previews), tuple(encoded), cosegmentation, tuple(given)), messages


def step(
    progress: OnProgress | None, doing: str, k: int, names: Sequence[str], before: int = 0, after: int = 0
) -> None:
    """Report that photograph `k` is next; so many steps were done `before` the first, and come `after` the last."""
    if progress is not None:
        total = len(names)
        progress(before + k, before + total + after, f"{doing} photograph {k + 1} of {total}: {names[k]}")


def write_archive(
    segmenter: CoSegmenter,
    result: PageResult,
    threshold: float,
    model: str,
    folder: Path,
    progress: OnProgress | None = None,
) -> Path:
    """Write the pictures of all photographs, and ``scores.json``, into a zip file in a new folder below `folder`.

    The pictures have the names of those of ``coseg-predict``. The photographs are read again one at a time, so that
    memory holds only one of them.

    Raises:
        CosegError: a photograph was removed in the meantime; the disk is full.
    """
    path = folder / secrets.token_hex(16) / ARCHIVE
    try:
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for i in range(len(result.names)):
                step(progress, "Writing", i, result.names)
                _add(archive, result, i, threshold, path.parent)
            archive.writestr("scores.json", json_text(scores(segmenter, result, threshold, model)))
    except OSError as error:
        raise CosegError(
            f"The zip file cannot be written ({error.strerror or error}): make room on the disk."
        ) from error
    return path


def _add(archive: zipfile.ZipFile, result: PageResult, i: int, threshold: float, folder: Path) -> None:
    if not result.files[i].exists():
        raise CosegError(f"{result.names[i]} was removed in the meantime, as all uploads are: drop it again.")
    stem = Path(result.names[i]).stem
    files = {picture: folder / f"{stem}{ending}" for picture, ending in PICTURES.items()}
    try:
        write_pictures(result.files[i], replace(result.current.segments[i], threshold=threshold), files)
        for file in files.values():
            archive.write(file, file.name)
    finally:
        for file in files.values():
            file.unlink(missing_ok=True)


def scores(segmenter: CoSegmenter, result: PageResult, threshold: float, model: str) -> dict[str, Any]:
    """The content of ``scores.json``, in the form of ``coseg-predict --json``."""
    segments = tuple(replace(segment, threshold=threshold) for segment in result.current)
    current = replace(result.current, segments=segments)
    return {
        **segmenter.model_scores(model, len(current)),
        **({"calibration": None} if current.exemplars else {}),
        "threshold": round(threshold, 4),
        **common_scores(current),
        "images": [image_scores(Path(name), segment) for name, segment in zip(result.names, current, strict=True)],
    }
