"""`python -m coseg.cli.calibrate`: from a run to a model that says whether images have a common object."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import mentions

from coseg.cli import calibrate
from coseg.inference.segmenter import CoSegmenter

Run = Callable[..., tuple[int, str, str]]
SHAPES = ("--dataset", "shapes", "--set", "reader.size=48", "reader.train=24", "reader.val=20")
FEW = ("--pairs", "12", "--groups", "4", "--device", "cpu")


@pytest.fixture
def run(invoke: Run) -> Run:
    """``run(*arguments)``."""
    return lambda *arguments: invoke(calibrate.main, *arguments)


def test_a_run_becomes_a_model_that_says_so(run: Run, trained: Path, tmp_path: Path) -> None:
    fresh = ("--checkpoint", str(trained), "--out", str(tmp_path / "model"))
    code, out, err = run(*fresh, *SHAPES, *FEW)
    assert code == 0, err
    path = tmp_path / "model" / "config.json"
    found = json.loads(path.read_text())["cooccurrence"]
    assert mentions(out, "accuracy", f"{found['pairs']} pairs", "shapes val", "two halves")
    assert len(found["names"]) == 7 and found["classes"] and found["belonging"]
    card = (tmp_path / "model" / "README.md").read_text()
    assert mentions(card, f"{found['accuracy']:.1%}")
    first = found["group"]["sizes"][0]
    assert first["size"] == 3 and f"| 3 | {first['groups']} | {first['accuracy']:.1%} (" in card
    assert f"on   {first['groups']} of 3 images: area" in out
    model = CoSegmenter.from_pretrained(tmp_path / "model")
    assert model.calibration is not None and model.calibration.accuracy == found["accuracy"]

    # Once more, in place: only config.json is replaced.
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "model", copy)
    (copy / "README.md").write_text("by hand")
    code, _, err = run("--checkpoint", str(copy), *SHAPES, *FEW, "--fit", "val", "--size", "32")
    assert code == 0, err
    settings = json.loads((copy / "config.json").read_text())
    assert settings["size"] == 32 and mentions(settings["cooccurrence"]["data"], "halves", "shapes val")
    assert (copy / "README.md").read_text() == "by hand"
    assert (copy / "model.safetensors").read_bytes() == (tmp_path / "model" / "model.safetensors").read_bytes()


def test_mistakes_get_a_sentence(run: Run, trained: Path, tmp_path: Path) -> None:
    for arguments, facts in (
        (("--checkpoint", str(trained), *SHAPES), ("--out",)),
        (("--checkpoint", "gone", "--out", "out", *SHAPES), ("no model", "gone")),
        (("--checkpoint", str(trained), "--out", "out", "--dataset", "shape"), ("'shape'", "'shapes'")),
        (("--checkpoint", str(trained), "--out", "out", *SHAPES, "--pairs", "0"), ("--pairs", "whole number", 1)),
        (("--checkpoint", str(trained), "--out", "out", *SHAPES, "--fit", "odd"), ("--fit", "'odd'")),
    ):
        code, _, err = run(*arguments)
        assert code == 2 and mentions(err.splitlines()[-1], *facts), (code, err)
    assert not Path("out").exists()
