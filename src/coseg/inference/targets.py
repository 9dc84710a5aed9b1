"""Which files a run will write, known before it starts: what exists is kept, unless it is to be replaced."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path

from coseg.errors import CosegError
from coseg.inference.outputs import PICTURES
from coseg.inference.sheet import sheet_paths

SHEET = "sheet"
KINDS = (*PICTURES, SHEET)
"""What can be written."""


class Targets:
    """The files of a run.

    A pair or a group has all of them in one folder: ``<name>_mask.png``, ``<name>_overlay.jpg``, ``<name>_cutout.png``
    of each image, and ``sheet.png``. Of all pairs, each has a folder of its own in that, ``<name>+<name>``.

    Args:
        folder: where to write.
        names: of the images, all different.
        kinds: of `KINDS`, what to write.
        pairs: all pairs rather than one group.
        overwrite: replace what exists.
        others: further files that will be written.

    Attributes:
        kept: what exists and will not be replaced.
        pairs: as given.
        sheets: the file of each contact sheet, None for one that is kept; empty where none is asked for.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        kinds: Collection[str] = KINDS,
        pairs: bool = False,
        overwrite: bool = False,
        others: Collection[Path] = (),
    ) -> None:
        self.folder = folder
        self.pairs = pairs
        self._names = names
        self._kinds = [kind for kind in PICTURES if kind in kinds]
        self._folders = _pair_folders(folder, names) if pairs else {}
        self._kept: set[Path] = set()
        cards = 2 * len(self._folders) if pairs else len(names)
        sheets = sheet_paths(folder, cards) if SHEET in kinds else []
        groups = list(self._folders) if pairs else [tuple(range(len(names)))]
        pictures = [path for group in groups for place in group for path in self._all(place, group).values()]
        everything = [*pictures, *sheets, *others]
        self.count = len(everything)
        self.kept = [] if overwrite else [path for path in everything if os.path.lexists(path)]
        self._kept = set(self.kept)
        self.sheets = [None if path in self._kept else path for path in sheets]

    def wanted(self, place: int, group: Sequence[int]) -> dict[str, Path]:
        """The pictures to write of the image at `place` as one of `group`, a pair where those are asked for."""
        return {kind: path for kind, path in self._all(place, group).items() if path not in self._kept}

    def is_kept(self, path: Path) -> bool:
        """Whether a file exists and is not to be replaced."""
        return path in self._kept

    def _all(self, place: int, group: Sequence[int]) -> dict[str, Path]:
        folder = self._folders[group[0], group[1]] if self.pairs else self.folder
        return {kind: folder / f"{self._names[place]}{PICTURES[kind]}" for kind in self._kinds}


def check_folder(folder: Path) -> None:
    """See that files can be written into `folder`, which need not be there yet, and leave it as it was.

    Raises:
        CosegError: they can't.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CosegError(f"Nothing can be written to {folder} ({error.strerror}): choose another folder.") from None
    finally:
        for path in new:
            with suppress(OSError):
                path.rmdir()


def _pair_folders(folder: Path, names: Sequence[str]) -> dict[tuple[int, int], Path]:
    folders: dict[tuple[int, int], Path] = {}
    taken: set[str] = set()
    for i, j in combinations(range(len(names)), 2):
        name = first = f"{names[i]}+{names[j]}"
        number = 2
        while name.casefold() in taken:  # a+b and c, a and b+c
            name = f"{first}-{number}"
            number += 1
        taken.add(name.casefold())
        folders[i, j] = folder / name
    return folders
