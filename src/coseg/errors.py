"""The exception that a user is meant to read, checks that raise it, and what is reported of errors in a user's code."""

from __future__ import annotations

import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

_LIBRARIES = tuple({*(sysconfig.get_path(name) for name in ("stdlib", "platstdlib")), str(Path(__file__).parent)})
"""Directories whose files are no user's, beside all that is installed."""

_PLACE = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>\S+))?', re.MULTILINE)
"""A frame in the text of a traceback."""

MOST_SHOWN = 400
"""Characters of an error that a sentence shows."""


class CosegError(Exception):
    """A mistake that the user can mend, as a sentence: what is wrong, where, what to do next.

    The commands print the sentence without a traceback and end with exit code 2. Everything else that is
    raised is a defect of the program and keeps its traceback.
    """


class DamagedFile(CosegError):
    """A file of a data set that is missing or can't be decoded: the others may still be used."""


def unknown_choice(what: str, value: object, choices: Iterable[object]) -> CosegError:
    """The error for a `value` of `what` (such as ``model.pooling``) that is not one of `choices`."""
    names = [str(choice) for choice in choices]
    nearest = get_close_matches(str(value), names, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return CosegError(f"{what} is '{value}', but must be one of: {', '.join(names)}.{hint}")


def checked_threshold(threshold: Any, what: str = "The threshold") -> float:
    """`threshold`, a probability, which the user set as `what`.

    Raises:
        CosegError: it is not in 0..1.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not 0 <= threshold <= 1:  # type: ignore[operator]
        raise CosegError(f"{what} is {threshold!r}, but must be a probability, from 0 to 1: 0.5, say.")
    return float(threshold)


class UserError(NamedTuple):
    """An exception that was raised in code of the user's, or in what that called.

    Attributes:
        words: its type and its message.
        file: of the user's code, the innermost.
        line: the line there.
        name: the function there.
    """

    words: str
    file: str
    line: int
    name: str

    def __str__(self) -> str:
        where = "" if self.name in ("", "<module>") else f", in {self.name}"
        return f"{self.words} ({self.file}, line {self.line}{where}). HYDRA_FULL_ERROR=1 shows the whole traceback."


def user_error(error: BaseException) -> UserError | None:
    """What and where `error` is, if code of a user's raised it: a network, say, that is given by ``--config-dir``.

    The user's is what is neither installed, nor Python's, nor coseg's. An error of another process comes as the text
    of its traceback, in which the place is searched.
    """
    for cause in causes(error):
        if isinstance(cause, SyntaxError) and cause.filename is not None and is_users_file(cause.filename):
            return UserError(f"{type(cause).__name__}: {cause.msg}", cause.filename, cause.lineno or 0, "")
        text = str(cause)
        if "Traceback (most recent call last)" in text:
            places = [match for match in _PLACE.finditer(text) if is_users_file(match["file"])]
            if places:
                *_, last = _PLACE.finditer(text)
                words = re.search(r"^\S.*", text[last.end() :].lstrip("\n"), re.MULTILINE | re.DOTALL)
                place = places[-1]
                return UserError(_shown(words[0] if words else text), place["file"], int(place["line"]), place["name"])
            continue
        frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if is_users_file(frame.filename)]
        if frames:
            return UserError(error_words(cause), frames[-1].filename, frames[-1].lineno or 0, frames[-1].name)
    return None


def error_words(error: BaseException) -> str:
    """The type of an error and its message, on one line."""
    text = _shown(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def hidden_module(target: str) -> str | None:
    """The sentence where the module of a class is not the user's file of that name, but an installed one; None: it is.

    Modules in ``--config-dir`` are searched after all others, so that a file there replaces no library.
    """
    name = target.partition(".")[0]
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    for folder in map(Path, sys.path):
        for path in (folder / f"{name}.py", folder / name / "__init__.py"):
            if not path.is_file() or not is_users_file(str(path)):
                continue
            if spec.origin is not None and Path(spec.origin).exists() and path.samefile(spec.origin):
                return None
            return (
                f"{target} is not in {path}: Python has another module of the name {name} ({spec.origin}), which comes "
                f"first. Choose another name for your file, my_{name}.py say, here and in _target_."
            )
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from, or while handling."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def is_users_file(file: str) -> bool:
    """Whether a file of Python code is neither installed, nor Python's, nor coseg's."""
    if file.startswith("<") or not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts):
        return False
    return not any(file.startswith(f"{folder}/") or file.startswith(f"{folder}\\") for folder in _LIBRARIES)


def _shown(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
