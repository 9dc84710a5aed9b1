"""A job of a sweep that failed leaves a file that says why, for the process that started it and for the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from coseg.errors import CosegError
from coseg.files import write_text_atomically
from coseg.plain_data import read_json

FILE = "failed.json"
"""In the job's folder."""


class Failure(NamedTuple):
    """Why a job failed.

    Attributes:
        code: the exit code that it would have had alone: 2 for what a user can mend, 1 for a defect.
        error: a sentence, or the last line of a traceback.
        overrides: of the configuration, the job's own among them.
    """

    code: int
    error: str
    overrides: list[str]


def write_failure(folder: Path, code: int, error: str, overrides: Sequence[str]) -> None:
    """Leave `FILE` in the job's `folder`."""
    failure = Failure(code, error, list(overrides))
    write_text_atomically(folder / FILE, json.dumps(failure._asdict(), indent=2, ensure_ascii=False) + "\n")


def read_failure(folder: Path) -> Failure | None:
    """What a failed job left in `folder`; None for one that did not fail."""
    path = folder / FILE
    advice = "remove it, or the job's folder"
    try:
        values = read_json(path, advice, verbatim=True)
        return Failure(int(values["code"]), str(values["error"]), [str(word) for word in values["overrides"]])
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise CosegError(f"{path} is damaged ({type(error).__name__}: {error}): {advice}.") from None
