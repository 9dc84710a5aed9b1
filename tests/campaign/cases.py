"""A bad input: what makes it, the command that gets it, and how that has to end."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from campaign.fixtures import Fixtures
from campaign.zygote import Call, Ended, Zygote

CANARY = "canary"
"""A file that a payload makes, in the folder where the command is started, if anything runs it."""

Make = Callable[[Path, Fixtures, np.random.Generator], Sequence[str]]
"""Makes the input in a folder, and gives the arguments of the command."""

_HYDRA = re.compile(
    r"Error merging|Could not |mismatched input|Error parsing|LexerNoViableAlt|extraneous input|no viable alternative|"
    r"not in struct|Ambiguous|Multiple values|token recognition|missing EQUAL|Primary config|Key '|hydra",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Case:
    """A case.

    Attributes:
        group: of the table in the report.
        name: unique in its group.
        command: a key of `campaign.zygote.MODULES`.
        make: makes it.
        codes: exit codes that are right; 0 where the damage may be harmless.
        environment: variables to set.
        shows: whether the output of the command names the damage, where the exit code alone would not tell.
        real: start a Python of its own, no fork.
    """

    group: str
    name: str
    command: str
    make: Make
    codes: tuple[int, ...] = (2,)
    environment: Mapping[str, str | None] = field(default_factory=dict)
    shows: Callable[[Ended, Path, Fixtures], bool] | None = None
    real: bool = False


@dataclass(frozen=True)
class Result:
    """How a case ended: ``verdict`` is ``right``, ``hydra`` (its own error, exit code 1), or what went wrong."""

    group: str
    name: str
    command: str
    code: int
    verdict: str
    seconds: float
    message: str

    @property
    def failed(self) -> bool:
        """Whether it must be mended."""
        return self.verdict not in ("right", "hydra")


def try_case(case: Case, fixtures: Fixtures, zygote: Zygote, folder: Path, seed: int, seconds: float) -> Result:
    """Make a case in a new folder, run it, and judge how it ended; the folder is removed."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, zlib.crc32(f"{case.group} {case.name}".encode())])
    arguments = list(case.make(folder, fixtures, rng))
    ended = zygote.run(Call(case.command, arguments, folder, case.environment, real=case.real), seconds)
    verdict = judged(case, ended, folder)
    if verdict == "right" and case.shows is not None and not case.shows(ended, folder, fixtures):
        verdict = "not of the damage"
    shutil.rmtree(folder, ignore_errors=True)
    words = f"{' '.join(arguments)[-300:]} | {ended.err[-600:].strip() or ended.out[-200:].strip()}"
    return Result(case.group, case.name, case.command, ended.code, verdict, ended.seconds, words)


def judged(case: Case, ended: Ended, folder: Path) -> str:
    """What a command made of a case, in a word or two."""
    if any(folder.rglob(CANARY)):
        return "ran code"
    if ended.late:
        return "hang"
    if ended.has_traceback:
        return "traceback"
    if ended.code == 1 and _HYDRA.search(ended.err):
        return "hydra"
    if ended.code not in case.codes:
        return f"exit code {ended.code}"
    if ended.code and not ended.err.strip() + ended.out.strip():
        return "no sentence"
    left = [path for path in folder.rglob(".*") if re.search(r"\.\d+-[0-9a-f]{8}", path.name)]
    return f"left {left[0].name}" if left else "right"
