"""What the tests of the ordinary commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from coseg.data.sources import SOURCES


class Outcome(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def invoke(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Outcome]:
    """``invoke(main, *arguments)``: as from a shell, in an empty directory, without data sets of the environment."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for source in SOURCES.values():
        if source.variable:
            monkeypatch.delenv(source.variable, raising=False)

    def called(main: Callable[[list[str]], None], *arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        return Outcome(int(leaving.value.code or 0), *capsys.readouterr())

    return called
