"""One export in every format, by the command, that all tests here look at."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coseg.cli.export import main
from coseg.hub.load import load_pretrained
from coseg.models.base import CosegNetwork


class Exported(NamedTuple):
    """An export: its folder, what the command printed, and the model that it is of."""

    folder: Path
    out: str
    run: Path


@pytest.fixture(scope="session")
def exported(
    trained: Path, tmp_path_factory: pytest.TempPathFactory, tiny_overrides: dict[str, tuple[str, ...]]
) -> Exported:
    """The tiny training as ONNX, torch program, safetensors and int8."""
    from hydra.core.global_hydra import GlobalHydra

    folder = tmp_path_factory.mktemp("exported") / "new" / "graphs"
    shapes = ["dataset=shapes", *tiny_overrides["test"]]
    words = [str(trained), "--format", "onnx", "torch", "safetensors", "--out", str(folder), "--int8", "--images", "8"]
    GlobalHydra.instance().clear()
    with redirect_stdout(io.StringIO()) as printed:
        main([*words, "--calibrate", *shapes, "--measure", *shapes, "--pairs", "20"])
    return Exported(folder, printed.getvalue(), trained)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``refused(*arguments)``: the sentence with which the command ends."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as leaving:
            main(list(arguments))
        captured = capsys.readouterr()
        assert leaving.value.code == 2, captured.err
        assert "Traceback" not in captured.err
        return captured.err

    return run


@pytest.fixture(scope="session")
def network(exported: Any) -> CosegNetwork:
    return load_pretrained(exported.run).network
