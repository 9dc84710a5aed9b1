"""Data that somebody else may have written, read as plain values and nothing else.

A file is looked at before memory is taken for it: only regular files are opened (a pipe would block, a device has side
effects), and only up to a size. What comes out is dictionaries with strings as keys, lists, strings, numbers, truth
values and None. Three things that a configuration of our own may hold are refused here: a string with ``${``, which
OmegaConf would resolve and Hydra may run; an alias in YAML, by which few bytes stand for many; and nesting without end.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import stat
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NoReturn

import yaml

from coseg.errors import CosegError
from coseg.files.stored import StoredPath

MAX_BYTES = 8 * 2**20
"""Of a file: a hundred times the largest that coseg writes."""

MAX_TABLE_BYTES = 2**30
"""Of the table of a test, unpacked: that of 37,700 pairs has 5 million."""

MAX_METRICS_BYTES = 256 * 2**20
"""Of a ``metrics.csv``: a row of 100 bytes for each of two million steps."""

MAX_YAML_BYTES = 256 * 2**10
"""Likewise of YAML, which is read at a hundredth of the speed; a run's configuration has 5,000."""

MAX_DEPTH = 64
"""Of dictionaries and lists in each other; coseg writes 8."""

MAX_VALUES = 200_000
"""In all. A pickle may hold one list in a thousand places, so size alone is no bound."""

MAX_DIGITS = 40
"""Of a number: Python takes seconds for a million."""

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)
"""In JSON: a string as a whole, or a bracket."""


class UnfitData(ValueError):
    """Why data are refused, as the end of a sentence; `CosegError` names the file and what to do."""


