"""The object-discovery bundle (Rubinstein et al., CVPR 2013): its Internet images, and its copies of MSRC and iCoseg.

::

    Data/
        Airplane100/  0001.jpg …   GroundTruth/ 0001.png …    the Internet images
        Car100/ Horse100/          likewise
        MSRC/<group>/  1.bmp …     GroundTruth/ 1.png …       14 groups
        sub_MSRC/<group>/          likewise: the 7 groups of 10 images that the literature tests
        iCoseg/<group>/  …         GroundTruth/ …

Masks are binary. The Internet images come from a search engine, so some show no such object: their mask is empty and
they are in no pair. The readers of MSRC and iCoseg read their parts of the bundle with the functions of this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from coseg.data.readers.files import child_folder, chosen_groups, paired, same_form, subfolders, without_image
from coseg.data.readers.groups import GroupImage, GroupReader, ImageSet
from coseg.errors import CosegError

TRUTH = "GroundTruth"


def is_group(folder: Path) -> bool:
    """Whether `folder` holds images with a folder of truth beside them."""
    return child_folder(folder, TRUTH) is not None


def bundle_places(root: Path) -> list[Path]:
    """Where the bundle's folders may be below `root`: there, in its ``Data``, or in the folder that it unpacks to."""
    unpacked = child_folder(root, "ObjectDiscovery-data")
    inside = (child_folder(place, "Data") for place in (root, unpacked) if place is not None)
    return [root, *(place for place in inside if place is not None)]


def group_folders(root: Path, *names: str) -> tuple[str, dict[str, Path]]:
    """The groups in the first of `names` that is in one of `bundle_places`, or else in ``root``.

    Returns:
        The name of the folder that holds them, and the folder of each; ``("", {})`` where there is none.
    """
    places = [*(child_folder(place, name) for place in bundle_places(root) for name in names), root]
    for place in places:
        groups = (
            {same_form(path.name): path for path in subfolders(place) if is_group(path)} if place is not None else {}
        )
        if place is not None and groups:
            return place.resolve().name, groups
    return "", {}


def images_of(folder: Path, group: str, prefix: str = "") -> list[GroupImage]:
    """The images of a group, with the ids ``<prefix><group>/<stem>``.

    Raises:
        CosegError: an image has no mask.
    """
    truth = child_folder(folder, TRUTH)
    assert truth is not None
    return [GroupImage(f"{prefix}{group}/{stem}", group, image, mask) for stem, image, mask in paired(folder, truth)]


def strays_of(folder: Path) -> list[Path]:
    """Masks without an image."""
    truth = child_folder(folder, TRUTH)
    return without_image(folder, truth) if truth is not None else []


TEST_GROUPS = ("Airplane100", "Car100", "Horse100")
COUNT = 100


class InternetReader(GroupReader):
    """Reads the Internet images.

    Args:
        root: the folder that holds ``Airplane100``, ``Car100`` and ``Horse100``, or one that holds it as ``Data``.
        groups: ``test`` (all three), ``all``, or a list.
    """

    name = "internet"
    needs_foreground = False

    def find(self) -> ImageSet:
        """See `GroupReader.find`."""
        folders = self._folders()
        wanted = chosen_groups(self.groups, list(folders), TEST_GROUPS)
        return ImageSet(self.name, {group: images_of(folders[group], group) for group in wanted})

    def expected(self, name: str, groups: Sequence[str]) -> Mapping[str, int | None]:
        """See `GroupReader.expected`."""
        return dict.fromkeys(groups, COUNT)

    def strays(self) -> list[Path]:
        """See `GroupReader.strays`."""
        return [path for folder in self._folders().values() for path in strays_of(folder)]

    def _folders(self) -> dict[str, Path]:
        if self.root is not None and self.root.is_dir():
            for place in bundle_places(self.root):
                groups = group_folders(place)[1]
                folders = {name: path for name, path in groups.items() if name in TEST_GROUPS}
                if folders:
                    return folders
        start = (
            "The data set internet needs its folder: set dataset.root=<folder>, or the environment variable "
            "COSEG_INTERNET_ROOT."
            if self.root is None
            else f"{self.root} does not hold the Internet images. Set dataset.root (or COSEG_INTERNET_ROOT)."
        )
        raise CosegError(
            f"{start} Unpacked, the object-discovery bundle looks like this:\n"
            "    Data/\n        Airplane100/0001.jpg …, GroundTruth/0001.png …\n        Car100/ Horse100/ likewise"
        )
