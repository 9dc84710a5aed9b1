"""The files of a run: mask, overlay and cut-out of each photograph, and which of them are written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.errors import CosegError
from coseg.files.writing import atomic_path
from coseg.imaging.draw import PREDICTION, Colour, fitted, label_picture, object_colour
from coseg.inference.cosegmentation import Segment, label_map
from coseg.inference.cutouts import CutoutStyle, cutout_pixels, in_colours, write_cutout
from coseg.inference.inputs import longest_name, unique_names
from coseg.inference.photographs import Photograph, load_photograph

LABELS = "_labels.png"
"""How the name of a label map of several objects ends; it is written with masks."""

PICTURES = {"mask": "_mask.png", "overlay": "_overlay.jpg", "cutout": "_cutout.png"}
"""The pictures of each image, and how the names of their files end."""

SHEET = "sheet"
OUTPUTS = (*PICTURES, SHEET)
"""What can be written."""

CARDS_PER_SHEET = 240
"""Images on one contact sheet; more go onto further sheets."""

OVERLAY_SIDE = 1600
"""Longest side of an overlay in pixels: it is only looked at."""

_COMPRESSION = 1
"""Of PNG: 9 takes several times as long as 1, and the files are hardly smaller."""

_TEMPORARY_BYTES = 24  # that `coseg.files.atomic_path` adds to a name, at most
_ATTEMPTS = 3

_PLAIN = CutoutStyle()
_NOTHING = np.empty((0, 0, 3), np.uint8)

Tiles = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""A photograph and its overlay, uint8 (h, w, 3)."""


def write_pictures(
    source: Path,
    segment: Segment,
    files: Mapping[str, Path],
    tile: int | None = None,
    style: CutoutStyle = _PLAIN,
    colour: Colour = PREDICTION,
) -> Tiles | None:
    """Write the pictures of one image.

    Each file is complete or absent. Masks and cut-outs have the size of the original, overlays at most `OVERLAY_SIDE`;
    the photograph is decoded no larger than the largest of the pictures needs.

    Args:
        source: the photograph.
        segment: of it.
        files: by the names of `PICTURES`, the files to write.
        tile: the longer side of the pictures to return for a contact sheet, enlarged if necessary; None: return None.
        style: of the cut-out.
        colour: of the outline in the overlay.

    Raises:
        CosegError: the photograph can no longer be read, or a file cannot be written.
    """
    tiles = None
    if "overlay" in files or "cutout" in files or tile is not None:
        longest = OVERLAY_SIDE if "overlay" in files else tile
        photograph = load_photograph(source, None if "cutout" in files else longest)
        pixels = photograph.pixels if longest is None else _at_most(photograph.pixels, longest)
        if "overlay" in files:
            picture = overlaid(pixels, _mask_at(segment, pixels), colour)
            _save(Image.fromarray(picture), files["overlay"], photograph, quality=90)
        if tile is not None:
            small = _at_most(pixels, tile) if max(pixels.shape[:2]) > tile else fitted(pixels, tile)
            tiles = small, overlaid(small, _mask_at(segment, small), colour)
        del pixels
    hard = "cutout" in files and not style.soft_edges
    if "mask" in files or "cutout" in files:
        mask = segment.mask() if "mask" in files or hard else None
        if "mask" in files and mask is not None:
            _save(Image.fromarray(mask.view(np.uint8) * np.uint8(255)), files["mask"], compress_level=_COMPRESSION)
        if "cutout" in files:
            photograph = in_colours(photograph, style)
            picture = cutout_pixels(photograph, segment, mask, style)
            photograph, mask, path = photograph._replace(pixels=_NOTHING), None, files["cutout"]
            with _write_errors(path), atomic_path(path) as temporary, temporary.open("wb") as file:
                write_cutout(picture, file, style, photograph)
    return tiles


