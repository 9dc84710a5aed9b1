"""PASCAL VOC 2012 and 2010 segmentation, in the layout of their development kits (Everingham et al., IJCV 2015)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coseg.data.catalog import Catalog, CheckedImage, Note, Reader, check_images, sound_images
from coseg.data.presence import kept_facts
from coseg.data.readers.files import files_by_id, first_three, missing_id_hint, read_list
from coseg.errors import CosegError, unknown_choice
from coseg.files.stored import data_path
from coseg.imaging.read import UNREADABLE, damaged, open_image, photograph_size, read_photograph
from coseg.labels import VOID

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The 20 classes; label ``k + 1`` is ``VOC_CLASSES[k]``."""

RELEASES = {2012: {"train": 1464, "val": 1449}, 2010: {"train": 964, "val": 964, "trainval": 1928}}
"""Images of each list, by year."""

VALIDATION_LINES = 724
"""Lines of ``val.txt`` that are the validation split; the others are the test split."""

UNSEEN = "unseen"
"""The split of the classes that training leaves out."""

FOLDERS = ("JPEGImages", "SegmentationClass")
"""Of the images and of the label maps."""

LAYOUT = """
    VOC2012/
        JPEGImages/2007_000032.jpg …
        SegmentationClass/2007_000032.png …
        ImageSets/Segmentation/train.txt, val.txt"""

ARCHIVE = (
    "The data is the archive VOCtrainval_11-May-2012.tar of the PASCAL VOC 2012 page "
    "(http://host.robots.ox.ac.uk/pascal/VOC/voc2012/)."
)


class VocCatalog(Catalog):
    """A split of VOC; each access decodes the image or the label map of `files` that an id has."""

    def __init__(
        self,
        files: Mapping[str, tuple[Path, Path]],
        split: str,
        ids: Sequence[str],
        presence: NDArray[np.bool_],
        expected: int | None = None,
        name: str = "voc",
    ) -> None:
        super().__init__(name, split, ids, VOC_CLASSES, presence, expected)
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

    def files(self, images: Iterable[int] | None = None) -> Iterator[Path]:
        """See `Catalog.files`."""
        for i in range(len(self)) if images is None else images:
            yield from self._files[i]


