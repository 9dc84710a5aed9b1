"""A data set from outside of the package: one Python file and one YAML in a directory given as ``--config-dir``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from extensions import write_extensions
from PIL import Image

from coseg.cli import data

FEED = ("dataset=beside", "data.workers=0", "trainer.accelerator=cpu", "threads=1", "panels=0")

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory, with the two files as the documentation has them."""
    folder = tmp_path / "mine, and yours"  # characters that Hydra would read as its own notation
    write_extensions(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    root = tmp_path / "photographs"
    rng = np.random.default_rng(0)
    mask = np.zeros((48, 56), np.uint8)
    mask[8:30, 10:40] = 255
    for group, count in {"boat": 4, "tram": 3}.items():
        (root / group).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(rng.integers(0, 255, (48, 56, 3), np.uint8)).save(root / group / f"{k}.jpg")
            Image.fromarray(mask).save(root / group / f"{k}_mask.png")
    return root


def test_it_is_listed_checked_counted_and_shown(
    mine: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: object, code: int = 0) -> str:
        with pytest.raises(SystemExit) as leaving:
            data.main([str(word) for word in words])
        assert leaving.value.code == code
        return capsys.readouterr().out

    listed = run("list", "--config-dir", mine)
    assert re.search(r"^beside +Images with their masks beside them\.$", listed, re.MULTILINE)
    assert "COSEG_BESIDE_ROOT" in listed
    assert "COSEG_VOC_ROOT" in listed
    own = ("beside", "--config-dir", mine, "--root", photographs)
    assert "7 images" in run("check", *own, code=2)  # the release has more, as its reader says
    assert json.loads(run("pairs", *own)) == {"test": 6 + 3}
    assert json.loads(run("pairs", *own, "--groups", "tram")) == {"tram": 3}
    run("show", *own, "--out", tmp_path / "pairs.png")
    assert (tmp_path / "pairs.png").is_file()


@pytest.mark.parametrize("words", [("check", "beside"), ("check", "beside", "--config-dir", "nowhere")])
def test_without_the_directory_it_is_not_known(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        data.main([*words])
    assert leaving.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_network_is_trained_and_tested_on_it(
    mine: Path, photographs: Path, command: Command, tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    words = ("--config-dir", str(mine), f"dataset.root={photographs}", *FEED)
    tiny = [word for word in tiny_overrides["train"] if not word.startswith("dataset.")]
    code, _, err = command("train", *words, *tiny, "data.pairs_per_epoch=8", "trainer.max_epochs=1")
    assert code == 0, err
    (run,) = tmp_path.glob("runs/shapes/*")
    code, _, err = command("test", *words, f"ckpt={run / 'checkpoints' / 'best.ckpt'}")
    assert code == 0, err
    (results,) = run.glob("test/beside-*/results.json")
    assert json.loads(results.read_text())["pairs"] == 9