def write_labels(
    source: Path, segments: Sequence[Segment], files: Mapping[str, Path], tile: int | None = None
) -> Tiles | None:
    """Write the pictures of one image that show all of several objects: the label map and an overlay.

    Args:
        source: the photograph.
        segments: of each object.
        files: ``mask`` for the label map, ``overlay``: the files to write.
        tile: as for `write_pictures`.

    Raises:
        CosegError: as `write_pictures`.
    """
    if "mask" in files:
        picture = label_picture(label_map(segments), len(segments))
        _save(picture, files["mask"], compress_level=_COMPRESSION)
    longest = OVERLAY_SIDE if "overlay" in files else tile
    if longest is None:
        return None
    photograph = load_photograph(source, longest)
    pixels = _at_most(photograph.pixels, longest)
    if "overlay" in files:
        _save(Image.fromarray(coloured(pixels, _labels_at(segments, pixels))), files["overlay"], photograph, quality=90)
    if tile is None:
        return None
    small = _at_most(pixels, tile) if max(pixels.shape[:2]) > tile else fitted(pixels, tile)
    return small, coloured(small, _labels_at(segments, small))


def overlaid(image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: Colour = PREDICTION) -> NDArray[np.uint8]:
    """The object in its colours with an outline, the rest faded, uint8 (h, w, 3).

    The outline is outside of the mask; its width grows with the image.
    """
    faded = _faded(image)
    np.copyto(faded, np.array(colour, np.uint8), where=_outline(mask)[..., None])
    np.copyto(faded, image, where=mask[..., None])
    return faded


