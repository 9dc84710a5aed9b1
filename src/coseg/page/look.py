"""What the page keeps of the photographs that a visitor gave: features and small pictures, until they are removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coseg.errors import CosegError
from coseg.inference.photographs import load_photograph

if TYPE_CHECKING:
    from coseg.inference.segmenter import Cosegmentation, CoSegmenter, Encoded

MOST_FILES = 50
"""Photographs that are looked at together; a whole album is for ``coseg-predict``."""

PREVIEWS = ((4, 768), (12, 512), (MOST_FILES, 320))
"""Up to so many photographs are shown with this longest side in pixels: the more there are, the smaller."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Look:
    """Photographs that were encoded once, and what they share; everything else on the page is made from this.

    `files`: the photographs as they were given, N. `names`: unlike each other. `previews`: RGB uint8 (h, w, 3), as they
    are shown. `encoded`: their features. `result`: what they have in common.
    """

    files: tuple[Path, ...]
    names: tuple[str, ...]
    previews: tuple[NDArray[np.uint8], ...]
    encoded: tuple[Encoded, ...]
    result: Cosegmentation

    def mask(self, i: int, threshold: float) -> NDArray[np.bool_]:
        """The mask of photograph `i` at the size of its preview, bool (h, w)."""
        height, width = self.previews[i].shape[:2]
        return replace(self.result.segments[i], size=(height, width)).mask(threshold)

    def place(self, i: int, x: float, y: float) -> tuple[float, float]:
        """The pixel (x, y) of preview `i` as (y, x) in 0..1 from the top left corner of the photograph."""
        height, width = self.previews[i].shape[:2]
        return min(max((y + 0.5) / height, 0.0), 1.0), min(max((x + 0.5) / width, 0.0), 1.0)


def take_look(
    segmenter: CoSegmenter, files: Sequence[str | Path], progress: Progress | None = None
) -> tuple[Look, list[str]]:
    """Read and encode photographs one at a time, and co-segment those that can be read.

    Returns:
        the look, and a sentence for each file that was left out.

    Raises:
        CosegError: fewer than two photographs remain; with the sentences of those that were left out.
    """
    paths = [Path(file) for file in files]
    told: list[str] = []
    if len(paths) > MOST_FILES:
        told.append(
            f"The page takes {MOST_FILES} photographs at a time, so the last {len(paths) - MOST_FILES} were left out; "
            "for a whole album use coseg-predict."
        )
        paths = paths[:MOST_FILES]
    longest = next(side for most, side in PREVIEWS if len(paths) <= most)
    read, previews, encoded = [], [], []
    for number, path in enumerate(paths):
        if progress is not None:
            progress(number, len(paths), path.name)
        try:
            preview = load_photograph(path, longest).pixels
            features = segmenter.encode(path)
        except CosegError as error:  # a visitor knows the file by its name, not by where the page put it
            told.append(str(error).replace(str(path), path.name))
            continue
        read.append(path)
        previews.append(preview)
        encoded.append(features)
    if len(read) < 2:
        only = "none" if not read else f"only {read[0].name}"
        reason = "It takes two photographs to have something in common"
        raise CosegError(" ".join([*told, f"{reason}, and there is {only}: add {2 - len(read)} or more."]))
    result = segmenter.cosegment(encoded)
    names = _unlike([path.name for path in read])
    told.extend(
        f"{names[i]} and {names[j]} show the same picture: what they have in common is everything, so their masks "
        "mean little."
        for i, j in result.repeated
    )
    return Look(tuple(read), names, tuple(previews), tuple(encoded), result), told


def _unlike(names: Sequence[str]) -> tuple[str, ...]:
    """The names, those that were there before with a number: ``a.jpg``, ``a (2).jpg``."""
    taken: set[str] = set()
    unlike: list[str] = []
    for name in names:
        path, number, chosen = Path(name), 1, name
        # Masks and cut-outs lose the suffix of the photograph, so names must differ before it.
        while Path(chosen).stem.lower() in taken:
            number += 1
            chosen = f"{path.stem} ({number}){path.suffix}"
        taken.add(Path(chosen).stem.lower())
        unlike.append(chosen)
    return tuple(unlike)
