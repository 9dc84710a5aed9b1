"""Data sets whose images come in groups: every image of a group shows the group's object, pairs stay within a group."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from coseg.configs import groups_name
from coseg.data.catalog import Catalog, CheckedImage, Note, Reader, check_images, exposure_notes, sound_images
from coseg.data.presence import kept_facts, settings_of
from coseg.data.readers.files import Groups, first_three, not_taken, pictures_not_taken
from coseg.errors import CosegError
from coseg.files.stored import data_path
from coseg.imaging.masks import read_mask
from coseg.imaging.read import UNREADABLE, damaged, open_image, photograph_size, read_photograph
from coseg.labels import VOID

log = logging.getLogger(__name__)

FOREGROUND, OTHER_OBJECT = 1, 2
"""Values of a decoded truth: the group's object, and an object of another class; 0 is background, 255 void."""


class GroupImage(NamedTuple):
    """One image with its truth.

    Attributes:
        id: unique in the data set.
        group: the name of its group.
        image: its file.
        mask: the file of its truth.
        void: 255 is void in its mask, as other masks of the group show; see `read_mask`.
    """

    id: str
    group: str
    image: Path
    mask: Path
    void: bool = False


Truth = Callable[[GroupImage], NDArray[np.uint8]]
"""Decodes the mask of an image: uint8 (H, W) of 0, `FOREGROUND`, `OTHER_OBJECT` and 255. A function of a module."""


def binary_truth(item: GroupImage) -> NDArray[np.uint8]:
    """The truth of a data set with binary masks; see `read_mask`."""
    return read_mask(item.mask, item.void)


def grey_truth(item: GroupImage, above: int = 128, resized: bool = False) -> NDArray[np.uint8]:
    """The truth of an image as a grey map: 1 above a value; without such a pixel, it is read as other masks are.

    Args:
        item: the image.
        above: a grey value.
        resized: a truth of another size than its photograph gets the photograph's size, by the nearest pixel.

    Returns:
        uint8 (H, W).

    Raises:
        CosegError: the file is damaged, or its values are not those of a mask.
    """
    try:
        with open_image(item.mask) as file:
            image = ImageOps.exif_transpose(file)
            plain = image.mode in ("1", "L", "P", "RGB")
            truth = (np.asarray(image.convert("L")) > above).astype(np.uint8) if plain else None
    except UNREADABLE as error:
        raise damaged(item.mask, error) from error
    truth = truth if truth is not None and truth.any() else read_mask(item.mask)
    if resized and truth.shape != (size := photograph_size(item.image)):
        truth = np.array(Image.fromarray(truth).resize(size[::-1], Image.Resampling.NEAREST))
    return truth


class ImageSet(NamedTuple):
    """What a reader lists on disk: the name of the image set, the images of each group, and how to decode a truth."""

    name: str
    groups: dict[str, list[GroupImage]]
    truth: Truth = binary_truth

    @property
    def items(self) -> list[GroupImage]:
        """The images of all groups."""
        return [item for members in self.groups.values() for item in members]


class GroupCatalog(Catalog):
    """Images in groups; class ``k`` is the object of group ``class_names[k]``, other objects have the label K + 1."""

    def __init__(
        self,
        name: str,
        split: str,
        items: Sequence[GroupImage],
        groups: Sequence[str],
        foreground: NDArray[np.bool_],
        truth: Truth,
        expected: int | None,
    ) -> None:
        numbers = {group: k for k, group in enumerate(groups)}
        presence = np.zeros((len(items), len(groups)), np.bool_)
        for i, item in enumerate(items):
            presence[i, numbers[item.group]] = foreground[i]
        super().__init__(name, split, [item.id for item in items], groups, presence, expected)
        self.items = tuple(items)
        self._truth = truth

    def image(self, i: int) -> NDArray[np.uint8]:
        """Image ``i`` as RGB uint8 of shape (H, W, 3).

        Raises:
            CosegError: the file is gone or damaged.
        """
        return read_photograph(self.items[i].image)

    def labels(self, i: int) -> NDArray[np.uint8]:
        """The label map of image ``i`` as uint8 of shape (H, W).

        Raises:
            CosegError: the file is gone or damaged.
        """
        item = self.items[i]
        table = np.zeros(256, np.uint8)
        table[FOREGROUND] = 1 + self.class_names.index(item.group)
        table[OTHER_OBJECT] = 1 + len(self.class_names)
        table[VOID] = VOID
        return table[self._truth(item)]

    def files(self, images: Iterable[int] | None = None) -> Iterator[Path]:
        """See `Catalog.files`."""
        for i in range(len(self)) if images is None else images:
            yield self.items[i].image
            yield self.items[i].mask


