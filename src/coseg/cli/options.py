"""Types of options, for argparse: numbers in a range, refused with a sentence and exit code 2."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

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
