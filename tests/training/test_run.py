"""The files of a run directory, and a resumed configuration, which is checked as any."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import mentions
from metrics_file import read_rows
from omegaconf import OmegaConf
from PIL import Image

from coseg.errors import CosegError
from coseg.training.run import newest_best_checkpoint


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


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("batch_size: 4", "batch_size: 1000000000", "batch"),
        ("batch_size: 4", "batch_size: 100000000000", "data.batch_size"),
        ("size: 48", "size: 1000000000", "size"),
        ("threads: 1", "threads: 1000000000", "threads"),
        ("workers: 0", "workers: 1000000000", "data.workers"),
        ("max_epochs: 2", "max_epochs: 3\n  num_nodes: 2", "num_nodes"),
    ],
)
def test_a_resumed_configuration_is_checked_as_any(
    old: str, new: str, key: str, trained: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    folder = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("test"))
    (folder / "finished.json").unlink()
    path = folder / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    code, _, err = command("train", f"resume={folder}")
    assert code == 2 and key in err and "Traceback" not in err
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


@pytest.mark.parametrize("value", ["maybe", "null", "2", "[true]", "yes please"])
def test_trust_is_true_or_false(value: str, command: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = command("train", f"trust={value}")
    assert code == 2 and "trust" in err and "true or false" in err


def test_where_nothing_was_validated_the_last_checkpoint_is_named(tmp_path: Path) -> None:
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    for words in (("coseg-train",), ("coseg-train", last)):
        with pytest.raises(CosegError) as error:
            newest_best_checkpoint(tmp_path)
        assert mentions(str(error.value), *words)
        last.parent.mkdir(parents=True, exist_ok=True)
        last.touch()