class GroupReader(Reader):
    """Reads a data set that comes in groups. It has one split, whose name says which groups were chosen.

    Args:
        root: the folder of the data set; each reader documents its layout.
        groups: ``test`` (those of the literature), ``all``, or a list of names.
    """

    needs_foreground = True
    """Whether an image without a foreground pixel is a mistake; otherwise it is in no pair."""

    def __init__(self, root: str | os.PathLike[str] | None, groups: Groups = "test") -> None:
        self.root = data_path(root)
        self.groups = groups if isinstance(groups, str) else [str(group) for group in groups]
        self.splits = (groups_name(self.groups),)

    @abstractmethod
    def find(self) -> ImageSet:
        """The images of each chosen group, without decoding any.

        Raises:
            CosegError: the layout is not there, a group does not exist, an image has no mask.
        """

    def expected(self, name: str, groups: Sequence[str]) -> Mapping[str, int | None]:
        """How many images the release of the image set `name` has in each of `groups`; None: not known."""
        return dict.fromkeys(groups)

    def expected_images(self, image_set: ImageSet) -> int | None:
        """How many images the release has in the chosen groups; None: as far as is known, those on disk.

        Groups whose number is not known count as they are: the known ones still reveal another set of images.
        """
        counts = self.expected(image_set.name, list(image_set.groups))
        total = sum(len(image_set.groups[group]) if count is None else count for group, count in counts.items())
        return None if None in counts.values() and total == len(image_set.items) else total

    def strays(self) -> list[Path]:
        """Masks that belong to no image: no harm to a test, but often a misnamed image."""
        return []

    def read(self, split: str) -> GroupCatalog:
        """The catalog of the chosen groups. Every mask is decoded once.

        Raises:
            CosegError: as `find`; a group has fewer than two images; a file is damaged; a mask has another size than
                its image or, where every image must show the object, no foreground.
        """
        return self._read(split, skip_damaged=False)[0]

    def read_sound(self, split: str) -> tuple[GroupCatalog, list[str]]:
        """See `Reader.read_sound`."""
        return self._read(split, skip_damaged=True)

    def _read(self, split: str, skip_damaged: bool) -> tuple[GroupCatalog, list[str]]:
        """The catalog, and a sentence for each image that was left out."""
        self.check_split(split)
        image_set = self.find()
        pictures, _ = not_taken(_folders(image_set))
        if pictures:
            log.warning(pictures_not_taken(pictures))
        checked = self._kept(split, image_set, skip_damaged)
        sound, errors = sound_images(checked, skip_damaged)
        return self._catalog(split, image_set, sound), errors

    def problems(self, split: str) -> Iterator[str]:
        """See `Reader.problems`."""
        self.check_split(split)
        try:
            image_set = self.find()
        except CosegError as error:
            yield str(error)
            return
        expected = self.expected(image_set.name, list(image_set.groups))
        counts = {group: len(members) for group, members in image_set.groups.items()}
        unexpected = [group for group, count in counts.items() if expected[group] not in (None, count)]
        for group, count in counts.items():
            if count < 2:
                yield f"the group {group} has {count} images: a pair needs two"
            if group in unexpected:
                yield f"the group {group} has {count} images, the release {expected[group]}"
        released, total = self.expected_images(image_set), len(image_set.items)
        if not unexpected and released not in (None, total):
            yield f"there are {total} images in {len(image_set.groups)} groups, the release has {released}"
        yield from (f"{path} belongs to no image" for path in self.strays())
        pictures, other_files = not_taken(_folders(image_set))
        if pictures:
            yield pictures_not_taken(pictures)
        if other_files:
            names = first_three([str(path) for path in other_files])
            yield Note(f"{len(other_files)} files are no images: {names}")
        checked = self._checked(image_set, whole=True)
        yield from (str(image.error) for image in checked if image.error is not None)
        yield from exposure_notes(checked, lambda item: item.image)
        for group in counts:
            empty = [image.item for image in checked if image.item.group == group and image.facts and image.facts.empty]
            if empty:
                yield Note(
                    f"the group {group} has {len(empty)} of {counts[group]} images without the object, "
                    f"which are in no pair: {first_three([item.image.name for item in empty])}"
                )

    def _catalog(self, split: str, image_set: ImageSet, checked: Sequence[_CheckedImage]) -> GroupCatalog:
        counts = Counter(image.item.group for image in checked)
        for group, members in image_set.groups.items():
            if counts[group] < 2:
                lost = len(members) - counts[group]
                raise CosegError(
                    f"The group {group} has {len(members)} image{'' if len(members) == 1 else 's'} in {self.root}"
                    f"{f', of which {lost} are damaged' if lost else ''}, but a pair needs two: add images, or leave "
                    "the group out of dataset.groups."
                )
        items = [image.item for image in checked]
        foreground = np.array([not (image.facts and image.facts.empty) for image in checked])
        expected = self.expected_images(image_set)
        return GroupCatalog(image_set.name, split, items, list(image_set.groups), foreground, image_set.truth, expected)

    def _kept(self, split: str, image_set: ImageSet, whole: bool) -> list[_CheckedImage]:
        """`_checked`, or what it was at the last start; see `coseg.data.presence`."""
        truth = settings_of(image_set.truth)
        if truth is None or not type(self).__module__.startswith("coseg."):
            return self._checked(image_set, whole)
        return kept_facts(
            (type(self).__qualname__, self.root, image_set.name, split),
            (truth, self.needs_foreground, whole, [(item.group, item.void) for item in image_set.items]),
            image_set.items,
            lambda item: (item.image, item.mask),
            lambda: self._checked(image_set, whole),
            lambda image: np.array([*(image.facts or ()), image.item.void], np.bool_),
            lambda item, row: CheckedImage(item._replace(void=bool(row[2])), _MaskFacts(*row[:2].tolist()), None, None),
        )

    def _checked(self, image_set: ImageSet, whole: bool = False) -> list[_CheckedImage]:
        """See `check_images`."""

        def check(item: GroupImage) -> _MaskFacts:
            return self._check_mask(item, image_set.truth(item))

        checked = check_images(image_set.items, lambda item: item.image, check, whole)
        if image_set.truth is binary_truth:  # where some masks show that 255 is void, it is void in the whole group
            known = {k for k, image in enumerate(checked) if image.facts and image.facts.void}
            groups = {checked[k].item.group for k in known}
            unsure = [k for k, image in enumerate(checked) if image.item.group in groups and k not in known]
            again = [checked[k].item._replace(void=True) for k in unsure]
            for k, image in zip(unsure, check_images(again, lambda item: item.image, check, whole), strict=True):
                checked[k] = image
        return checked

    def _check_mask(self, item: GroupImage, mask: NDArray[np.uint8]) -> _MaskFacts:
        size = photograph_size(item.image)
        if mask.shape != size:
            raise CosegError(
                f"{item.mask} is {mask.shape[1]}x{mask.shape[0]} pixels, but its image {item.image.name} is "
                f"{size[1]}x{size[0]} (turned as its EXIF says): replace the one that is wrong, or take both out."
            )
        empty = not (mask == FOREGROUND).any()
        if self.needs_foreground and empty:
            raise CosegError(
                f"{item.mask} labels no pixel as {item.group}, but every image of a group shows its object: correct "
                "the mask, or take it and its image out."
            )
        return _MaskFacts(empty, bool((mask == VOID).any()))


class _MaskFacts(NamedTuple):
    """Whether a mask has no pixel of the object, and whether it has void."""

    empty: bool
    void: bool


_CheckedImage = CheckedImage[GroupImage, _MaskFacts]


def _folders(image_set: ImageSet) -> list[Path]:
    """The folders of images and masks."""
    return sorted({path.parent for item in image_set.items for path in (item.image, item.mask)})
