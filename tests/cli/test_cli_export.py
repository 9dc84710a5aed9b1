"""coseg-export: options that do not go together are refused before a model is read, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facts import mentions

from coseg.cli.export import main


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("--int8",), ("--int8", "--calibrate")),
        (("--calibrate", "photographs"), ("--int8", "--calibrate")),
        (("--format", "safetensors", "--measure", "dataset=shapes"), ("onnx", "--measure")),
        (("--format", "safetensors", "--int8", "--calibrate", "photographs"), ("onnx", "--format")),
    ],
)
def test_options_that_do_not_fit(
    invoke: Callable[..., Any], arguments: tuple[str, ...], facts: tuple[str, ...]
) -> None:
    outcome = invoke(main, "--out", "exported", *arguments)
    assert outcome.code == 2 and mentions(outcome.err, *facts) and len(outcome.err.splitlines()) == 1
    assert not Path("exported").exists()


def test_a_folder_that_is_not_empty_is_kept(invoke: Callable[..., Any]) -> None:
    Path("exported").mkdir()
    Path("exported", "mine.txt").write_text("mine")
    outcome = invoke(main, "--out", "exported")
    assert outcome.code == 2 and mentions(outcome.err, "exported", "--overwrite")
    assert [path.name for path in Path("exported").iterdir()] == ["mine.txt"]
