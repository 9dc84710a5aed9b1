"""Which files a person means: paths, folders and patterns become photographs, each with a unique name."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from glob import has_magic
from pathlib import Path
from typing import NamedTuple

from coseg.errors import CosegError
from coseg.imaging.read import HEIC_SUFFIXES, INSTALL_HEIC, SUFFIXES, is_photograph
from coseg.inference.folders import expand, home_expanded, identity, listing, natural_order, trouble, walk

_OTHER_FORMATS = (
    "3fr arw bay cr2 cr3 crw dcr dng erf fff iiq k25 kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f "
    "svg svgz eps ai cdr wmf emf psd psb xcf kra jxl jxr wdp hdp exr hdr pct pict heic heics heif hif avif tga ico "
    "icns pcx dds qoi sgi xpm xbm fpx fits"
)
OTHER_SUFFIXES = frozenset(f".{name}" for name in _OTHER_FORMATS.split()) - SUFFIXES
"""Suffixes of image formats that are not supported: such files in a folder are reported, other files are not."""

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
"""The first bytes of common formats, by which a file with an unknown suffix may still be an image."""

_NAMED = 3
"""How many files a sentence about several of them names."""


class Inputs(NamedTuple):
    """The photographs that the user gave.

    Attributes:
        paths: of the files, each once, in the order in which they were given; those of a folder sorted by name.
        names: for the results of each file; unique, also without regard to case.
        problems: a sentence for each problem.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    problems: tuple[str, ...]


def collect(
    words: Sequence[str], recursive: bool = False, leave_out: Path | None = None, longest: int | None = None
) -> Inputs:
    """The files that `words` stand for.

    Args:
        words: paths of files and folders, and patterns as in a shell (``album/*.jpg``, ``**/*.png``). The path of an
            existing file is never a pattern.
        recursive: include the folders in folders, linked ones too.
        leave_out: a folder whose files are results, never inputs.
        longest: the limit of a result's name in bytes.
    """
    given, problems = files_of(words, recursive, leave_out)
    paths: dict[str, Path] = {}  # each file under the path under which it came first
    times: Counter[str] = Counter()
    for path in given:
        real = os.path.realpath(path)
        times[real] += 1
        paths.setdefault(real, path)
    for real, path in paths.items():
        if times[real] > 1:
            how = "twice" if times[real] == 2 else f"{times[real]} times"
            problems.append(f"{path} is given {how}: it is used once.")
    files = tuple(paths.values())
    names = result_names(files, longest)
    for path, name in zip(files, names, strict=True):
        if name != path.stem:
            short = longest is not None and len(os.fsencode(path.stem)) > longest
            why = "a name too long for that of its results" if short else "the name of another image"
            problems.append(f"{path} has {why}: its results are called {name}.")
    return Inputs(files, names, tuple(problems))


def files_of(
    words: Sequence[str], recursive: bool = False, leave_out: Path | None = None
) -> tuple[list[Path], list[str]]:
    """The files of `collect` as often as they are given, and the problems of finding them."""
    search = _Search(recursive, leave_out)
    return [path for word in words for path in search.files(word)], search.problems


def exemplar_word(word: str) -> tuple[Path, Path | tuple[float, ...]]:
    """The photograph of ``PHOTO:OBJECT`` and where the object is in it: a mask's file, or two or four numbers.

    Names may hold colons: the photograph ends at the last colon before which there is a file.

    Raises:
        CosegError: the word is of another form, or a file is missing.
    """
    splits = [(word[:k], word[k + 1 :]) for k in range(len(word) - 1, 0, -1) if word[k] == ":"]
    splits = [(photo, place) for photo, place in splits if place]
    if not splits:
        raise CosegError(
            f"The exemplar '{word}' must be PHOTO:OBJECT: a.jpg:mask.png, a.jpg:x,y,width,height or a.jpg:x,y."
        )
    photo, place = next((split for split in splits if os.path.isfile(home_expanded(split[0]))), splits[0])
    wrong = trouble(path := home_expanded(photo))
    if wrong is not None:
        raise CosegError(f"The exemplar's photograph {path} {wrong}")
    if not re.fullmatch(r"[-+\d.,\s]+", place) or os.path.isfile(home_expanded(place)):
        return path, home_expanded(place)
    try:
        return path, region_numbers(place)
    except CosegError:
        raise CosegError(
            f"The exemplar '{word}' gives the numbers {place}, but must give four, x,y,width,height of a rectangle, or "
            "two, x,y of a point, in pixels."
        ) from None