def coloured(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Several objects, each tinted and outlined in its colour, the rest faded, uint8 (h, w, 3)."""
    picture = _faded(image)
    for n in np.unique(labels[labels > 0]).tolist():
        mask, colour = labels == n, np.array(object_colour(n))
        np.copyto(picture, colour.astype(np.uint8), where=(_outline(mask) & (labels == 0))[..., None])
        picture[mask] = (0.6 * image[mask] + 0.4 * colour).astype(np.uint8)
    return picture


def _faded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(np.repeat((grey // 2 + 112)[..., None], 3, -1), np.uint8)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels around a mask, outside of it."""
    inside = mask.astype(np.uint8)
    width = 2 * max(1, round(max(mask.shape) / 320)) + 1
    around = cv2.dilate(inside, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    return np.asarray(around > inside)


def _at_most(pixels: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """`pixels`, or a copy reduced to a longer side of `longest` by area averaging."""
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _mask_at(segment: Segment, pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The mask at the size of `pixels`, a smaller copy of the photograph."""
    return replace(segment, size=pixels.shape[:2]).mask()


def _save(picture: Image.Image, path: Path, photograph: Photograph | None = None, **options: Any) -> None:
    if photograph is not None and photograph.profile is not None:
        options["icc_profile"] = photograph.profile
    with _write_errors(path), atomic_path(path) as temporary:
        picture.save(temporary, **options)


def _labels_at(segments: Sequence[Segment], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The label map at the size of `pixels`."""
    return label_map([replace(segment, size=pixels.shape[:2]) for segment in segments])


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CosegError(
            f"{path} cannot be written ({error.strerror or error}): make room, or check its permissions."
        ) from error


class Targets:
    """The files that a run will write, known before it starts: existing files are kept unless `overwrite` is set.

    A pair or a group has all of its files in one folder: ``<name>_mask.png``, ``<name>_overlay.jpg``,
    ``<name>_cutout.png`` of each image, and ``sheet.png``. With `pairs` each pair has a subfolder, ``<name>+<name>``.
    With `objects` each object has a subfolder of its name; ``<name>_labels.png`` and ``<name>_overlay.jpg`` beside them
    show all of them.

    Args:
        folder: where to write.
        names: of the images, all different.
        outputs: of `OUTPUTS`, what to write.
        pairs: all pairs rather than one group.
        overwrite: replace existing files.
        extra_files: further files that will be written.
        sources: files that are never replaced: the photographs themselves, and those of exemplars with their masks.
        style: of the cut-outs.
        chosen: indices of the images whose pictures are written, without those of single `objects`; None: all.
        objects: the names of several objects.
        resumed: what exists was written by the same command before, so the scores name it.

    Attributes:
        kept: existing files that will not be replaced.
        shortened: how many folders of pairs have a shortened name, since the full one is too long.
        sheets: the file of each contact sheet, None for one that is kept; empty without contact sheets.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        outputs: Collection[str] = OUTPUTS,
        pairs: bool = False,
        overwrite: bool = False,
        extra_files: Collection[Path] = (),
        sources: Collection[Path] = (),
        style: CutoutStyle = _PLAIN,
        chosen: Collection[int] | None = None,
        objects: Sequence[str] = (),
        resumed: bool = False,
    ) -> None:
        self.folder, self.objects, self.style, self.pairs = folder, objects, style, pairs
        self._names, self._chosen, self._resumed = names, chosen, resumed
        self._endings = {**PICTURES, "cutout": style.ending}
        self._pictures = [picture for picture in PICTURES if picture in outputs]
        self._folders, self.shortened = _pair_folders(folder, names) if pairs else ({}, 0)
        sheets = sheet_paths(folder, 2 * len(self._folders) if pairs else len(names)) if SHEET in outputs else []
        groups = list(self._folders) if pairs else [tuple(range(len(names)))]
        pictures = [
            path
            for group in groups
            for k in group
            for name in (None, *objects)
            for path in self._all(k, group, name).values()
        ]
        files = [*pictures, *sheets, *extra_files]
        self.count = len(files)
        photographs = {os.path.realpath(path) for path in sources}
        existing = [path for path in files if os.path.lexists(path)]
        self.kept = [path for path in existing if not overwrite or os.path.realpath(path) in photographs]
        self._kept = set(self.kept)
        self.sheets = [None if path in self._kept else path for path in sheets]

    def wanted(self, k: int, group: Sequence[int], name: str | None = None) -> dict[str, Path]:
        """The files to write of image `k` as one of `group`, or of that pair, by the names of `PICTURES`.

        With `objects`: of the object `name`; None: those that show all of them, ``mask`` for the label map.
        """
        return {picture: path for picture, path in self._all(k, group, name).items() if path not in self._kept}

    def listed(self, k: int, group: Sequence[int], name: str | None = None) -> dict[str, Path]:
        """As `wanted`, the files that the scores name."""
        return self._all(k, group, name) if self._resumed else self.wanted(k, group, name)

    def is_kept(self, path: Path) -> bool:
        """Whether a file exists and will not be replaced."""
        return path in self._kept

    def _all(self, k: int, group: Sequence[int], name: str | None) -> dict[str, Path]:
        if self._chosen is not None and (k not in self._chosen or name is not None):
            return {}
        folder = self._folders[group[0], group[1]] if self.pairs else self.folder / (name or "")
        endings = {**self._endings, "mask": LABELS} if self.objects and name is None else self._endings
        pictures = [picture for picture in self._pictures if picture != "cutout" or endings is self._endings]
        return {picture: folder / f"{self._names[k]}{endings[picture]}" for picture in pictures}


def sheet_paths(folder: Path, cards: int) -> list[Path]:
    """The files of the contact sheets for so many cards: ``sheet.png``, ``sheet-2.png`` and so on."""
    pages = -(-cards // CARDS_PER_SHEET)
    return [folder / ("sheet.png" if page == 1 else f"sheet-{page}.png") for page in range(1, pages + 1)]


def longest_of_results(folder: Path) -> int:
    """The limit of a result's name, in bytes, without the ending and what is added to it while the file is written."""
    return longest_name(folder) - max(map(len, (*PICTURES.values(), LABELS))) - _TEMPORARY_BYTES


def check_folder(folder: Path) -> None:
    """Check that files can be written into `folder`, which need not exist, and leave it as it was.

    Raises:
        CosegError: they can't.
    """
    for attempt in range(_ATTEMPTS):
        new = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return
        except FileNotFoundError as error:  # another process that checks the folder has just removed it
            if attempt == _ATTEMPTS - 1:
                raise _not_writable(folder, error) from None
        except (OSError, ValueError) as error:
            raise _not_writable(folder, error) from None
        finally:
            for path in new:
                with suppress(OSError, ValueError):
                    path.rmdir()


def _not_writable(folder: Path, error: OSError | ValueError) -> CosegError:
    reason = getattr(error, "strerror", None) or error
    return CosegError(f"Nothing can be written to {folder} ({reason}): choose another folder.")


def _pair_folders(folder: Path, names: Sequence[str]) -> tuple[dict[tuple[int, int], Path], int]:
    """The folder of each pair, and how many of them have a shortened name."""
    pairs = list(combinations(range(len(names)), 2))
    full = [f"{names[i]}+{names[j]}" for i, j in pairs]
    limit = longest_name(folder)
    chosen = unique_names(full, limit)  # a+b and c, a and b+c
    shortened = sum(len(os.fsencode(name)) > limit for name in full)
    return {pair: folder / name for pair, name in zip(pairs, chosen, strict=True)}, shortened
