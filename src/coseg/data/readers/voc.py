"""PASCAL VOC 2012 segmentation, in the layout of its development kit (Everingham et al., IJCV 2015)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.data.catalog import VOID, Catalog, Note, Reader
from coseg.data.images import UNREADABLE, damaged, exposure_note, open_image, photograph_size, read_photograph
from coseg.data.readers.files import first_three
from coseg.data.readers.voc_layout import check_files, files_of, find_folder, missing_files, read_list
from coseg.errors import CosegError, DamagedFile

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The 20 classes; label ``k + 1`` is ``VOC_CLASSES[k]``."""

TRAIN_IMAGES = 1464
VAL_IMAGES = 1449
VALIDATION_ROWS = 724
"""Rows of ``val.txt`` that are the validation split; the others are the test split."""


class VocCatalog(Catalog):
    """A split of VOC; each access decodes the image or the label map of `files` that an id has."""

    def __init__(
        self,
        files: Mapping[str, tuple[Path, Path]],
        split: str,
        ids: Sequence[str],
        presence: NDArray[np.bool_],
        expected: int | None = None,
    ) -> None:
        super().__init__(VocReader.name, split, ids, VOC_CLASSES, presence, expected)
        self._files = [files[name] for name in ids]

    def image(self, i: int) -> NDArray[np.uint8]:
        """Image ``i`` as RGB uint8 of shape (H, W, 3).

        Raises:
            CosegError: the file is gone or damaged.
        """
        return read_photograph(self._files[i][0])

    def labels(self, i: int) -> NDArray[np.uint8]:
        """The label map of image ``i`` as uint8 of shape (H, W).

        Raises:
            CosegError: the file is gone or damaged.
        """
        path = self._files[i][1]
        try:
            with open_image(path) as file:
                _check_mode(path, file)
                return np.array(file)
        except UNREADABLE as error:
            raise damaged(path, error) from error

    def files(self) -> Iterator[Path]:
        """See `Catalog.files`."""
        for image, mask in self._files:
            yield image
            yield mask


