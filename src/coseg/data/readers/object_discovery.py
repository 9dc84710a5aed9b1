"""The layout of the object-discovery bundle (Rubinstein et al., CVPR 2013), which holds parts of several data sets.

::

    Data/
        Airplane100/  0001.jpg …   GroundTruth/ 0001.png …
        Car100/ Horse100/          likewise
        MSRC/<group>/  1.bmp …     GroundTruth/ 1.png …       14 groups
        sub_MSRC/<group>/          likewise: the 7 groups of 10 images that the literature tests
        iCoseg/<group>/  …         GroundTruth/ …

Masks are binary. Readers of MSRC and iCoseg take it beside the official releases.
"""

from __future__ import annotations

from pathlib import Path

from coseg.data.readers.files import child_folder, paired, same_form, subfolders, without_image
from coseg.data.readers.groups import GroupImage

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
