"""Masks in files as annotations that other programs read: COCO's instances and labelme's files.

Masks are pictures as `coseg.imaging.masks` reads them: those that ``coseg-predict`` and a test write, or anybody's. No
pixel changes: COCO's are run lengths, labelme's shapes of the type mask, and void is a crowd there and ``__ignore__``
here. The readers of both give back what was written.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.data.readers.files import same_form
from coseg.errors import CosegError
from coseg.files.writing import json_text
from coseg.imaging.masks import read_mask
from coseg.imaging.read import SUFFIXES, is_photograph, photograph_size
from coseg.imaging.regions import compressed_counts, mask_runs
from coseg.labels import VOID

MASK = "_mask"
"""How the names of masks end that ``coseg-predict`` writes."""

IGNORE = "__ignore__"
"""The label of void in labelme."""

_VERSION = "5.5.0"  # of labelme, whose keys these are


class MaskFile(NamedTuple):
    """A mask and what it belongs to.

    Attributes:
        mask: its file.
        image: the photograph.
        label: the class of its object.
    """

    mask: Path
    image: Path
    label: str

    def read(self) -> NDArray[np.uint8]:
        """The mask, uint8 (H, W): 1 object, 0 background, 255 void.

        Raises:
            CosegError: it can't be read, or is of another size than its photograph.
        """
        mask = read_mask(self.mask)
        size = photograph_size(self.image)
        if mask.shape != size:
            raise CosegError(
                f"{self.mask} is {mask.shape[1]}x{mask.shape[0]} pixels, but its image {self.image} is "
                f"{size[1]}x{size[0]} (turned as its EXIF says): give the folder of the images that were segmented."
            )
        return mask


def find_masks(folder: Path, images: Path, label: str | None = None) -> list[MaskFile]:
    """The masks in `folder` and the folders in it, with their photographs.

    Where files are named ``<name>_mask.png``, as ``coseg-predict`` names them, these are the masks; otherwise all
    pictures are. The photograph has the mask's name before the dot, in the same place below `images` or alone of its
    name anywhere below it.

    Args:
        folder: of the masks.
        images: the folder of the photographs.
        label: of all objects; None: the folder of a mask in `folder`, ``object`` for `folder` itself.

    Raises:
        CosegError: there is no mask, or one has no photograph, or several.
    """
    for place in (folder, images):
        if not place.is_dir():
            raise CosegError(
                f"{place} is not a folder: give the folder of the {'masks' if place == folder else 'images'}."
            )
    pictures = [path for path in _files(folder) if path.suffix.lower() in SUFFIXES]
    masks = [path for path in pictures if path.stem.endswith(MASK)] or pictures
    if not masks:
        raise CosegError(f"{folder} holds no masks: give the folder that coseg-predict wrote to.")
    chosen = set(masks)
    photographs: dict[str, list[Path]] = {}
    for path in _files(images):
        if is_photograph(path) and path not in chosen and not path.stem.endswith(MASK):
            photographs.setdefault(same_form(path.stem), []).append(path)
    files = []
    for mask in masks:
        place = mask.relative_to(folder).parent
        named = photographs.get(same_form(mask.stem.removesuffix(MASK)), [])
        near = [path for path in named if path.parent == images / place] or named
        if len(near) != 1:
            what = "no image" if not near else f"{len(near)} images, {near[0]} and {near[1]} among them,"
            raise CosegError(f"{mask} has {what} of its name in {images}: give their folder, or rename one.")
        files.append(MaskFile(mask, near[0], label or ("object" if place == Path() else place.as_posix())))
    return files


def coco_text(files: Sequence[MaskFile], images: Path) -> str:
    """The masks as a file of COCO's instances: an annotation for each that is not empty, and a crowd for its void.

    Args:
        files: the masks.
        images: the folder below which ``file_name`` lies.

    Raises:
        CosegError: a mask does not fit.
    """
    labels = {label: k for k, label in enumerate(sorted({file.label for file in files}), 1)}
    pictures: dict[Path, dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    for file in files:
        mask = file.read()
        height, width = mask.shape
        name = file.image.relative_to(images).as_posix()
        entry = {"id": len(pictures) + 1, "file_name": name, "height": height, "width": width}
        number = pictures.setdefault(file.image, entry)["id"]
        for value in (1, VOID):
            region = mask == value
            if not region.any():
                continue
            runs = mask_runs(region)
            left, top, right, bottom = _extent(region)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": labels[file.label],
                    "segmentation": {"size": [height, width], "counts": compressed_counts(runs.counts)},
                    "area": int(runs.area),
                    "bbox": [left, top, right - left + 1, bottom - top + 1],
                    "iscrowd": int(value == VOID),
                }
            )
    document = {
        "info": {"description": "masks exported by coseg"},
        "licenses": [],
        "images": list(pictures.values()),
        "annotations": annotations,
        "categories": [{"id": k, "name": label, "supercategory": ""} for label, k in labels.items()],
    }
    return json_text(document, indent=None)


def labelme_texts(files: Iterable[MaskFile], folder: Path, images: Path) -> dict[Path, str]:
    """The content of each file of labelme in `folder`: one for each photograph, a shape for each mask and void.

    Void comes first and smaller objects later, since in labelme the later shape is on top.

    Args:
        files: the masks.
        folder: where the files will be, so that they lead to the photographs.
        images: the folder of the photographs; those in folders in it have their files in such folders of `folder`.

    Raises:
        CosegError: a mask does not fit, or two photographs would have one file.
    """
    documents: dict[Path, list[MaskFile]] = {}
    for file in files:
        path = folder / file.image.relative_to(images).with_suffix(".json")
        known = documents.setdefault(path, [])
        if known and known[0].image != file.image:
            raise CosegError(f"{known[0].image.name} and {file.image.name} would both be {path}: rename one.")
        known.append(file)
    return {path: _labelme_text(path, known) for path, known in documents.items()}


def _labelme_text(path: Path, files: Sequence[MaskFile]) -> str:
    masks = [(file.label, file.read()) for file in files]
    height, width = masks[0][1].shape
    objects = sorted(((label, mask == 1) for label, mask in masks), key=lambda pair: -int(pair[1].sum()))
    regions = [*((IGNORE, mask == VOID) for _, mask in masks), *objects]
    document = {
        "version": _VERSION,
        "flags": {},
        "shapes": [_shape(label, region) for label, region in regions if region.any()],
        "imagePath": Path(os.path.relpath(files[0].image, path.parent)).as_posix(),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    return json_text(document)


def _shape(label: str, region: NDArray[np.bool_]) -> dict[str, Any]:
    left, top, right, bottom = _extent(region)
    buffer = io.BytesIO()
    Image.fromarray(region[top : bottom + 1, left : right + 1].astype(np.uint8)).save(buffer, "PNG")
    return {
        "label": label,
        "points": [[left, top], [right, bottom]],
        "group_id": None,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(buffer.getvalue()).decode("ascii"),
    }


def _extent(region: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The first and last column and row: left, top, right, bottom."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def _files(folder: Path) -> list[Path]:
    """Files below a folder in order, hidden ones left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
