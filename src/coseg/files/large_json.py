"""JSON of annotations that others wrote, which may be hundreds of megabytes: as plain values, one entry at a time.

The entries of the lists at the top of such a file are independent, so no more than one of them is in memory beside the
text; where each lies in the file is known, and it can be read again later without the others. Strings are data: nothing
in them is resolved, so ``${`` needs no refusal, unlike in `coseg.files.plain_data`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from coseg.errors import CosegError
from coseg.files.plain_data import UnfitData, read_text

MAX_JSON = 2 * 2**30
"""Bytes of a file: the instances of COCO 2017 have 448 million, those of LVIS 1,100 million."""

MAX_ENTRY = 16 * 2**20
"""Characters of one entry: a polygon of half a million points."""

_PIECES = (4096, 2**17, MAX_ENTRY)  # what is parsed of the text, until the entry is whole
_BLANK = re.compile(r"[ \t\r\n]*")
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_parse = json.JSONDecoder(parse_constant=_NOT_FINITE.__getitem__).raw_decode


class Entry(NamedTuple):
    """An entry of a list at the top of a JSON file.

    Attributes:
        key: of the list.
        value: plain data; numbers may be not finite.
        start: its first byte in the file.
        end: the byte after its last.
    """

    key: str
    value: Any
    start: int
    end: int


def json_entries(path: Path, advice: str = "give another file") -> Iterator[Entry]:
    """The entries of all lists at the top of a JSON file, in its order; values that are no lists are left out.

    Raises:
        CosegError: the file is none of JSON with keys at its top, is larger than `MAX_JSON`, or has an entry larger
            than `MAX_ENTRY`; `advice` ends the sentence.
        FileNotFoundError: there is none.
    """
    text = read_text(path, advice, MAX_JSON)
    try:
        yield from _entries(text)
    except json.JSONDecodeError as error:
        raise CosegError(f"{path} is damaged (it is no JSON: {error}): {advice}.") from None
    except (ValueError, RecursionError, MemoryError) as error:
        reason = error if isinstance(error, ValueError) else "it is nested too deeply or does not fit in memory"
        raise CosegError(f"{path} is damaged ({reason}): {advice}.") from None


def read_large_json(path: Path, advice: str = "give another file", limit: int = MAX_JSON) -> Any:
    """The plain value of a JSON file of at most `limit` bytes; numbers may be not finite.

    Raises:
        CosegError: it is no such file; `advice` ends the sentence.
        FileNotFoundError: there is none.
    """
    text = read_text(path, advice, limit).removeprefix("\ufeff")
    try:
        return json.loads(text, parse_constant=_NOT_FINITE.__getitem__)
    except (ValueError, RecursionError, MemoryError) as error:
        reason = error if isinstance(error, ValueError) else "it is nested too deeply or does not fit in memory"
        raise CosegError(f"{path} is damaged ({reason}): {advice}.") from None


def _entries(text: str) -> Iterator[Entry]:
    place = _Place(text)
    position = _after_blank(text, 1 if text.startswith("\ufeff") else 0)
    if text[position : position + 1] != "{":
        raise UnfitData("its top is no object with keys in braces")
    position = _after_blank(text, position + 1)
    while text[position : position + 1] != "}":
        key, position = _value(text, position)
        if not isinstance(key, str):
            raise UnfitData(f"a key at character {position} is no text")
        position = _after_blank(text, _expected(text, position, ":"))
        if text[position : position + 1] == "[":
            position = _after_blank(text, position + 1)
            while text[position : position + 1] != "]":
                value, end = _value(text, position)
                yield Entry(key, value, place.byte(position), place.byte(end))
                position = _next(text, end, "]")
            position += 1
        else:
            _, position = _value(text, position)
        position = _next(text, position, "}")
    if _after_blank(text, position + 1) != len(text):
        raise UnfitData(f"something follows its end, at character {position + 1}")


def _value(text: str, position: int) -> tuple[Any, int]:
    """The value at a place, and the place after it."""
    for size in _PIECES:
        piece = text[position : position + size]
        try:
            value, length = _parse(piece)
        except json.JSONDecodeError as error:
            if position + size >= len(text):
                raise json.JSONDecodeError(error.msg, text, position + error.pos) from None
            continue
        if length < len(piece) or position + length == len(text):  # a number goes on in the next piece
            return value, position + length
    raise UnfitData(f"the value at character {position} is no JSON, or longer than {MAX_ENTRY:,} characters")


def _next(text: str, position: int, close: str) -> int:
    """The place of what follows a value: the next one, or `close`."""
    position = _after_blank(text, position)
    if text[position : position + 1] == close:
        return position
    position = _after_blank(text, _expected(text, position, ","))
    if text[position : position + 1] == close:
        raise json.JSONDecodeError("a value must follow the comma", text, position)
    return position


def _expected(text: str, position: int, mark: str) -> int:
    position = _after_blank(text, position)
    if text[position : position + 1] != mark:
        raise json.JSONDecodeError(f"Expecting {mark!r}", text, position)
    return position + 1


def _after_blank(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return position if match is None else match.end()


class _Place:
    """Bytes for characters, asked for in ascending order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._ascii = text.isascii()
        self._character = self._byte = 0

    def byte(self, character: int) -> int:
        if self._ascii:
            return character
        self._byte += len(self._text[self._character : character].encode())
        self._character = character
        return self._byte
