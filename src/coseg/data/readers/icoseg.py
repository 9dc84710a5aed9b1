"""iCoseg (Batra et al., CVPR 2010): 38 groups of photographs of one occasion, 643 images, with binary truth.

The official release::

    dataset_public/
        images/<group>/<name>.jpg …
        ground_truth/<group>/<name>.png …

or, in part, ``Data/iCoseg/<group>`` of the object-discovery bundle (see `coseg.data.readers.internet`).

The literature tests 8 groups by short names of its own. Which folders they are is a table, ``dataset.folders``: a value
is a folder's name, with ``*`` for any characters, and must fit one folder exactly.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from coseg.data.readers.files import child_folder, chosen_groups, paired, same_form, subfolders, without_image
from coseg.data.readers.groups import GroupImage, GroupReader, Groups, ImageSet
from coseg.data.readers.internet import group_folders, images_of, strays_of
from coseg.errors import CosegError

IMAGES = 643
"""Images of the release, in 38 groups."""


class IcosegReader(GroupReader):
    """Reads iCoseg, or its part in the object-discovery bundle.

    Args:
        root: the folder that holds ``images`` and ``ground_truth``, or one that holds it; or the bundle's folder.
        groups: ``test`` (those of `folders`), ``all`` (every folder), or a list of short names and folders' names.
        folders: short names of test groups, each with the folder it means.
        counts: images of each test group, as far as they are known.
    """

    name = "icoseg"

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        groups: Groups = "test",
        folders: Mapping[str, str] | None = None,
        counts: Mapping[str, int | None] | None = None,
    ) -> None:
        super().__init__(root, groups)
        self.folders = {str(name): str(pattern) for name, pattern in (folders or {}).items()}
        self.counts = dict(counts or {})

    def find(self) -> ImageSet:
        """See `GroupReader.find`. The bundle's part is the image set ``icoseg_object_discovery``."""
        release, bundle = self._folders()
        images = {same_form(path.name): path for path in subfolders(release[0])} if release else bundle
        if self.groups == "all":
            wanted = dict(images.items())
        else:
            chosen = chosen_groups(self.groups, [*self.folders, *images], list(self.folders))
            wanted = {name: self._folder(name, images) for name in chosen}
        if release is None:
            return ImageSet(
                f"{self.name}_object_discovery", {name: images_of(path, name) for name, path in wanted.items()}
            )
        groups = {}
        for name, path in wanted.items():
            truth = child_folder(release[1], path.name)
            if truth is None:
                raise CosegError(f"{path} has no folder {path.name} in {release[1]}: unpack the archive again.")
            groups[name] = [
                GroupImage(f"{name}/{stem}", name, image, mask) for stem, image, mask in paired(path, truth)
            ]
        return ImageSet(self.name, groups)

    def expected(self, name: str, groups: Sequence[str]) -> Mapping[str, int | None]:
        """See `GroupReader.expected`."""
        return {group: self.counts.get(group) if name == self.name else None for group in groups}

    def expected_images(self, image_set: ImageSet) -> int | None:
        """See `GroupReader.expected_images`. Of the whole release it is known, if not by group."""
        return IMAGES if image_set.name == self.name and self.groups == "all" else super().expected_images(image_set)

    def strays(self) -> list[Path]:
        """See `GroupReader.strays`."""
        release, bundle = self._folders()
        if release is None:
            return [path for folder in bundle.values() for path in strays_of(folder)]
        pairs = ((folder, child_folder(release[1], folder.name)) for folder in subfolders(release[0]))
        return [path for images, truth in pairs if truth is not None for path in without_image(images, truth)]

    def _folder(self, name: str, images: Mapping[str, Path]) -> Path:
        if name in images:
            return images[name]
        pattern = self.folders[name]
        fitting = [folder for folder in images if fnmatch(folder.lower(), pattern.lower())]
        if len(fitting) != 1:
            which = f"{len(fitting)} folders fit: {', '.join(fitting)}" if fitting else "no folder fits"
            raise CosegError(
                f"The iCoseg group {name} is the folder '{pattern}', but {which}. The folders of {self.root} are: "
                f"{', '.join(images)}. Set \"dataset.folders.{name}='<folder>'\"."
            )
        return images[fitting[0]]

    def _folders(self) -> tuple[tuple[Path, Path] | None, dict[str, Path]]:
        """Images and truth of the release, or the groups of the bundle."""
        if self.root is not None and self.root.is_dir():
            whole = child_folder(self.root, "CMU_Cornell_iCoseg_dataset") or self.root
            for folder in (whole, child_folder(whole, "dataset_public"), child_folder(whole, "iCoseg")):
                images, truth = (folder and child_folder(folder, name) for name in ("images", "ground_truth"))
                if images and truth:
                    return (images, truth), {}
            _, groups = group_folders(self.root, "iCoseg")
            if groups:
                return None, groups
        raise _missing(self.root)


def _missing(root: Path | None) -> CosegError:
    start = (
        "The data set icoseg needs its folder: set dataset.root=<folder>, or the environment variable "
        "COSEG_ICOSEG_ROOT."
        if root is None
        else f"{root} does not hold iCoseg. Set dataset.root (or COSEG_ICOSEG_ROOT) to its folder."
    )
    return CosegError(
        f"{start} Unpacked, the release looks like this:\n"
        "    dataset_public/\n        images/<group>/<name>.jpg …\n        ground_truth/<group>/<name>.png …\n"
        "and the object-discovery bundle like this:\n    Data/iCoseg/<group>/<name>.jpg …, GroundTruth/<name>.png …"
    )