def region_numbers(text: str) -> tuple[float, ...]:
    """The numbers of a rectangle, ``x,y,width,height``, or of a point, ``x,y``.

    Raises:
        CosegError: it is neither.
    """
    try:
        numbers = tuple(float(number) for number in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (2, 4):
        raise CosegError(f"'{text}' must be x,y,width,height or x,y.")
    return numbers


class _Search:
    """Finds the files for `collect`, and notes the problems."""

    def __init__(self, recursive: bool, leave_out: Path | None) -> None:
        self.recursive = recursive
        self.leave_out = leave_out
        self.problems: list[str] = []

    def files(self, word: str) -> Iterator[Path]:
        """The files that one word stands for."""
        if not word or "\0" in word:
            self._problem("One of the given names is empty: give images, folders or patterns.")
            return
        path = home_expanded(word)
        if os.path.isdir(path):
            yield from self._in_folder(path)
        elif os.path.lexists(path) or not has_magic(str(path)):
            yield from self._usable([path])
        else:
            matches = expand(path, self._problem, self.leave_out)
            if not matches:
                self._problem(f"{path} matches no file: check its folder and its letters.")
            for match in matches:
                if not os.path.isdir(match):
                    yield from self._usable([match])
                elif "**" not in path.parts:  # it matches the files in the folder, too
                    yield from self._in_folder(match)

    def _problem(self, sentence: str) -> None:
        self.problems.append(sentence)

    def _usable(self, paths: Iterable[Path]) -> list[Path]:
        """The paths that are files; a problem for each of the rest."""
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
        files = self._usable(path for path in paths if is_photograph(path))
        rest = [path for path in paths if not is_photograph(path)]
        self._left_out(folder, rest, _is_other_format, "of an unsupported format")
        self._left_out(folder, rest, _is_nameless, "without an image suffix")
        if self.recursive:  # a broken link may have been a folder of photographs
            self._usable(path for path in rest if os.path.islink(path) and not os.path.exists(path))
        if not files and len(self.problems) == before:
            deeper = "" if self.recursive else "; --recursive looks into the folders in it as well"
            self._problem(f"{folder} is a folder without images{deeper}.")
        return files

    def _left_out(self, folder: Path, paths: Sequence[Path], belongs: Callable[[Path], bool], what: str) -> None:
        """Report the files of `paths` for which `belongs` is true, by number and name."""
        chosen = [str(path.relative_to(folder)) for path in paths if belongs(path)]
        if not chosen:
            return
        names = ", ".join(chosen[:_NAMED]) + (f" and {len(chosen) - _NAMED} more" if len(chosen) > _NAMED else "")
        count = "a picture" if len(chosen) == 1 else f"{len(chosen)} pictures"
        heic = any(path.suffix.lower() in HEIC_SUFFIXES for path in paths if belongs(path))
        install = f"{INSTALL_HEIC} to read HEIC, or " if heic else ""
        self._problem(
            f"{folder} holds {count} {what}: {names}. Left out; {install}save them as JPEG or PNG to include them."
        )


def _is_other_format(path: Path) -> bool:
    return path.suffix.lower() in OTHER_SUFFIXES


def _is_nameless(path: Path) -> bool:
    """Whether a file is an image although its suffix is in neither list."""
    if _is_other_format(path) or trouble(path) is not None:
        return False
    try:
        with path.open("rb") as file:
            begin = file.read(12)
    except OSError:
        return False
    return begin.startswith(_SIGNATURES) or (begin[:4] == b"RIFF" and begin[8:] == b"WEBP")


NAME_BYTES = 255
"""Bytes of a file name at most, on the usual file systems."""

_DIGEST = 8  # hexadecimal digits in a shortened name
_DIRECTIONS = range(0x202A, 0x202F), range(0x2066, 0x206A)  # characters that change the writing direction


def printable(text: str) -> str:
    r"""`text` in one line, with control characters escaped: a file name may hold any bytes.

    >>> printable("a\nb.jpg")
    'a\\nb.jpg'
    """
    return "".join(
        repr(letter)[1:-1]
        if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or any(ord(letter) in span for span in _DIRECTIONS)
        else letter
        for letter in text
    )


def longest_name(folder: Path) -> int:
    """The limit of a file name in `folder`, in bytes; the folder need not exist yet."""
    existing = next((path for path in (folder, *folder.absolute().parents) if os.path.isdir(path)), Path())
    try:
        return os.pathconf(existing, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows has none
        return NAME_BYTES


def fitted_name(name: str, limit: int) -> str:
    """`name`, or its beginning and a digest of all of it if it is longer than `limit` bytes. Deterministic.

    >>> fitted_name("photograph", 10), fitted_name("photograph-1", 11)
    ('photograph', 'ph-a69717a3')
    """
    if len(os.fsencode(name)) <= limit:
        return name
    digest = hashlib.blake2b(os.fsencode(name)).hexdigest()[:_DIGEST]
    while name and len(os.fsencode(name)) + 1 + _DIGEST > limit:
        name = name[:-1]
    return f"{name}-{digest}"


def alike(name: str) -> str:
    """A key that is equal for names which some file systems do not distinguish: by case or by Unicode composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def result_names(paths: Sequence[Path], limit: int | None = None) -> tuple[str, ...]:
    """A unique name for the results of each file, compared by `alike`.

    The file name without its suffix if that is unique; otherwise with the suffix (``x-jpg`` and ``x-png``), or with as
    many of its folders as needed (``a-x`` and ``b-x``); if all else fails, with a number. No name is longer than
    `limit` bytes.
    """
    places: dict[str, list[int]] = {}
    for k, path in enumerate(paths):
        places.setdefault(alike(path.stem), []).append(k)
    names = [path.stem for path in paths]
    for group in places.values():
        if len(group) > 1:
            for k, name in zip(group, _distinguished([paths[k] for k in group]), strict=True):
                names[k] = name
    return unique_names(names, limit)


def unique_names(
    names: Sequence[str], limit: int | None = None, form: Callable[[str, int], str] = "{}-{}".format
) -> tuple[str, ...]:
    """`names`, where one that is `alike` to an earlier one gets a number.

    Args:
        names: any number of them.
        limit: bytes of a name at most; None: any length.
        form: makes a name from a name and its number, from 2 on.

    >>> unique_names(["a", "A", "b"]), unique_names(["a", "a"], form="{} ({})".format)
    (('a', 'A-2', 'b'), ('a', 'a (2)'))
    """
    used: set[str] = set()
    chosen = []
    for name in names:
        candidate, number = name, 2
        while alike(short := candidate if limit is None else fitted_name(candidate, limit)) in used:
            candidate = form(name, number)
            number += 1
        used.add(alike(short))
        chosen.append(short)
    return tuple(chosen)


def _distinguished(paths: Sequence[Path]) -> list[str]:
    """Names of files of one stem, with the suffix or the folders that distinguish them."""
    absolute = [Path(os.path.realpath(path.parent), path.name) for path in paths]
    for depth in range(max(len(path.parts) for path in absolute)):
        for suffix in (False, True):
            names = [_longer(path, depth, suffix) for path in absolute]
            if len({alike(name) for name in names}) == len(names):
                return names
    return [path.stem for path in paths]


def _longer(path: Path, depth: int, suffix: bool) -> str:
    folders = path.parent.parts[1:]
    name = "-".join([*folders[max(0, len(folders) - depth) :], path.stem])
    return name + path.suffix.replace(".", "-") if suffix else name
