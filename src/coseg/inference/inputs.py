"""Which files a person means: paths, folders and patterns become a list of photographs, each with a name of its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from glob import has_magic
from pathlib import Path
from typing import NamedTuple

from coseg.data.images import SUFFIXES
from coseg.inference.folders import expand, home_expanded, identity, listing, natural_order, trouble, walk
from coseg.inference.names import distinct_names

_OTHER_FORMATS = (
    "3fr arw bay cr2 cr3 crw dcr dng erf fff iiq k25 kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f "
    "svg svgz eps ai cdr wmf emf psd psb xcf kra jxl jxr wdp hdp exr hdr pct pict heic heics heif hif avif tga ico "
    "icns pcx dds qoi sgi xpm xbm fpx fits"
)
OTHER_SUFFIXES = frozenset(f".{name}" for name in _OTHER_FORMATS.split()) - SUFFIXES
"""Suffixes of pictures in formats that are not taken: those in a folder are named. What is no picture is not."""

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
"""How common formats begin: a file whose suffix says nothing may still be a picture."""

_NAMED = 3
"""Files that a sentence about several of them names."""


class Inputs(NamedTuple):
    """The photographs that are meant.

    Attributes:
        paths: of the files, each once, in the order in which they were given; those of a folder by name.
        names: of each file, what its results are called; no two are alike, in capitals or not.
        problems: a sentence for each thing that is not as it was asked for.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    problems: tuple[str, ...]


def collect(
    words: Sequence[str], recursive: bool = False, leave_out: Path | None = None, longest: int | None = None
) -> Inputs:
    """The files that `words` mean.

    Args:
        words: paths of files and folders, and patterns as a shell has them (``album/*.jpg``, ``**/*.png``). What exists
            as it is written is no pattern.
        recursive: take the folders in folders too, linked ones as well.
        leave_out: a folder whose files are results, never inputs.
        longest: bytes of a result's name at most.
    """
    search = _Search(recursive, leave_out)
    given = [path for word in words for path in search.meant(word)]
    problems = search.problems
    paths: dict[str, Path] = {}  # each file under the path under which it came first
    times: Counter[str] = Counter()
    for path in given:
        real = os.path.realpath(path)
        times[real] += 1
        paths.setdefault(real, path)
    for real, path in paths.items():
        if times[real] > 1:
            how = "twice" if times[real] == 2 else f"{times[real]} times"
            problems.append(f"{path} is given {how}: it is taken once.")
    files = tuple(paths.values())
    names = distinct_names(files, longest)
    for path, name in zip(files, names, strict=True):
        if name != path.stem:
            short = longest is not None and len(os.fsencode(path.stem)) > longest
            why = "a name too long for that of its results" if short else "the name of another image"
            problems.append(f"{path} has {why}: its results are called {name}.")
    return Inputs(files, names, tuple(problems))


class _Search:
    """What `collect` looks for, and what it meets that is not as it should be."""

    def __init__(self, recursive: bool, leave_out: Path | None) -> None:
        self.recursive = recursive
        self.leave_out = leave_out
        self.problems: list[str] = []

    def meant(self, word: str) -> Iterator[Path]:
        """The files that one word means."""
        if not word or "\0" in word:
            self._problem("One of the names that are given is empty: give images, folders or patterns.")
            return
        path = home_expanded(word)
        if os.path.isdir(path):
            yield from self._in_folder(path)
        elif os.path.lexists(path) or not has_magic(str(path)):
            yield from self._files([path])
        else:
            matches = expand(path, self._problem, self.leave_out)
            if not matches:
                self._problem(f"{path} matches no file: check its folder and its letters.")
            for match in matches:
                if not os.path.isdir(match):
                    yield from self._files([match])
                elif "**" not in path.parts:  # which lists what is in the folder by itself
                    yield from self._in_folder(match)

    def _problem(self, sentence: str) -> None:
        self.problems.append(sentence)

    def _files(self, paths: Iterable[Path]) -> list[Path]:
        """Those that are files; a sentence for each of the rest."""
        files = []
        for path in paths:
            wrong = trouble(path)
            if wrong is None:
                files.append(path)
            else:
                self._problem(f"{path} {wrong}")
        return files

    def _in_folder(self, folder: Path) -> list[Path]:
        if self.leave_out is not None and identity(folder) == identity(self.leave_out):
            self._problem(f"{folder} is left out: it is the folder of the results.")
            return []
        before = len(self.problems)
        if self.recursive:
            paths = [path for listed in walk(folder, self._problem, self.leave_out) for path in listed.paths]
        else:
            paths = listing(folder, self._problem).paths
        paths = sorted((path for path in paths if not os.path.isdir(path)), key=natural_order)
        pictures = [path for path in paths if path.suffix.lower() in SUFFIXES]
        files = self._files(pictures)
        rest = [path for path in paths if path.suffix.lower() not in SUFFIXES]
        self._left_out(folder, rest, _is_other_format, "of a format that is not taken")
        self._left_out(folder, rest, _is_nameless, "whose name does not end as a picture's")
        if self.recursive:  # a link that leads nowhere may have been a folder of photographs
            self._files(path for path in rest if os.path.islink(path) and not os.path.exists(path))
        if not files and len(self.problems) == before:
            deeper = "" if self.recursive else "; --recursive looks into the folders in it as well"
            self._problem(f"{folder} is a folder without images{deeper}.")
        return files

    def _left_out(self, folder: Path, paths: Sequence[Path], belongs: Callable[[Path], bool], what: str) -> None:
        """Name the files of `paths` that `belongs` picks, and how many they are."""
        chosen = [str(path.relative_to(folder)) for path in paths if belongs(path)]
        if not chosen:
            return
        names = ", ".join(chosen[:_NAMED]) + (f" and {len(chosen) - _NAMED} more" if len(chosen) > _NAMED else "")
        count = "a picture" if len(chosen) == 1 else f"{len(chosen)} pictures"
        self._problem(f"{folder} holds {count} {what}: {names}. Left out; save as JPEG or PNG to have all.")


def _is_other_format(path: Path) -> bool:
    return path.suffix.lower() in OTHER_SUFFIXES


def _is_nameless(path: Path) -> bool:
    """Whether a file is a picture although neither list of suffixes has its own."""
    if _is_other_format(path) or trouble(path) is not None:
        return False
    try:
        with path.open("rb") as file:
            begin = file.read(12)
    except OSError:
        return False
    return begin.startswith(_SIGNATURES) or (begin[:4] == b"RIFF" and begin[8:] == b"WEBP")