class VocReader(Reader):
    """Reads a folder in the layout of VOC 2012; which classes an image holds is read from its mask's pixels.

    Args:
        root: the folder that holds ``ImageSets``, ``JPEGImages`` and ``SegmentationClass``, or one that holds it as
            ``VOC2012`` or ``VOCdevkit/VOC2012``.
        split_val: True for the published protocol, in which rows 1-724 of ``val.txt``, in the file's order, are the
            split ``val`` and rows 725-1449 the split ``test``. (The paper calls its split random; this one gives its
            46,973 and 37,700 pairs exactly.) False takes ``val.txt`` whole as ``val``, for lists of one's own.
    """

    name = "voc"

    def __init__(self, root: str | os.PathLike[str] | None, split_val: bool = True) -> None:
        self.root = Path(root).expanduser() if root else None
        self.split_val = split_val
        self.splits = ("train", "val", "test") if split_val else ("train", "val")

    def read(self, split: str) -> VocCatalog:
        """The catalog of one split. Every mask is decoded once, some seconds for VOC.

        Raises:
            CosegError: there is no such split; the folder, a list, an image or a mask is missing; a list is empty or
                names an image twice; ``val.txt`` is to be split and does not have 1449 rows; a mask is damaged, not a
                palette or grey picture, of another size than its image, or has a label other than 0-20 and 255.
        """
        folder, ids, path, expected = self._list(split)
        check_files(folder, ids, path)
        files = files_of(folder, ids)
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter's lock
            rows = list(pool.map(lambda name: classes_of(*files[name]), ids))
        return VocCatalog(files, split, ids, np.stack(rows), expected)

    def read_sound(self, split: str) -> tuple[VocCatalog, list[str]]:
        """See `Reader.read_sound`."""
        folder, ids, path, expected = self._list(split)
        check_files(folder, ids, path)
        files = files_of(folder, ids)

        def row(name: str) -> NDArray[np.bool_] | str:
            try:
                read_photograph(files[name][0])
                return classes_of(*files[name])
            except DamagedFile as error:
                return str(error)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            rows = dict(zip(ids, pool.map(row, ids), strict=True))
        sound = {name: classes for name, classes in rows.items() if not isinstance(classes, str)}
        if not sound:
            raise CosegError(f"None of the {len(ids)} images that {path} names can be read: unpack the archive again.")
        catalog = VocCatalog(files, split, list(sound), np.stack(list(sound.values())), expected)
        return catalog, [classes for classes in rows.values() if isinstance(classes, str)]

    def problems(self, split: str) -> Iterator[str]:
        """See `Reader.problems`."""
        self.check_split(split)
        try:
            folder, ids, _, expected = self._list(split)
        except CosegError as error:
            yield str(error)
            return
        if self.split_val and len(ids) != expected:
            yield f"the split {split} has {len(ids)} images, that of VOC 2012 {expected}"
        try:
            gone = set(missing_files(folder, ids))
            files = files_of(folder, ids)
        except CosegError as error:
            yield str(error)
            return
        yield from (f"{path} is missing" for path in sorted(gone))

        def problem(name: str) -> str | None:
            image, mask = files[name]
            try:
                note = exposure_note(read_photograph(image))
                classes_of(image, mask)
            except CosegError as error:
                return str(error)
            return None if note is None else Note(f"{image} is {note}")

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            yield from filter(None, pool.map(problem, (name for name in ids if not gone & set(files[name]))))

    def _list(self, split: str) -> tuple[Path, list[str], Path, int]:
        """The folder, the ids of `split` and the list they are from, and how many VOC 2012 has."""
        self.check_split(split)
        folder = find_folder(self.root)
        path = folder / "ImageSets" / "Segmentation" / ("train.txt" if split == "train" else "val.txt")
        ids = read_list(path)
        expected = TRAIN_IMAGES if split == "train" else VAL_IMAGES
        if self.split_val and split != "train":
            if len(ids) != VAL_IMAGES:
                raise CosegError(
                    f"{path} has {len(ids)} rows, but the published split into validation and test needs the "
                    f"{VAL_IMAGES} rows of VOC 2012. For a list of your own set dataset.split_val=false, which takes "
                    "it whole as the split 'val'."
                )
            ids = ids[:VALIDATION_ROWS] if split == "val" else ids[VALIDATION_ROWS:]
            expected = len(ids)
        return folder, ids, path, expected


def classes_of(image: Path, path: Path) -> NDArray[np.bool_]:
    """Which classes have a pixel in the label map `path` of an image, bool (20,).

    Raises:
        CosegError: the mask is damaged, of the wrong kind or size, or has a label that is none.
    """
    height, width = photograph_size(image)
    try:
        with open_image(path) as file:
            _check_mode(path, file)
            mask_size, pixels = file.size, np.array(file.histogram())
    except UNREADABLE as error:
        raise damaged(path, error) from error
    if mask_size != (width, height):
        raise CosegError(
            f"{path} is {mask_size[0]}x{mask_size[1]} pixels, but its image {image.name} is {width}x{height}: "
            "replace the one that is wrong, or take the image out of the list."
        )
    unknown = [str(label) for label in np.flatnonzero(pixels) if len(VOC_CLASSES) < label < VOID]
    if unknown:
        raise CosegError(
            f"{path} has pixels that are labelled {first_three(unknown)}, but labels are 0 for background, "
            f"1 to {len(VOC_CLASSES)} for the classes and {VOID} for void: correct the mask, or take its image out of "
            "the list."
        )
    return pixels[1 : 1 + len(VOC_CLASSES)] > 0


def _check_mode(path: Path, file: Image.Image) -> None:
    if file.mode not in ("P", "L"):
        raise CosegError(
            f"{path} is a picture of mode {file.mode}, but a mask must be a palette (P) or 8-bit grey (L) picture "
            "whose values are the labels: use VOC's own SegmentationClass files, not masks that were saved as colours."
        )
