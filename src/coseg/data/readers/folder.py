"""A user's folder: images and binary masks, in one or several classes.

::

    <root>/
        <class>/
            images/  anything.jpg …
            masks/   anything.png …      the mask of an image has its name before the dot, or that of a pattern
        <another class>/ …

or, for a single class, ``<root>/images`` and ``<root>/masks``. `coseg.imaging.masks` lists the accepted masks. An
image whose mask is empty is in no pair.
"""

from __future__ import annotations

import os
from pathlib import Path

from coseg.data.readers.files import (
    STEM,
    checked_pattern,
    child_folder,
    chosen_groups,
    paired,
    same_form,
    subfolders,
    without_image,
)
from coseg.data.readers.groups import GroupImage, GroupReader, Groups, ImageSet
from coseg.errors import CosegError


class FolderReader(GroupReader):
    """Reads a user's folder of images and masks.

    Args:
        root: the folder.
        groups: ``all`` or ``test`` (every class), or a list of classes.
        mask_pattern: a mask's name before the dot, with ``{stem}`` for that of its image: ``{stem}_mask`` say.
    """

    name = "folder"
    needs_foreground = False

    def __init__(self, root: str | os.PathLike[str] | None, groups: Groups = "test", mask_pattern: str = STEM) -> None:
        super().__init__(root, groups)
        self.mask_pattern = checked_pattern(mask_pattern)

    def find(self) -> ImageSet:
        """See `GroupReader.find`."""
        classes = self._classes()
        wanted = chosen_groups(self.groups, list(classes), list(classes))
        groups = {
            name: [
                GroupImage(f"{name}/{stem}", name, image, mask)
                for stem, image, mask in paired(*classes[name], self.mask_pattern)
            ]
            for name in wanted
        }
        return ImageSet(self.name, groups)

    def strays(self) -> list[Path]:
        """See `GroupReader.strays`."""
        folders = self._classes().values()
        return [path for images, masks in folders for path in without_image(images, masks, self.mask_pattern)]

    def _classes(self) -> dict[str, tuple[Path, Path]]:
        """Images and masks of each class."""
        root = self.root
        if root is None or not root.is_dir():
            start = "The data set folder needs a folder" if root is None else f"{root} is not a folder"
            raise _missing(f"{start}: set dataset.root=<folder>.")
        single = _images_and_masks(root)
        if single is not None:
            return {same_form(root.resolve().name): single}
        candidates = {same_form(path.name): _images_and_masks(path) for path in subfolders(root)}
        classes = {name: folders for name, folders in candidates.items() if folders is not None}
        if not classes:
            raise _missing(f"{root} has no images and masks.")
        without = [name for name in candidates if name not in classes]
        if without:
            raise _missing(f"{root / without[0]} has not both a folder images and a folder masks.")
        return classes


def _images_and_masks(folder: Path) -> tuple[Path, Path] | None:
    images, masks = child_folder(folder, "images"), child_folder(folder, "masks")
    return (images, masks) if images is not None and masks is not None else None


def _missing(start: str) -> CosegError:
    return CosegError(
        f"{start} It looks like this, for one class without the folder <class>:\n"
        "    <root>/<class>/\n        images/anything.jpg …\n        masks/anything.png …"
    )
