"""Sets for co-salient object detection, and any tree in their layout: CoCA, CoSal2015, CoSOD3k.

::

    <root>/
        image/<group>/<name>.jpg …       or images/<group>, or images/<set>/<group>
        gt/<group>/<name>.png …          or gts, binary, ground_truth, …

The truth of such a set is grey and, as in the field, foreground above 128: its edges may be smooth.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from coseg.data.readers.files import (
    child_folder,
    chosen_groups,
    images_in,
    paired,
    same_form,
    subfolders,
    without_image,
)
from coseg.data.readers.groups import GroupImage, GroupReader, Groups, ImageSet, grey_truth
from coseg.errors import CosegError

IMAGES = ("image", "images", "img", "imgs")
TRUTH = ("gt", "gts", "ground_truth", "groundtruth", "binary", "mask", "masks")
"""Names of the folder of images and of that of the truth, in any case; the earlier one wins."""


class _Tree(NamedTuple):
    """The folders of images and of truth, each of which holds the groups."""

    images: Path
    truth: Path


class CosodReader(GroupReader):
    """Reads groups of images with grey truth.

    Args:
        root: the folder that holds the images' and the truth's folder, or one that holds it by the name of the set.
        groups: ``all`` or ``test`` (every group), or a list of names.
        name: of the set in results.
        subset: the folder of the set in those of images and truth, where they hold several; None: `name`, or the only
            one.
        published_groups: how many groups the release has; None: not known.
        published_images: how many images.
    """

    needs_foreground = False

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        groups: Groups = "test",
        name: str = "cosod",
        subset: str | None = None,
        published_groups: int | None = None,
        published_images: int | None = None,
    ) -> None:
        super().__init__(root, groups)
        self.name = name
        self.subset = subset
        self.published_groups = published_groups
        self.published_images = published_images

    def find(self) -> ImageSet:
        """See `GroupReader.find`."""
        tree = self._tree()
        folders = {same_form(path.name): path for path in subfolders(tree.images)}
        wanted = chosen_groups(self.groups, list(folders), list(folders))
        return ImageSet(self.name, {group: self._images(tree, folders[group], group) for group in wanted}, grey_truth)

    def expected_images(self, image_set: ImageSet) -> int | None:
        """See `GroupReader.expected_images`. Of the whole release it is known, if not by group."""
        return self.published_images if self.groups in ("all", "test") else super().expected_images(image_set)

    def problems(self, split: str) -> Iterator[str]:
        """See `Reader.problems`."""
        yield from super().problems(split)
        if self.published_groups is None or self.groups not in ("all", "test"):
            return
        try:
            count = len(subfolders(self._tree().images))
        except CosegError:
            return  # reported above
        if count != self.published_groups:
            yield f"there are {count} groups, the release has {self.published_groups}"

    def strays(self) -> list[Path]:
        """See `GroupReader.strays`."""
        tree = self._tree()
        pairs = ((folder, child_folder(tree.truth, folder.name)) for folder in subfolders(tree.images))
        return [path for images, truth in pairs if truth is not None for path in without_image(images, truth)]

    def _images(self, tree: _Tree, folder: Path, group: str) -> list[GroupImage]:
        truth = child_folder(tree.truth, folder.name)
        if truth is None:
            raise CosegError(f"{folder} has no folder {folder.name} in {tree.truth}: unpack the archive again.")
        return [GroupImage(f"{group}/{stem}", group, image, mask) for stem, image, mask in paired(folder, truth)]

    def _tree(self) -> _Tree:
        if self.root is not None and self.root.is_dir():
            whole = child_folder(self.root, self.subset or self.name)
            for place in (self.root, *([whole] if whole else [])):
                images, truth = (child_folder(place, *names) for names in (IMAGES, TRUTH))
                if images and truth:
                    return self._of_subset(images, truth)
        raise self._missing()

    def _of_subset(self, images: Path, truth: Path) -> _Tree:
        """The tree in these folders: the groups are in them, or in the folder of the set."""
        inside = [path for path in subfolders(images) if subfolders(path) and not images_in(path)]
        if not inside and self.subset is None:
            return _Tree(images, truth)
        only = len(inside) == 1 and self.published_images is None  # any set will do
        wanted = self.subset or (inside[0].name if only else self.name)
        of_images, of_truth = child_folder(images, wanted), child_folder(truth, wanted)
        if of_images is None:
            raise CosegError(
                f"{images} holds the sets {', '.join(path.name for path in inside) or 'none'}, but no {wanted}: choose "
                "one with dataset.subset=<folder>."
            )
        if of_truth is None:
            raise CosegError(f"{of_images} has no folder {wanted} in {truth}: unpack the archive again.")
        return _Tree(of_images, of_truth)

    def _missing(self) -> CosegError:
        variable = f"COSEG_{self.name.upper()}_ROOT"
        start = (
            f"The data set {self.name} needs its folder: set dataset.root=<folder>, or the environment variable "
            f"{variable}."
            if self.root is None
            else f"{self.root} does not hold {self.name}. Set dataset.root (or {variable}) to its folder."
        )
        return CosegError(
            f"{start} It looks like this:\n    <root>/\n        image/<group>/<name>.jpg …\n"
            "        gt/<group>/<name>.png …\nor with images and gts, or with the set's folder above its groups."
        )
