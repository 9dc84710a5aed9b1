"""Which files a run will write, known before it starts: what exists is kept, unless it is to be replaced."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path

from coseg.errors import CosegError
from coseg.inference.names import different, longest_name
from coseg.inference.outputs import PICTURES
from coseg.inference.sheet import sheet_paths

SHEET = "sheet"
KINDS = (*PICTURES, SHEET)
"""What can be written."""

_TEMPORARY = 24
_ATTEMPTS = 3


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
        sources: files that are never replaced, the photographs themselves.

    Attributes:
        kept: what exists and will not be replaced.
        shortened: how many folders of pairs have a name that was too long.
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
        sources: Collection[Path] = (),
    ) -> None:
        self.folder = folder
        self.pairs = pairs
        self._names = names
        self._kinds = [kind for kind in PICTURES if kind in kinds]
        self._folders, self.shortened = _pair_folders(folder, names) if pairs else ({}, 0)
        self._kept: set[Path] = set()
        cards = 2 * len(self._folders) if pairs else len(names)
        sheets = sheet_paths(folder, cards) if SHEET in kinds else []
        groups = list(self._folders) if pairs else [tuple(range(len(names)))]
        pictures = [path for group in groups for place in group for path in self._all(place, group).values()]
        everything = [*pictures, *sheets, *others]
        self.count = len(everything)
        taken = {os.path.realpath(path) for path in sources}
        existing = [path for path in everything if os.path.lexists(path)]
        self.kept = [path for path in existing if not overwrite or os.path.realpath(path) in taken]
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


def longest_of_results(folder: Path) -> int:
    """Bytes that the name of a result may have before its ending, and while it is written, before that of its process.

    `coseg.files.atomic_path` adds up to `_TEMPORARY` bytes to it.
    """
    return longest_name(folder) - max(map(len, PICTURES.values())) - _TEMPORARY


def check_folder(folder: Path) -> None:
    """See that files can be written into `folder`, which need not be there yet, and leave it as it was.

    Raises:
        CosegError: they can't.
    """
    for attempt in range(_ATTEMPTS):
        new = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return
        except FileNotFoundError as error:  # another process that checks it as well has just removed it
            if attempt == _ATTEMPTS - 1:
                raise _not_written(folder, error) from None
        except (OSError, ValueError) as error:
            raise _not_written(folder, error) from None
        finally:
            for path in new:
                with suppress(OSError, ValueError):
                    path.rmdir()


def _not_written(folder: Path, error: OSError | ValueError) -> CosegError:
    reason = getattr(error, "strerror", None) or error
    return CosegError(f"Nothing can be written to {folder} ({reason}): choose another folder.")


def _pair_folders(folder: Path, names: Sequence[str]) -> tuple[dict[tuple[int, int], Path], int]:
    """The folder of each pair, and how many of them have a shortened name."""
    pairs = list(combinations(range(len(names)), 2))
    wanted = [f"{names[i]}+{names[j]}" for i, j in pairs]
    limit = longest_name(folder)
    chosen = different(wanted, limit)  # a+b and c, a and b+c
    shortened = sum(len(os.fsencode(name)) > limit for name in wanted)
    return {pair: folder / name for pair, name in zip(pairs, chosen, strict=True)}, shortened
