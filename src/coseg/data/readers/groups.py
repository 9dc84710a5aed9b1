"""Data sets whose images come in groups: every image of a group shows the group's object, pairs stay within a group."""

from __future__ import annotations

import hashlib
import logging
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coseg.data.catalog import VOID, Catalog, Note, Reader
from coseg.data.images import exposure_note, photograph_size, read_photograph
from coseg.data.masks import read_mask
from coseg.data.readers.files import first_three, not_taken, pictures_not_taken, same_form
from coseg.errors import CosegError, DamagedFile, unknown_choice

log = logging.getLogger(__name__)

FOREGROUND, OTHER_OBJECT = 1, 2
"""Values of a decoded truth: the group's object, and an object of another kind; 0 is background, 255 void."""

Groups = str | Sequence[str]
"""The name of a choice of groups (``test``, ``all``), or a list of groups."""


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


class Found(NamedTuple):
    """What a reader finds on disk: the name of the image set, the images of each group, and how to decode a truth."""

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

    def files(self) -> Iterator[Path]:
        """See `Catalog.files`."""
        for item in self.items:
            yield item.image
            yield item.mask


class GroupReader(Reader):
    """Reads a data set that comes in groups. It has one split, whose name says which groups were chosen.

    Args:
        root: the folder of the data set; each reader draws its layout.
        groups: ``test`` (those of the literature), ``all``, or a list of names.
    """

    needs_foreground = True
    """Whether an image without a foreground pixel is a mistake; otherwise it is in no pair."""

    def __init__(self, root: str | os.PathLike[str] | None, groups: Groups = "test") -> None:
        self.root = Path(root).expanduser() if root else None
        self.groups = groups if isinstance(groups, str) else [str(group) for group in groups]
        self.splits = (groups_name(self.groups),)

    @abstractmethod
    def find(self) -> Found:
        """The images of each chosen group, without decoding any.

        Raises:
            CosegError: the layout is not there, a group does not exist, an image has no mask.
        """

    def expected(self, name: str, groups: Sequence[str]) -> Mapping[str, int | None]:
        """How many images the release of the image set `name` has in each of `groups`; None: not known."""
        return dict.fromkeys(groups)

    def expected_images(self, found: Found) -> int | None:
        """How many images the release has in the chosen groups; None: as far as is known, those that were found.

        Groups whose number is not known count as they were found: the others can still tell another set of images.
        """
        counts = self.expected(found.name, list(found.groups))
        total = sum(len(found.groups[group]) if count is None else count for group, count in counts.items())
        return None if None in counts.values() and total == len(found.items) else total

    def strays(self) -> list[Path]:
        """Masks that belong to no image: no harm to a test, but often a misnamed image."""
        return []

    def read(self, split: str) -> GroupCatalog:
        """The catalog of the chosen groups. Every mask is decoded once.

        Raises:
            CosegError: as `find`; a group has fewer than two images; a file is damaged; a mask has another size than
                its image or, where every image must show the object, no foreground.
        """
        found = self._found(split)
        checked = self._checked(found.items, found.truth)
        for image in checked:
            if image.error is not None:
                raise image.error
        return self._catalog(split, found, checked)

    def read_sound(self, split: str) -> tuple[GroupCatalog, list[str]]:
        """See `Reader.read_sound`."""
        found = self._found(split)
        checked = self._checked(found.items, found.truth, whole=True)
        for image in checked:
            if image.error is not None and not isinstance(image.error, DamagedFile):
                raise image.error
        sound = [image for image in checked if image.error is None]
        return self._catalog(split, found, sound), [str(image.error) for image in checked if image.error is not None]

    def problems(self, split: str) -> Iterator[str]:
        """See `Reader.problems`."""
        self.check_split(split)
        try:
            found = self.find()
        except CosegError as error:
            yield str(error)
            return
        expected = self.expected(found.name, list(found.groups))
        other = [group for group, members in found.groups.items() if expected[group] not in (None, len(members))]
        for group, members in found.groups.items():
            if len(members) < 2:
                yield f"the group {group} has {len(members)} images: a pair needs two"
            if group in other:
                yield f"the group {group} has {len(members)} images, the release {expected[group]}"
        whole, count = self.expected_images(found), len(found.items)
        if not other and whole not in (None, count):
            yield f"there are {count} images in {len(found.groups)} groups, the release has {whole}"
        yield from (f"{path} belongs to no image" for path in self.strays())
        pictures, others = not_taken(_folders(found))
        if pictures:
            yield pictures_not_taken(pictures)
        if others:
            yield Note(f"{len(others)} files are no images: {first_three([str(path) for path in others])}")
        checked = self._checked(found.items, found.truth, whole=True)
        yield from (str(image.error) for image in checked if image.error is not None)
        yield from (Note(f"{image.item.image} is {image.note}") for image in checked if image.note is not None)
        for group in found.groups:
            empty = [image.item for image in checked if image.item.group == group and image.empty]
            if empty:
                yield Note(
                    f"the group {group} has {len(empty)} of {len(found.groups[group])} images without the object, "
                    f"which are in no pair: {first_three([item.image.name for item in empty])}"
                )

    def _found(self, split: str) -> Found:
        """What is on disk; pictures that are not taken are logged."""
        self.check_split(split)
        found = self.find()
        pictures, _ = not_taken(_folders(found))
        if pictures:
            log.warning(pictures_not_taken(pictures))
        return found

    def _catalog(self, split: str, found: Found, checked: Sequence[_Checked]) -> GroupCatalog:
        counts = Counter(image.item.group for image in checked)
        for group, members in found.groups.items():
            if counts[group] < 2:
                lost = len(members) - counts[group]
                raise CosegError(
                    f"The group {group} has {len(members)} image{'' if len(members) == 1 else 's'} in {self.root}"
                    f"{f', of which {lost} are damaged' if lost else ''}, but a pair needs two: add images, or leave "
                    "the group out of dataset.groups."
                )
        items, foreground = [image.item for image in checked], np.array([not image.empty for image in checked])
        expected = self.expected_images(found)
        return GroupCatalog(found.name, split, items, list(found.groups), foreground, found.truth, expected)

    def _checked(self, items: Sequence[GroupImage], truth: Truth, whole: bool = False) -> list[_Checked]:
        """Each image with what is wrong with it; `whole`: photographs are decoded too."""

        def check(item: GroupImage) -> _Checked:
            note = None
            try:
                if whole:
                    note = exposure_note(read_photograph(item.image))
                return self._of_mask(item, truth(item), note)
            except CosegError as error:
                return _Checked(item, error=error, note=note)

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter's lock
            checked = list(pool.map(check, items))
            if truth is binary_truth:  # where some masks show that 255 is void, it is so in all of the group
                groups = {image.item.group for image in checked if image.void}
                unsure = [k for k, image in enumerate(checked) if image.item.group in groups and not image.void]
                again = pool.map(check, [checked[k].item._replace(void=True) for k in unsure])
                for k, image in zip(unsure, again, strict=True):
                    checked[k] = image
        return checked

    def _of_mask(self, item: GroupImage, mask: NDArray[np.uint8], note: str | None) -> _Checked:
        size = photograph_size(item.image)
        if mask.shape != size:
            raise CosegError(
                f"{item.mask} is {mask.shape[1]}x{mask.shape[0]} pixels, but its image {item.image.name} is "
                f"{size[1]}x{size[0]} (turned as its EXIF says): replace the one that is wrong, or take both out."
            )
        empty = not (mask == FOREGROUND).any()
        if self.needs_foreground and empty:
            raise CosegError(
                f"{item.mask} marks no pixel as {item.group}, but every image of a group shows its object: correct "
                "the mask, or take it and its image out."
            )
        return _Checked(item, empty=empty, void=bool((mask == VOID).any()), note=note)