class VocReader(Reader):
    """Reads a folder in the layout of VOC 2012; which classes an image holds is read from its mask's pixels.

    Args:
        root: the folder that holds ``ImageSets``, ``JPEGImages`` and ``SegmentationClass``, or one that holds it as
            ``VOC2012`` or ``VOCdevkit/VOC2012``.
        split_val: True for the published protocol, in which lines 1-724 of ``val.txt``, in the file's order, are the
            split ``val`` and lines 725-1449 the split ``test``. (The paper calls its split random; this one gives its
            46,973 and 37,700 pairs exactly.) False takes the whole ``val.txt`` as ``val``, for user-made lists.
        unseen_classes: names of classes that training is to leave out: no other split has an image with one of them,
            and a further split ``unseen`` has the images of the last split that show one; only they are classes there.
        release: a year of `RELEASES`; the data set of 2010 is ``voc2010``, whose splits are its three lists.

    Raises:
        CosegError: a name in `unseen_classes` is no class, or all classes are.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        split_val: bool = True,
        unseen_classes: Iterable[str] = (),
        release: int = 2012,
    ) -> None:
        self.root = data_path(root)
        if release not in RELEASES:
            raise unknown_choice("dataset.reader.release", str(release), [*map(str, RELEASES)])
        if split_val and release != 2012:
            raise CosegError(f"dataset.split_val=true is a split of VOC 2012, and this is VOC {release}: leave it out.")
        self.release = release
        self.name = "voc" if release == 2012 else f"voc{release}"
        self.split_val = split_val
        self.splits: tuple[str, ...] = ("train", "val", "test") if split_val else tuple(RELEASES[release])
        names = [unseen_classes] if isinstance(unseen_classes, str) else list(unseen_classes)
        for name in names:
            if name not in VOC_CLASSES:
                raise unknown_choice("dataset.unseen_classes", name, VOC_CLASSES)
        self.unseen = np.isin(VOC_CLASSES, names)
        if self.unseen.all():
            raise CosegError("dataset.unseen_classes names all classes, so none is left to train on.")
        if names:
            self.splits += (UNSEEN,)

    def read(self, split: str) -> VocCatalog:
        """The catalog of one split. Every mask is decoded once, some seconds for VOC.

        Raises:
            CosegError: there is no such split; the folder, a list, an image or a mask is missing; a list is empty or
                names an image twice; ``val.txt`` is to be split and does not have 1449 lines; a mask is damaged, not a
                palette or grey picture, of another size than its image, or has a label other than 0-20 and 255.
        """
        return self._read(split, skip_damaged=False)[0]

    def read_sound(self, split: str) -> tuple[VocCatalog, list[str]]:
        """See `Reader.read_sound`."""
        return self._read(split, skip_damaged=True)

    def _read(self, split: str, skip_damaged: bool) -> tuple[VocCatalog, list[str]]:
        """The catalog, and a sentence for each image that was left out."""
        folder, ids, path, expected = self._list(split)
        items = [_Item(name, *pair) for name, pair in check_files(folder, ids, path).items()]
        check = partial(_checked, items, whole=skip_damaged)
        checked = kept_facts(("voc", path, split), skip_damaged, items, lambda item: item[1:], check)
        sound, errors = sound_images(checked, skip_damaged)
        if not sound:
            raise CosegError(f"None of the {len(ids)} images that {path} names can be read: unpack the archive again.")
        presence = np.stack([image.facts for image in sound if image.facts is not None])
        if self.unseen.any():
            shown = presence[:, self.unseen].any(1)
            chosen: NDArray[np.bool_] = np.asarray(shown if split == UNSEEN else ~shown)
            if not chosen.any():
                raise CosegError(
                    f"Of the images that {path} names none is left for the split {split}: see dataset.unseen_classes."
                )
            sound = [image for image, kept in zip(sound, chosen, strict=True) if kept]
            presence = presence[chosen] & (self.unseen if split == UNSEEN else ~self.unseen)
        files = {image.item.id: (image.item.image, image.item.mask) for image in sound}
        return VocCatalog(files, split, list(files), presence, expected, self.name), errors

    def problems(self, split: str) -> Iterator[str]:
        """See `Reader.problems`."""
        self.check_split(split)
        try:
            folder, ids, _, expected = self._list(split)
        except CosegError as error:
            yield str(error)
            return
        if (self.split_val or self.release != 2012) and len(ids) != expected:
            yield f"the split {split} has {len(ids)} images, that of VOC {self.release} {expected}"
        try:
            gone = set(missing_files(folder, ids))
            files = files_of(folder, ids)
        except CosegError as error:
            yield str(error)
            return
        yield from (f"{path} is missing" for path in sorted(gone))
        for image in _checked([_Item(name, *files[name]) for name in ids if not gone & set(files[name])], whole=True):
            if image.error is not None:
                yield str(image.error)
            elif image.note is not None:
                yield Note(f"{image.item.image} is {image.note}")

    def _list(self, split: str) -> tuple[Path, list[str], Path, int]:
        """The folder, the ids of `split` and the list they are from, and how many VOC 2012 has."""
        self.check_split(split)
        split = ("test" if self.split_val else "val") if split == UNSEEN else split
        folder = find_folder(self.root, f"VOC{self.release}")
        name = "val" if split == "test" else split
        path = folder / "ImageSets" / "Segmentation" / f"{name}.txt"
        ids = read_list(path)
        expected = RELEASES[self.release][name]
        if self.split_val and split != "train":
            if len(ids) != expected:
                raise CosegError(
                    f"{path} has {len(ids)} lines, but the published split into validation and test needs the "
                    f"{expected} lines of VOC 2012. For a list of your own set dataset.split_val=false, which takes "
                    "it whole as the split 'val'."
                )
            ids = ids[:VALIDATION_LINES] if split == "val" else ids[VALIDATION_LINES:]
            expected = len(ids)
        return folder, ids, path, expected


class _Item(NamedTuple):
    id: str
    image: Path
    mask: Path


def _checked(items: Sequence[_Item], whole: bool) -> list[CheckedImage[_Item, NDArray[np.bool_]]]:
    return check_images(items, lambda item: item.image, lambda item: classes_of(item.image, item.mask), whole)


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


def image_path(folder: Path, name: str) -> Path:
    """Where VOC has the image `name`."""
    return folder / "JPEGImages" / f"{name}.jpg"


def mask_path(folder: Path, name: str) -> Path:
    """Where VOC has the label map of image `name`."""
    return folder / "SegmentationClass" / f"{name}.png"


def find_folder(root: Path | None, name: str = "VOC2012") -> Path:
    """The folder below `root`, or `root`, that holds ``ImageSets``, ``JPEGImages`` and ``SegmentationClass``.

    Raises:
        CosegError: there is none; the message shows the expected layout.
    """
    if root is None:
        raise _missing(
            "The data set voc needs its folder: set dataset.root=<folder>, or the environment variable COSEG_VOC_ROOT."
        )
    choose = "Set dataset.root (or COSEG_VOC_ROOT) to the folder of VOC 2012."
    if not root.is_dir():
        raise _missing(f"{root} is not a folder. {choose}")
    parts = ("ImageSets", *FOLDERS)
    missing = {
        folder: [part for part in parts if not (folder / part).is_dir()]
        for folder in (root, root / name, root / "VOCdevkit" / name)
    }
    nearest = min(missing, key=lambda folder: len(missing[folder]))
    if missing[nearest]:
        raise _missing(f"{nearest} has no folder {' and no '.join(missing[nearest])}. {choose}")
    return nearest


def _missing(start: str) -> CosegError:
    return CosegError(f"{start} {ARCHIVE} Unpacked, it looks like this:{LAYOUT}")


def files_of(folder: Path, ids: Sequence[str]) -> dict[str, tuple[Path, Path]]:
    """Image and label map of each of `ids`, of any suffix that is read; where one is missing, its usual path.

    Raises:
        CosegError: an id has two images, or two label maps.
    """
    images, masks = (files_by_id(folder / part, ids) for part in FOLDERS)
    return {
        name: (images.get(name, image_path(folder, name)), masks.get(name, mask_path(folder, name))) for name in ids
    }


def check_files(folder: Path, ids: Sequence[str], source: Path) -> dict[str, tuple[Path, Path]]:
    """Image and label map of each of `ids`, or refuse the list `source`, whose ids don't all have both in `folder`.

    Raises:
        CosegError: a file is missing.
    """
    images, masks = (files_by_id(folder / part, ids) for part in FOLDERS)
    wanted = (("image", ".jpg", images), ("mask", ".png", masks))
    for part, (what, suffix, files) in zip(FOLDERS, wanted, strict=True):
        missing = [name for name in ids if name not in files]
        if missing:
            where, names = folder / part, first_three([f"{name}{suffix}" for name in missing])
            raise CosegError(
                f"{source} names {len(ids)} images, of which {len(missing)} have no {what} in {where}: {names}."
                f"{missing_id_hint(where, missing[0])} Unpack the archive again, or take them out of the list."
            )
    return {name: (images[name], masks[name]) for name in ids}


def missing_files(folder: Path, ids: Sequence[str]) -> list[Path]:
    """The images and masks of `ids` that are not in `folder`."""
    missing = []
    for part, path_of in zip(FOLDERS, (image_path, mask_path), strict=True):
        files = files_by_id(folder / part, ids)
        missing += [path_of(folder, name) for name in ids if name not in files]
    return missing
