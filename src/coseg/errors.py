"""The exception that a user is meant to read."""

from collections.abc import Iterable
from difflib import get_close_matches


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