class _Checked(NamedTuple):
    """An image that was looked at: whether its mask has no object, and void; what can't be read, or is to be noted."""

    item: GroupImage
    empty: bool = False
    void: bool = False
    error: CosegError | None = None
    note: str | None = None


def _folders(found: Found) -> list[Path]:
    """The folders of images and masks."""
    return sorted({path.parent for item in found.items for path in (item.image, item.mask)})


def groups_name(groups: Groups) -> str:
    """The split's name for a choice of groups: the choice's own, or the groups joined by ``+``; long lists hashed."""
    if isinstance(groups, str):
        return groups
    twice = [group for group, count in Counter(groups).items() if count > 1]
    if twice or not groups:
        raise CosegError(
            f"dataset.groups is {list(groups)}, but must name at least one group, and each once; or 'all'."
        )
    name = "+".join(groups)
    if len(name) > 60 or "/" in name:
        name = f"{len(groups)}_groups-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name


def chosen_groups(groups: Groups, known: Sequence[str], test: Sequence[str]) -> list[str]:
    """The names that a choice of groups means.

    Args:
        groups: ``test``, ``all``, or a list of names.
        known: the groups that there are.
        test: the groups that ``test`` means.

    Raises:
        CosegError: a group is not known; those that are known are listed and the nearest is suggested.
    """
    if groups == "all":
        return list(known)
    wanted = list(test) if groups == "test" else [groups] if isinstance(groups, str) else list(groups)
    by_lower = {same_form(name).lower(): name for name in reversed(known)}  # of names that differ by case, the first
    for name in wanted:
        if same_form(name).lower() not in by_lower:
            choices = known if groups == "test" else ("test", "all", *known)
            raise unknown_choice("dataset.groups", name, choices)
    return [by_lower[same_form(name).lower()] for name in wanted]
