"""What the tests of the ordinary commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from coseg.cli.datasets import listed_datasets


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
    for dataset in listed_datasets().values():
        if dataset.variable:
            monkeypatch.delenv(dataset.variable, raising=False)

    def called(main: Callable[[list[str]], None], *arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        return Outcome(int(leaving.value.code or 0), *capsys.readouterr())

    return called


@pytest.fixture
def predict(invoke: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """``predict(*arguments)`` in an empty folder, with `RedNetwork` as the bundled model."""
    from red_network import RedNetwork

    from coseg.cli.predict import main
    from coseg.hub import load as hub_load
    from coseg.hub.load import Pretrained

    network = RedNetwork()
    settings = {"size": 64, "threshold": 0.5, "cooccurrence": None, "network": {"_target_": "red"}}
    load = hub_load.load_pretrained

    def loaded(source: str | None = None, trust: bool = False) -> Pretrained:
        return Pretrained(network, settings, "the bundled model") if source is None else load(source, trust)

    monkeypatch.setattr(hub_load, "load_pretrained", loaded)
    return lambda *arguments: invoke(main, *arguments)
