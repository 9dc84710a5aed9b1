"""What tests ask of a message: that it names its facts (a file, a key, a value, a number), in whatever words.

A message may be reworded without a change to its tests. What the user needs in order to act stays: the path, the key,
the value, the choices, the option that helps.
"""

from __future__ import annotations

import re

Part = str | int | float | tuple[str, ...]
"""A fact; of a tuple, one of the words is enough."""


def naming(*parts: Part) -> str:
    """The pattern for ``pytest.raises(match=…)`` of a text in which all parts occur, in any order and letter case.

    A number must stand by itself: ``1`` is in neither ``10`` nor ``0.1``, ``-1`` nor ``a1.jpg``.

    >>> bool(re.search(naming("data.batch_size", 0), "data.batch_size is 0, but must be 1 or more"))
    True
    """
    return r"(?is)\A" + "".join(f"(?=.*(?:{'|'.join(map(_one, _words(part)))}))" for part in parts)


def mentions(text: object, *parts: Part) -> bool:
    """Whether all parts occur in the text (or the text of the exception), in any order and letter case."""
    return re.search(naming(*parts), str(text)) is not None


def _words(part: Part) -> tuple[str, ...]:
    return part if isinstance(part, tuple) else (str(part),)


def _one(word: str) -> str:
    """The word's pattern; a digit at its start or end isn't part of a longer number or name."""
    start = r"(?<![\w.,-])" if word[:1].isdigit() else ""
    end = r"(?!\w|[.,]\d)" if word[-1:].isdigit() else ""
    return start + re.escape(word) + end
