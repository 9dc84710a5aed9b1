"""What a setting may be: pydantic types, each with the words that say so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, StrictBool, StrictFloat, StrictInt, StrictStr, WrapValidator
from pydantic_core import PydanticCustomError, ValidationError

Field: Any = pydantic.Field
"""Its own type has no room for limits that are worked out."""

MOST_PIXELS = 16384
"""A side of an image: three channels of single precision take 3 GB there."""

MOST_CHANNELS = 65536

MOST_SEED = 2**32 - 1
"""NumPy and Lightning take no larger one."""


def whole(low: int, high: int | None = None, *, null: bool = False, also: int | None = None) -> Any:
    """A whole number in a range, or `also`; ``1e3`` is none, as torch takes none such for a count."""
    annotation: Any = Annotated[StrictInt, Field(ge=low, le=high)]
    words = f"a whole number {_range(low, high)}"
    if also is not None:
        annotation, words = annotation | Literal[also], f"{words}, or {also}"
    return _optional(annotation, words, null)


def number(
    low: float = 0.0, high: float | None = None, *, above: bool = False, below: bool = False, null: bool = False
) -> Any:
    """A finite number in a range, without its ends where `above` and `below` say so."""
    ends: dict[str, float | None] = {"gt" if above else "ge": low, "lt" if below else "le": high}
    annotation: Any = Annotated[StrictFloat, Field(allow_inf_nan=False, **ends)]
    first = f"above {low:g}" if above else f"of at least {low:g}"
    last = "" if high is None else f" and {'below' if below else 'at most'} {high:g}"
    words = f"a finite number {first}{last}" if above or below or high is None else f"a number from {low:g} to {high:g}"
    return _optional(annotation, words, null)


def finite(*, null: bool = False) -> Any:
    """Any finite number."""
    return _optional(Annotated[StrictFloat, Field(allow_inf_nan=False)], "a finite number", null)


def steps(low: int, *, null: bool = False, also: int | None = None) -> Any:
    """As `whole`, but ``1e5`` is one too: Lightning compares such a count, and no more."""
    annotation: Any = Annotated[StrictFloat, AfterValidator(_integral), Field(ge=low, le=1e15)]
    words = f"a whole number {_range(low, None)}"
    if also is not None:
        annotation, words = annotation | Literal[also], f"{words}, or {also}"
    return _optional(annotation, words, null)


def part(*, null: bool = True, zero: bool = True) -> Any:
    """Lightning's limits: a whole number of batches, or a share of them."""
    least = 0 if zero else 1
    ends: dict[str, float] = {"ge": 0.0} if zero else {"gt": 0.0}
    share: Any = Annotated[StrictFloat, Field(allow_inf_nan=False, le=1.0, **ends)]
    annotation = Annotated[StrictInt, Field(ge=least)] | share
    return _optional(annotation, f"a whole number of batches {_range(least, None)}, or a share of them up to 1.0", null)


def switch(*, null: bool = False, words: tuple[str, ...] = ()) -> Any:
    """True or false; 1 and 0 are these. ``no`` is a word, which Python takes for true: it is refused."""
    annotation: Any = StrictBool | Annotated[StrictInt, Field(ge=0, le=1)]
    description = "true or false"
    if words:
        annotation = annotation | Literal[words]
        description += ", or " + ", or ".join(words)
    return _optional(annotation, description, null)


def word(*, null: bool = False) -> Any:
    """Text, of which what is made of it knows the choices."""
    return _optional(StrictStr, "a word", null)


def path(*, null: bool = True) -> Any:
    """The name of a file or folder."""
    return _optional(StrictStr, "a path (in quotes, where it is a number or a list to read)", null)


def one_of(*values: object, null: bool = False) -> Any:
    """One of a few values."""
    return _optional(Literal[values], f"one of {', '.join(dict.fromkeys(map(str, values)))}", null)


def listed(entry: Any, words: str, least: int = 1, most: int = 64, *, null: bool = False) -> Any:
    """A list of values of one type; `words` says of what."""
    return _optional(Annotated[list[entry], Field(min_length=least, max_length=most)], words, null)


def mapping(entry: Any) -> Any:
    """Values of one type by name."""
    return dict[str, entry]


def several(entry: Any) -> Any:
    """A list of any length."""
    return list[entry]


def described(annotation: Any, words: str) -> Any:
    """`annotation`, refused with ``but must be <words>`` whatever pydantic would say of it."""

    def wrap(value: Any, validate: Any) -> Any:
        try:
            return validate(value)
        except (ValidationError, OverflowError, ValueError):  # a whole number of 400 digits is no float
            raise PydanticCustomError("setting", "{words}", {"words": words}) from None

    return Annotated[annotation, WrapValidator(wrap)]


def _optional(annotation: Any, words: str, null: bool) -> Any:
    return described(annotation | None, f"{words}, or null") if null else described(annotation, words)


def _integral(value: float) -> float:
    if value != int(value):
        raise ValueError("not whole")
    return value


def _range(low: int, high: int | None) -> str:
    return f"of at least {low}" if high is None else f"from {low} to {high}"
