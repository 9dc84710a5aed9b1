"""A user's folder: images and binary masks, in one or several classes.

::

    <root>/
        <class>/
            images/  anything.jpg …
            masks/   anything.png …      the mask of an image has its name before the dot, or that of a pattern
        <another class>/ …

or, for a single class, ``<root>/images`` and ``<root>/masks``. `coseg.imaging.masks` lists the accepted masks. An
image whose mask is empty is in no pair.

The folders may have other names, and images and masks may be in one folder: so ``conf/dataset`` reads the layouts of
FSS-1000 and of the Weizmann horses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from coseg.data.readers.files import (
    STEM,
    checked_pattern,
    child_folder,
    chosen_groups,
    first_three,
    paired,
    read_list,
    same_form,
    subfolders,
    without_image,
)
from coseg.data.readers.groups import GroupImage, GroupReader, Groups, ImageSet, binary_truth, grey_truth
from coseg.errors import CosegError
from coseg.imaging.read import is_photograph

_APOSTROPHES = str.maketrans("", "", "'\u2019")  # FSS-1000 lists abe's_flyingfish, whose folder is abes_flyingfish


class FolderReader(GroupReader):
    """Reads a user's folder of images and masks.

    Args:
        root: the folder.
        groups: ``all`` or ``test`` (every class), or a list of classes. With a `test_list`, ``test`` are its classes
            and ``train`` all others.
        mask_pattern: a mask's name before the dot, with ``{stem}`` for that of its image: ``{stem}_mask`` say.
        name: of the data set in results.
        images, masks: folders in that of a class; ``.`` is the folder of the class itself. Where both are one folder,
            masks are the files that fit `mask_pattern`, or the PNG files if masks are named as their images.
        above: masks are grey maps, with the object above this value; None: see `coseg.imaging.masks`.
        resize_masks: a mask of another size is resized to its image; otherwise it is refused. Only with `above`.
        class_name: of the only class, if `root` has no folders of classes; None: the name of `root`.
        test_list: a file in `root`, or beside it, that names a class a line.
        published_groups: how many classes the release has; None: not known.
        published_images: how many images each of them has.
    """

    needs_foreground = False

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        groups: Groups = "test",
        mask_pattern: str = STEM,
        name: str = "folder",
        images: str = "images",
        masks: str = "masks",
        above: int | None = None,
        resize_masks: bool = False,
        class_name: str | None = None,
        test_list: str | None = None,
        published_groups: int | None = None,
        published_images: int | None = None,
    ) -> None:
        super().__init__(root, groups)
        self.mask_pattern = checked_pattern(mask_pattern)
        self.name = name
        self.folders = tuple(_inside(key, value) for key, value in (("images", images), ("masks", masks)))
        self.above = above
        self.resize_masks = resize_masks
        self.class_name = class_name
        self.test_list = test_list
        self.published_groups = published_groups
        self.published_images = published_images

    def find(self) -> ImageSet:
        """See `GroupReader.find`."""
        classes = self._classes()
        wanted = self._chosen(list(classes))
        groups = {
            name: [
                GroupImage(f"{name}/{stem}", name, image, mask)
                for stem, image, mask in paired(*classes[name], self.mask_pattern)
            ]
            for name in wanted
        }
        grey = None if self.above is None else partial(grey_truth, above=self.above, resized=self.resize_masks)
        return ImageSet(self.name, groups, binary_truth if grey is None else grey)

    def expected(self, name: str, groups: Sequence[str]) -> Mapping[str, int | None]:
        """See `GroupReader.expected`."""
        return dict.fromkeys(groups, self.published_images)

    def expected_images(self, image_set: ImageSet) -> int | None:
        """See `GroupReader.expected_images`. Of all classes it is known how many there are."""
        if self.groups == "all" and self.published_groups is not None and self.published_images is not None:
            return self.published_groups * self.published_images
        return super().expected_images(image_set)

    def problems(self, split: str) -> Iterator[str]:
        """See `Reader.problems`."""
        yield from super().problems(split)
        if self.groups != "all" or self.published_groups is None:
            return
        try:
            count = len(self._classes())
        except CosegError:
            return  # reported above
        if count != self.published_groups:
            yield f"there are {count} classes, the release has {self.published_groups}"

    def strays(self) -> list[Path]:
        """See `GroupReader.strays`."""
        folders = self._classes().values()
        return [path for images, masks in folders for path in without_image(images, masks, self.mask_pattern)]

    def _chosen(self, classes: list[str]) -> list[str]:
        """The classes that are chosen, in the order of the choice."""
        if self.test_list is None or self.groups not in ("test", "train"):
            return chosen_groups(self.groups, classes, classes)
        assert self.root is not None  # its classes are known
        places = [folder / self.test_list for folder in (self.root, self.root.parent)]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise CosegError(
                f"The classes of {self.name} for a test are listed in the file {self.test_list}, which is missing in "
                f"{self.root}: put it there, or set dataset.groups=all, or a list of classes."
            )
        by_name = {name.translate(_APOSTROPHES).lower(): name for name in classes}
        listed = {name: by_name.get(same_form(name).translate(_APOSTROPHES).lower()) for name in read_list(path)}
        if lacking := [name for name, known in listed.items() if known is None]:
            raise CosegError(
                f"{path} names {len(listed)} classes, of which {len(lacking)} have no folder in {self.root}: "
                f"{first_three(lacking)}. Unpack the archive again, or correct the list."
            )
        test = [name for name in listed.values() if name is not None]
        return test if self.groups == "test" else [name for name in classes if name not in set(test)]

    def _classes(self) -> dict[str, tuple[Path, Path]]:
        """Images and masks of each class."""
        root = self.root
        if root is None or not root.is_dir():
            start = f"The data set {self.name} needs a folder" if root is None else f"{root} is not a folder"
            raise self._missing(f"{start}: set dataset.root=<folder>.")
        single = self._images_and_masks(root)
        if single is not None:
            return {self.class_name or same_form(root.resolve().name): single}
        candidates = {same_form(path.name): self._images_and_masks(path) for path in subfolders(root)}
        classes = {name: folders for name, folders in candidates.items() if folders is not None}
        if not classes:
            raise self._missing(f"{root} has no images and masks.")
        without = [name for name in candidates if name not in classes]
        if without and self.folders == (".", "."):
            raise self._missing(f"{root / without[0]} has no images.")
        if without:
            images, masks = self.folders
            raise self._missing(f"{root / without[0]} has not both a folder {images} and a folder {masks}.")
        return classes

    def _images_and_masks(self, folder: Path) -> tuple[Path, Path] | None:
        images, masks = (_below(folder, name) for name in self.folders)
        if images is None or masks is None:
            return None
        loose = images == masks == folder  # every folder is one of classes, or holds images itself
        if loose and not any(is_photograph(path) for path in folder.iterdir()):
            return None
        return images, masks

    def _missing(self, start: str) -> CosegError:
        images, masks = ("" if name == "." else f"{name}/" for name in self.folders)
        return CosegError(
            f"{start} It looks like this, for one class without the folder <class>:\n"
            f"    <root>/<class>/\n        {images}anything.jpg …\n        {masks}anything.png …"
        )


def _inside(key: str, name: str) -> str:
    """A folder in that of a class.

    Raises:
        CosegError: it leads out of it.
    """
    path = PurePosixPath(str(name))
    if path.is_absolute() or ".." in path.parts:
        raise CosegError(f"dataset.reader.{key} is '{name}', but must be a folder in that of a class, or '.'.")
    return str(path)


def _below(folder: Path, name: str) -> Path | None:
    place: Path | None = folder
    for part in PurePosixPath(name).parts:
        place = None if place is None else child_folder(place, part)
    return place
