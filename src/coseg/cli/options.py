"""Options that commands share, for argparse: numbers in a range, and classes outside of coseg."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