def require_regular_file(path: Path, advice: str = "give a file") -> int:
    """The size of a file in bytes, which is looked at but not opened.

    Raises:
        CosegError: it is a pipe, a device, a socket or a folder, or it can't be looked at.
        FileNotFoundError: there is none.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise CosegError(f"{path} can't be read ({error}): {advice}.") from None
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a device or a socket"
        raise CosegError(f"{path} is {what}, no regular file: {advice}.")
    return status.st_size


def read_bytes(path: Path, advice: str = "give another file", limit: int = MAX_BYTES, gzipped: bool = False) -> bytes:
    """The content of a regular file of at most `limit` bytes; that of a gzipped one, which unpacks to no more.

    Raises:
        CosegError: it is no such file, or can't be unpacked; `advice` ends the sentence.
        FileNotFoundError: there is none.
    """
    size = require_regular_file(path, advice)
    data = b""
    if size <= limit:
        try:
            with _opened(path) as file:
                # A read sets memory aside for all that it may return, and a file may be growing.
                most = limit if gzipped else min(limit, 2 * size + 65536)
                data = (gzip.GzipFile(fileobj=file) if gzipped else file).read(most + 1)
        except FileNotFoundError:
            raise
        except (zlib.error, EOFError, gzip.BadGzipFile) as error:
            raise CosegError(f"{path} is damaged ({error}): {advice}.") from None
        except OSError as error:
            raise CosegError(f"{path} can't be read ({error}): {advice}.") from None
        size = max(size, len(data))
    if size > limit:
        size_words = f"it unpacks to more than {limit:,} bytes" if gzipped else f"it has {size:,} bytes"
        raise CosegError(f"{path} is damaged ({size_words}, but at most {limit:,} are read): {advice}.")
    return data


def _opened(path: Path) -> IO[bytes]:
    if isinstance(path, StoredPath):
        return path.open("rb")
    # Without O_NONBLOCK, a pipe that took the file's place after the look would block.
    return open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")


def read_text(path: Path, advice: str = "give another file", limit: int = MAX_BYTES, gzipped: bool = False) -> str:
    """The text of a regular file of at most `limit` bytes; see `read_bytes`.

    Raises:
        CosegError: it is no such file, or no UTF-8; `advice` ends the sentence.
        FileNotFoundError: there is none.
    """
    try:
        return read_bytes(path, advice, limit, gzipped).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CosegError(f"{path} is damaged (it is no text: {error}): {advice}.") from None


def read_json(path: Path, advice: str = "give another file", nan: bool = False, verbatim: bool = False) -> Any:
    """The plain data in a JSON file.

    Args:
        path: of the file.
        advice: what to do, as the end of the sentence.
        nan: accept ``NaN`` and ``Infinity``.
        verbatim: accept ``${``, in words of a command line that are shown, compared or kept, and not resolved.

    Raises:
        CosegError: it holds no JSON, or what is refused.
        FileNotFoundError: there is none.
    """
    text = read_text(path, advice)
    try:
        return parse_json(text, nan, verbatim)
    except ValueError as error:
        raise CosegError(f"{path} is damaged ({error}): {advice}.") from None


def read_yaml(path: Path, advice: str = "give another file") -> Any:
    """The plain data in a YAML file, with numbers as OmegaConf reads them (``1e-3`` is one).

    Raises:
        CosegError: it holds no YAML, or what is refused.
        FileNotFoundError: there is none.
    """
    text = read_text(path, advice, MAX_YAML_BYTES)
    try:
        data = yaml.load(text, _PlainLoader)
        require_plain(data)
        return data
    except (yaml.YAMLError, ValueError) as error:
        raise CosegError(f"{path} is damaged ({' '.join(str(error).split())}): {advice}.") from None


def parse_json(text: str, nan: bool = False, verbatim: bool = False) -> Any:
    """The plain data in JSON text; see `read_json`.

    Raises:
        ValueError: it is none, or holds what is refused.
    """
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:  # before the parser, which recurses
                raise UnfitData(f"brackets are nested deeper than {MAX_DEPTH} levels")
        elif token[0] in "]}":
            depth -= 1
    data = json.loads(
        text, parse_int=_whole_number, parse_float=lambda digits: _number(digits, nan), parse_constant=_constants(nan)
    )
    require_plain(data, verbatim=verbatim)
    return data


def require_plain(data: object, where: str = "", verbatim: bool = False) -> None:
    """Refuse what is no plain data, and a string with ``${`` wherever it stands, keys among them.

    Args:
        data: from JSON, YAML or a checkpoint.
        where: the keys that lead to it.
        verbatim: accept ``${``.

    Raises:
        UnfitData: it is, or has such a string; the sentence has the path of keys.
    """
    waiting: list[tuple[object, tuple[object, ...]]] = [(data, (where,) if where else ())]
    count = 0
    while waiting:
        value, keys = waiting.pop()
        count += 1
        if count > MAX_VALUES:
            raise UnfitData(f"it holds more than {MAX_VALUES:,} values")
        if len(keys) > MAX_DEPTH + 1:
            raise UnfitData(f"it is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            for key in value:
                if type(key) not in (str, int, float, bool):
                    raise UnfitData(f"a key at {_path(keys)} is of the type {type(key).__name__}")
                if not verbatim:
                    _refuse_interpolation(key, keys)
            waiting += [(inner, (*keys, key)) for key, inner in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(inner, (*keys, k)) for k, inner in enumerate(value)]
        elif isinstance(value, str):
            if not verbatim:
                _refuse_interpolation(value, keys)
        elif isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
            raise UnfitData(f"the number at {_path(keys)} has more than {MAX_DIGITS} digits")
        elif value is not None and not isinstance(value, int | float):
            raise UnfitData(f"the value at {_path(keys)} is of the type {type(value).__name__}")


def has_interpolation(words: Iterable[str]) -> bool:
    """Whether one of the words holds ``${``."""
    return any("${" in word for word in words)


def _refuse_interpolation(text: object, keys: tuple[object, ...]) -> None:
    if isinstance(text, str) and "${" in text:
        shown = text if len(text) <= 60 else f"{text[:59]}…"
        raise UnfitData(f"{_path(keys)} holds {shown!r}, and '${{' is never resolved in a file from elsewhere")


def _path(keys: tuple[object, ...]) -> str:
    text = ".".join(map(str, keys))
    return f"'{text if len(text) <= 120 else text[:119] + '…'}'" if keys else "the top"


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise UnfitData(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _number(digits: str, infinite: bool) -> float:
    value = float(digits)
    if math.isinf(value) and not infinite:
        raise UnfitData(f"the number {digits[:MAX_DIGITS]} is too large")
    return value


def _constants(nan: bool) -> Any:
    def refused(name: str) -> NoReturn:
        raise UnfitData(f"{name} is no number")

    return float if nan else refused


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, tags, dates, and numbers in other bases than ten."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.levels = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise UnfitData("it has an alias (*), by which YAML repeats a part")
        event = self.peek_event()
        if getattr(event, "tag", None) not in (None, "!"):
            raise UnfitData(f"it has the tag {str(event.tag)[:60]}, which asks for more than plain values")
        self.levels += 1
        if self.levels > MAX_DEPTH:
            raise UnfitData(f"it is nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.levels -= 1
        return node

    def whole_number(self, node: Any) -> int:
        return _whole_number(self.construct_scalar(node).replace("_", ""))

    def number(self, node: Any) -> float:
        text = self.construct_scalar(node).replace("_", "").lower()
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("bool", "null")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789")
)
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"(?:[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)
_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.whole_number)
_PlainLoader.add_constructor("tag:yaml.org,2002:float", _PlainLoader.number)
