"""What a user can mend: a sentence, exit code 2, no traceback, and nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from facts import mentions
from layouts.voc import write_voc

Command = Callable[..., tuple[int, str, str]]
Overrides = dict[str, tuple[str, ...]]


def listing(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def assert_refused(command: Command, words: list[str], name: str, *arguments: str) -> None:
    before = listing(Path.cwd())
    code, out, err = command(name, *arguments)
    assert code == 2, err
    for word in words:
        assert word in err
    assert "Traceback" not in out + err
    assert err.count("\n") == 1 or "JPEGImages" in err  # a sentence, and at most the drawing of a layout
    assert listing(Path.cwd()) == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.pooling=foo", ["model.pooling", "foo", "average"]),
        ("model.use=foo", ["model.use", "foo", "gate"]),
        ("model.kernel_sizes=[4]", ["model.kernel_sizes", "4"]),
        ("model.encoder.layer=conv9", ["model.encoder.layer", "conv9"]),
        ("model.encoder.weights=nowhere.pth", ["nowhere.pth"]),
        ("task.void=foo", ["task.void", "foo", "ignored", "background"]),
        ("protocol.void=foo", ["protocol.void", "foo", "ignored", "background"]),
        ("data.order=foo", ["order", "foo", "uniform"]),
        ("data.batch_size=0", ["data.batch_size", "0"]),
        ("data.pairs_per_epoch=3", ["data.batch_size", "4"]),
        ("trainer.precision=foo", ["trainer.precision", "foo"]),
        ("dataset.reader.train=1", ["train", "1"]),
        ("augmentation.size=0", ["augmentation.size", "0"]),
    ],
)
def test_a_value_that_is_none(override: str, words: list[str], command: Command, tiny_overrides: Overrides) -> None:
    assert_refused(command, words, "train", *tiny_overrides["train"], override)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Three images in VOC's layout, and a list ``val`` whose images share no class."""
    items = []
    for name, label in (("a", 1), ("b", 1), ("c", 2)):
        labels = np.zeros((20, 20), np.uint8)
        labels[5:9, 5:9] = label
        items.append((name, np.zeros((20, 20, 3), np.uint8), labels))
    write_voc(tmp_path / "voc", items, {"train": ["a", "b"], "val": ["a", "b"]})
    return tmp_path / "voc"


def voc_arguments(tiny_overrides: Overrides, root: Path | None) -> list[str]:
    kept = [each for each in tiny_overrides["train"] if not each.startswith("dataset.reader")]
    where = [] if root is None else [f"dataset.root={root}"]
    return [*kept, "dataset=voc", "dataset.split_val=false", *where, "data.pairs_per_epoch=4"]


@pytest.mark.parametrize("case", ["none given", "missing", "wrong", "no image", "no mask", "no pair", "damaged"])
def test_data_that_cannot_be_used(
    case: str, voc: Path, command: Command, tiny_overrides: Overrides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COSEG_VOC_ROOT", raising=False)
    root: Path | None = voc
    lists = voc / "ImageSets" / "Segmentation"
    words = [str(voc)]
    if case == "none given":
        root, words = None, ["dataset.root", "COSEG_VOC_ROOT"]
    elif case == "missing":
        root, words = voc / "nowhere", ["nowhere", "dataset.root"]
    elif case == "wrong":
        shutil.rmtree(voc / "SegmentationClass")
        words += ["SegmentationClass", "dataset.root"]
    elif case in ("no image", "no mask"):
        (voc / ("JPEGImages/b.jpg" if case == "no image" else "SegmentationClass/b.png")).unlink()
        words += [case.removeprefix("no "), "b."]
    elif case == "no pair":
        (lists / "val.txt").write_text("a\nc\n")
        words = ["pair", "class"]
    else:
        (voc / "SegmentationClass" / "b.png").write_bytes(b"no picture")
        words = ["b.png"]
    assert_refused(command, words, "train", *voc_arguments(tiny_overrides, root))


def test_checkpoints_that_cannot_be_used(
    trained: Path, command: Command, tiny_overrides: Overrides, tmp_path: Path
) -> None:
    arguments = [*tiny_overrides["test"], "split=seen"]
    assert_refused(command, ["best.ckpt", "runs", "coseg-train"], "test", *arguments)
    assert_refused(command, ["nowhere.ckpt"], "test", *arguments, "ckpt=nowhere.ckpt")

    Path("text.ckpt").write_text("no checkpoint")
    assert_refused(command, ["text.ckpt"], "test", *arguments, "ckpt=text.ckpt")
    torch.save({"features.0.weight": torch.zeros(1)}, "weights.ckpt")
    assert_refused(command, ["weights.ckpt", "coseg-train"], "test", *arguments, "ckpt=weights.ckpt")

    contents = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    contents["state_dict"] = {
        key: value[..., :1] if value.dim() else value for key, value in contents["state_dict"].items()
    }
    torch.save(contents, "other.ckpt")
    assert_refused(command, ["other.ckpt", "network"], "test", *arguments, "ckpt=other.ckpt")
    contents["hyper_parameters"]["network"] = {"_target_": "coseg.models.gone.GoneNetwork"}
    torch.save(contents, "gone.ckpt")
    assert_refused(command, ["coseg.models.gone.GoneNetwork"], "test", *arguments, "ckpt=gone.ckpt")


def test_a_test_of_what_there_is_not(trained: Path, command: Command, tiny_overrides: Overrides) -> None:
    arguments = [*tiny_overrides["test"], f"ckpt={trained / 'checkpoints' / 'best.ckpt'}"]
    assert_refused(command, ["split", "sen", "seen"], "test", *arguments, "split=sen")
    assert_refused(command, ["protocol.void", "foo"], "test", *arguments, "protocol.void=foo")
    assert_refused(command, ["trainer.precision", "foo"], "test", *arguments, "trainer.precision=foo")


def test_resuming_what_is_no_run(trained: Path, command: Command, tmp_path: Path) -> None:
    assert_refused(command, ["nowhere", "run directory"], "train", "resume=nowhere")
    (tmp_path / "empty").mkdir()
    assert_refused(command, ["empty", "config.yaml"], "train", "resume=empty")
    (tmp_path / "early").mkdir()
    shutil.copy(trained / "config.yaml", tmp_path / "early")
    assert_refused(command, ["last.ckpt"], "train", "resume=early")
    assert_refused(command, ["seed=3", "configuration"], "train", "resume=early", "seed=3")


def test_other_runs_stay(command: Command, tmp_path: Path, tiny_overrides: Overrides) -> None:
    (tmp_path / "runs" / "shapes" / "empty").mkdir(parents=True)
    assert_refused(command, ["foo"], "train", *tiny_overrides["train"], "model.pooling=foo")


def test_a_real_process(tmp_path: Path, tiny_overrides: Overrides) -> None:
    command = [sys.executable, "-m", "coseg.cli.train", *tiny_overrides["train"], "model.pooling=averag"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert mentions(ran.stderr, "model.pooling", "'averag'", "average, max, strided", "'average'")
    assert ran.stdout == ""
    assert not list(tmp_path.iterdir())
