"""The Internet images of object discovery (Rubinstein et al., CVPR 2013): Airplane100, Car100 and Horse100.

::

    Data/
        Airplane100/  0001.jpg …   GroundTruth/ 0001.png …
        Car100/       likewise
        Horse100/     likewise

Images come from an Internet search, so some show no such object: their truth is empty and they are in no pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from coseg.data.readers.groups import Found, GroupReader, chosen_groups
from coseg.data.readers.object_discovery import bundle_places, group_folders, images_of, strays_of
from coseg.errors import CosegError

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

    def find(self) -> Found:
        """See `GroupReader.find`."""
        folders = self._folders()
        wanted = chosen_groups(self.groups, list(folders), TEST_GROUPS)
        return Found(self.name, {group: images_of(folders[group], group) for group in wanted})

    def expected(self, name: str, groups: Sequence[str]) -> Mapping[str, int | None]:
        """See `GroupReader.expected`."""
        return dict.fromkeys(groups, COUNT)

    def strays(self) -> list[Path]:
        """See `GroupReader.strays`."""
        return [path for folder in self._folders().values() for path in strays_of(folder)]

    def _folders(self) -> dict[str, Path]:
        if self.root is not None and self.root.is_dir():
            for place in bundle_places(self.root):
                found = group_folders(place)[1]
                folders = {name: path for name, path in found.items() if name in TEST_GROUPS}
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
