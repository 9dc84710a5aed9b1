from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from coseg.cli.app import parse_overrides
from coseg.training.errors import Stopped


@pytest.mark.parametrize(
    "run", ["/runs/a", "/a b/c", "/album [2020], b=c", "/it's", "/Größe/图像", "/a{b}", "/$x:y", "/a\\b", "/(a)~#"]
)
def test_the_command_that_goes_on_is_read_as_the_path(run: str) -> None:
    sentence = Stopped(Path(run) / "checkpoints" / "last.ckpt").sentence
    words = shlex.split(sentence.partition("coseg-train ")[2])
    assert len(words) == 1
    (override,) = parse_overrides(words)
    assert override.key_or_group == "resume" and str(override.value()) == run
