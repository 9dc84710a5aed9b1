"""Copies of photographs in folders by what they show: whether they belong, or to which group."""

from __future__ import annotations

import filecmp
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from coseg.errors import CosegError
from coseg.files.writing import atomic_path, remove_leftovers
from coseg.hub.measures import level
from coseg.inference.cosegmentation import Cosegmentation
from coseg.inference.inputs import alike, longest_name, unique_names

if TYPE_CHECKING:  # copies are prepared without torch
    from coseg.inference.segmenter import CoSegmenter

LEVELS = {True: "belongs", None: "unsure", False: "does_not_belong"}
"""The folder of the photographs of each level of `coseg.hub.measures.level`."""

ALONE = "alone"
"""The folder of those that are in no group."""

_GROUP = re.compile(r"group_\d+")
_TEMPORARY_BYTES = 24  # that `coseg.files.atomic_path` adds to a name, at most


class SplitFolder:
    """Photographs that are copied, byte for byte, under their names, into folders in `folder`.

    Where photographs of different folders have one name, their copies have the names of their results.

    Args:
        folder: that of all copies; it need not exist.
        paths: of the photographs.
        names: of their results, all different.
        problem: called with a sentence for a photograph that can't be copied.
        objects: names of several objects: each has folders of its own.
        groups: the folders are those of groups.
        resumed: the same command was stopped before, so a copy of the photograph itself may exist.

    Attributes:
        copies: how many photographs have been copied into each folder in `folder`.

    Raises:
        CosegError: a photograph is in `folder`, or a file in one of the folders in it has the name of a copy.
    """

    def __init__(
        self,
        folder: Path,
        paths: Sequence[Path],
        names: Sequence[str],
        problem: Callable[[str], None],
        objects: Sequence[str] = (),
        groups: bool = False,
        resumed: bool = False,
    ) -> None:
        self.folder, self._paths, self._problem, self._resumed = folder, paths, problem, resumed
        self._names = copy_names(paths, names, longest_name(folder) - _TEMPORARY_BYTES)
        self.copies: dict[str, int] = {}
        folders = [folder / name / of_level for name in objects or [""] for of_level in LEVELS.values()]
        if groups:
            folders = [path for path in _entries(folder) if _GROUP.fullmatch(path.name) or path.name == ALONE]
        self._check(folders)
        for path in folders:
            remove_leftovers(path)

    def belonging(self, places: Sequence[int], result: Cosegmentation, name: str = "") -> dict[int, str]:
        """Copy images by how likely they belong; the copies by the indices of the images.

        Args:
            places: the index of each image of `result`.
            result: a pair, whose images belong if they share something, a group, or a search for an object.
            name: of the object, one of several.
        """
        copies: dict[int, str] = {}
        for place, segment in zip(places, result, strict=True):
            likely = result.common if math.isnan(segment.belongs) else segment.belongs
            copies |= self._copy([place], os.path.join(name, LEVELS[level(likely)]))
        return copies

    def group(self, places: Iterable[int], number: int | None) -> dict[int, str]:
        """Copy the images of a group, or of none; the copies by the indices of the images."""
        return self._copy(places, ALONE if number is None else f"group_{number}")

    def sentence(self) -> str:
        """How many copies are where."""
        counts = ", ".join(f"{count} in {name}" for name, count in self.copies.items())
        return f"Copies in {self.folder}/: {counts or 'none'}."

    def _copy(self, places: Iterable[int], name: str) -> dict[int, str]:
        copies = {}
        for place in places:
            target = self.folder / name / self._names[place]
            try:
                if not self._is_copy(target, self._paths[place]):
                    copy_whole(self._paths[place], target)
            except CosegError as error:
                self._problem(str(error))
            else:
                copies[place] = str(target)
                self.copies[name] = self.copies.get(name, 0) + 1
        return copies

    def _is_copy(self, path: Path, source: Path) -> bool:
        """Whether a file is a copy that the same command has made before."""
        with suppress(OSError):
            return self._resumed and filecmp.cmp(path, source, shallow=False)
        return False

    def _check(self, folders: Sequence[Path]) -> None:
        real = Path(os.path.realpath(self.folder))
        inside = next((path for path in self._paths if Path(os.path.realpath(path)).is_relative_to(real)), None)
        if inside is not None:
            raise CosegError(f"{inside} is in {self.folder}, the folder of --split-out: choose a folder beside it.")
        taken = [path for path in folders if os.path.lexists(path) and not path.is_dir()]
        taken += [
            path / name
            for path in folders
            for name, source in zip(self._names, self._paths, strict=True)
            if os.path.lexists(path / name) and not self._is_copy(path / name, source)
        ]
        if taken:
            rest = f" and {len(taken) - 1} more exist" if len(taken) > 1 else " exists"
            raise CosegError(f"{taken[0]}{rest}: --split-out replaces nothing, choose a new folder.")


def require_likelihoods(segmenter: CoSegmenter, pair: bool) -> None:
    """Refuse a model that can't tell how likely a `pair` shares something, or an image belongs.

    Raises:
        CosegError: it is not calibrated for that.
    """
    from coseg.inference.cooccurrence.statistics import compares_all

    calibration = segmenter.calibration
    if calibration is None or not (pair or compares_all(calibration)):
        raise CosegError(
            f"{segmenter.source} has no calibration that tells how likely an image belongs, so --split-out can't "
            "divide them: take the bundled model, or fit one (python -m coseg.cli.calibrate)."
        )


def copy_names(paths: Sequence[Path], names: Sequence[str], longest: int) -> tuple[str, ...]:
    """A unique name for the copy of each photograph: its own, if no other photograph has it.

    >>> copy_names([Path("a/x.jpg"), Path("b/x.jpg"), Path("y.png")], ["a-x", "b-x", "y"], 200)
    ('a-x.jpg', 'b-x.jpg', 'y.png')
    """
    keys = [alike(path.name) for path in paths]
    wanted = [
        path.name if keys.count(key) == 1 and len(os.fsencode(path.name)) <= longest else f"{name}{path.suffix}"
        for path, name, key in zip(paths, names, keys, strict=True)
    ]
    return unique_names(wanted, None, lambda name, number: f"{Path(name).stem}-{number}{Path(name).suffix}")


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file with its times; `target` is complete or absent, and nothing is replaced.

    Raises:
        CosegError: `target` exists, or can't be written, or `source` can't be read.
    """
    if os.path.lexists(target):
        raise CosegError(f"{target} exists: it is kept.")
    try:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
            with suppress(OSError):
                shutil.copystat(source, temporary)
    except OSError as error:
        raise CosegError(f"{source} can't be copied to {target} ({error.strerror or error}).") from error


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
