"""The exception that a user is meant to read, and checks that raise it."""

from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Real
from typing import Any


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
