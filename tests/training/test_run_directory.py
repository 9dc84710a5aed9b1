from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from metrics_file import read_rows
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from coseg.errors import CosegError
from coseg.training.fit import fit


def test_what_a_run_leaves(trained: Path) -> None:
    left = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    assert {path for path in left if not path.startswith("test/")} == {
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "hparams.yaml",  # Lightning's, beside metrics.csv
        "curves.png",
        "finished.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "panels/epoch-000.png",
        "panels/epoch-001.png",
    }
    text = (trained / "config.yaml").read_text()
    assert "${" not in text
    config = OmegaConf.create(text)
    assert config.augmentation.size == 48
    assert config.data.reader.train == 24
    (environment,) = json.loads((trained / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["threads"] == 1
    assert {"command", "python", "platform", "accelerator", "commit"} <= environment.keys()
    rows = read_rows(trained)
    assert [row["step"] for row in rows if row["train/loss"]] == [str(step) for step in range(8)]
    assert [row["step"] for row in rows if row["val/jaccard"]] == ["3", "7"]
    for picture in ("curves.png", "panels/epoch-000.png"):
        with Image.open(trained / picture) as file:
            assert len(file.convert("RGB").getcolors(1 << 24) or []) > 10


def test_no_panels_where_none_are_wanted(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    score = fit(tiny("panels=0", "trainer.max_epochs=1"), tmp_path)
    assert not (tmp_path / "panels").exists()
    assert score == float(next(row["val/jaccard"] for row in read_rows(tmp_path) if row["val/jaccard"]))


def test_a_new_run_does_not_write_over_an_earlier_one(trained: Path, tiny: Callable[..., DictConfig]) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    with pytest.raises(CosegError, match="resume="):
        fit(tiny("seed=1"), trained)
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before
