"""Options of commands, for argparse: numbers, names of hosts, classes outside of coseg, and how cut-outs look."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from coseg.errors import CosegError

MOST_SEED = 2**32 - 1
MOST_PIXELS = 16384
MOST_THREADS = 4096
MOST_COUNT = 10**9


def whole(low: int, high: int = MOST_COUNT, what: str = "a whole number") -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or len(text) > 20 or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"'{text[:40]}' must be {what} from {low} to {high}")
        return int(text)

    return parse


def positive(high: float, what: str = "a number") -> Callable[[str], float]:
    """A number above 0, at most `high`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value <= high:
            raise argparse.ArgumentTypeError(f"'{text[:40]}' must be {what} above 0, at most {high:g}")
        return value

    return parse


def add_cutout_style(parser: argparse.ArgumentParser) -> None:
    """Add the options of `cutout_style`."""
    add = parser.add_argument
    add("--format", choices=("png", "webp", "jpg"), default="png", help="of the cut-outs (png); jpg needs a background")
    add("--background", metavar="COLOUR|PICTURE", help="behind the cut-outs, such as white, '#ff8800' or beach.jpg")
    add("--crop", action="store_true", help="cut-outs no larger than the object and its margin")
    add("--margin", type=_margin, metavar="PERCENT", help="around a cropped object, of its longer side (5)")
    add("--soft-edges", action="store_true", help="cut-outs with hair and fur half transparent, seconds for each")


def cutout_style(options: argparse.Namespace) -> Any:
    """The `coseg.inference.cutouts.CutoutStyle` of a command line.

    Raises:
        CosegError: the options don't fit each other, or the background is neither a picture nor a colour.
    """
    from coseg.inference.cutouts import CutoutStyle, background

    if options.margin is not None and not options.crop:
        raise CosegError("--margin is for --crop: give both.")
    behind = None if options.background is None else background(options.background)
    margin = CutoutStyle.margin if options.margin is None else options.margin / 100
    return CutoutStyle(options.format, behind, options.crop, margin, options.soft_edges)


def _margin(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"'{text[:40]}' must be a number of percent from 0 to 1000")
    return value


def host_name(text: str) -> str:
    """The name of a host, without a port."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a host's name, such as photos.example.org, without a port")
    return text


def add_trust(parser: argparse.ArgumentParser, what: str = "MODEL") -> None:
    """Add ``--trust`` and ``--config-dir``, with which a command loads classes outside of coseg.

    Args:
        parser: of the command.
        what: the model that may name such classes, for the help.
    """
    parser.add_argument(
        "--trust", action="store_true", help=f"{what} may name classes outside of coseg: they are yours, import them"
    )
    parser.add_argument(
        "--config-dir", action=_ImportFrom, metavar="DIR", help="the directory whose Python files define these classes"
    )


class _ImportFrom(argparse.Action):
    """Let classes be imported from a directory, after all installed packages."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        folder = Path(str(values)).expanduser()
        if not folder.is_dir():
            parser.error(f"--config-dir is {folder}, but must be a directory")
        if (place := str(folder.resolve())) not in sys.path:
            sys.path.append(place)
        setattr(namespace, self.dest, folder)


def config_dir_first(words: Sequence[str]) -> list[str]:
    """A command line of Hydra with ``--config-dir`` before the overrides: argparse refuses it between them."""
    first: list[str] = []
    rest: list[str] = []
    remaining = iter(words)
    for word in remaining:
        if word in ("--config-dir", "-cd"):
            first += [word, *([value] if (value := next(remaining, None)) is not None else [])]
        elif word.startswith(("--config-dir=", "-cd=")):
            first.append(word)
        else:
            rest.append(word)
    return first + rest
