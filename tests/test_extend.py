"""The extensions of docs/extend.md, used from outside the package with ``--config-dir``."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extensions import write_extensions
from PIL import Image

from coseg.cli import export, predict
from coseg.hub.load import load_network

MODULES = ("cosine", "patches", "beside", "focal", "mae", "colour")
COLOUR = """
import torch

from coseg import CosegNetwork


class ColourNetwork(CosegNetwork):
    def __init__(self, input_size=None):
        super().__init__(input_size)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def encode(self, images):
        return self.resize(images)

    def cosegment(self, features_a, features_b, size_a, size_b):
        logits = []
        for features, partner, size in ((features_a, features_b, size_a), (features_b, features_a, size_b)):
            distance = (features - partner.mean((2, 3), keepdim=True)).square().sum(1) * self.scale
            logits.append(self.restore(torch.stack((distance, -distance), 1), size))
        return logits[0], logits[1]
"""
Command = Callable[..., Any]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The directory with the page's files."""
    write_extensions(tmp_path / "mine")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield str(tmp_path / "mine")
    for module in MODULES:
        sys.modules.pop(module, None)


@pytest.fixture
def train(
    command: Command, mine: str, tiny_overrides: dict[str, tuple[str, ...]], tmp_path: Path
) -> Callable[..., Path]:
    """``train(*overrides)``: a tiny training with the directory; the folder of its run."""
    tiny = [word for word in tiny_overrides["train"] if not word.startswith(("model.", "dataset."))]
    shapes = [word for word in tiny_overrides["train"] if word.startswith("dataset.")]

    def run(*overrides: str) -> Path:
        words = tiny if "dataset=beside" in overrides else [*tiny, *shapes]
        trained = command("train", *overrides, "--config-dir", mine, *words, "panels=0", "trainer.max_epochs=1")
        assert trained.code == 0, trained.err
        (folder,) = (path.parent for path in tmp_path.glob("runs/**/config.yaml"))
        return folder

    return run


def forget() -> None:
    """Later commands are other processes: they know neither the modules nor the directory."""
    for module in MODULES:
        sys.modules.pop(module, None)
    sys.path[:] = [path for path in sys.path if not path.endswith("mine")]


def exit_code(main: Callable[[list[str]], None], *words: object) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def column(run: Path, name: str) -> list[float]:
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_the_page_has_all() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        names = {path.relative_to(folder).as_posix() for path in write_extensions(Path(folder))}
    assert names == {
        "cosine.py", "model/cosine.yaml", "patches.py", "encoder/patches.yaml", "beside.py", "dataset/beside.yaml",
        "focal.py", "loss/focal.yaml", "mae.py", "metrics/mae.yaml", "augmentation/crops.yaml",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_a_model_and_an_encoder(
    train: Callable[..., Path], command: Command, mine: str, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """From training, with settings of both, to a test, masks and a shared model."""
    run = train("model=cosine", "encoder@model.encoder=patches", "model.encoder.channels=16", "model.temperature=0.2")
    checkpoint = run / "checkpoints" / "best.ckpt"
    network = load_network(run, trust=True)
    assert type(network).__name__ == "CosineNetwork" and network.temperature == 0.2
    assert type(network.encoder).__name__ == "PatchEncoder" and network.encoder.out_channels == 16

    test = ("--config-dir", mine, *tiny_overrides["test"], f"ckpt={checkpoint}", "panels=0", "split=seen")
    forget()
    refused = command("test", *test)
    assert refused.code == 2 and "trust=true" in refused.err
    forget()
    tested = command("test", *test, "trust=true")
    assert tested.code == 0, tested.err
    (results,) = run.glob("test/*/results.json")
    assert json.loads(results.read_text())["model"] == "CosineNetwork"

    album = pictures(tmp_path / "album")
    options = ("--checkpoint", run, "--out", tmp_path / "cut", "--device", "cpu")
    forget()
    assert exit_code(predict.main, album, *options, "--trust") == 2  # the module is nowhere
    assert exit_code(predict.main, album, *options, "--trust", "--config-dir", tmp_path / "nowhere") == 2
    assert exit_code(predict.main, album, *options, "--trust", "--config-dir", mine) == 0
    assert list((tmp_path / "cut").rglob("*.png"))
    forget()
    shared = tmp_path / "shared"
    words = (run, "--format", "safetensors", "--out", shared, "--trust", "--config-dir", mine)
    assert exit_code(export.main, *words) == 0
    assert type(load_network(shared, trust=True)).__name__ == "CosineNetwork"

    forget()
    resumed = command("train", "--config-dir", mine, f"resume={run}", "trust=true")
    assert resumed.code == 0, resumed.err


def test_a_network_without_an_encoder(train: Callable[..., Path], mine: str, tmp_path: Path) -> None:
    """Neither an encoder nor an argument for its input size; from training, with a class loss, to its graphs."""
    text = COLOUR.replace("(self, input_size=None)", "(self)").replace("(input_size)", "()")
    (Path(mine) / "colour.py").write_text(text)
    (Path(mine) / "model" / "colour.yaml").write_text("_target_: colour.ColourNetwork\nencoder: null\n")
    run = train("model=colour", "model.input_size=32", "task.semantic=1", "augmentation=crops")
    network = load_network(run, trust=True)
    assert type(network).__name__ == "ColourNetwork" and network.input_size == 32
    forget()
    graphs = tmp_path / "graphs"
    assert exit_code(export.main, run, "--format", "torch", "--out", graphs, "--trust", "--config-dir", mine) == 0
    assert json.loads((graphs / "config.json").read_text())["graphs"]["outputs"]["encode"] == ["features", "partner"]


def test_an_encoder_with_a_model_of_coseg(train: Callable[..., Path]) -> None:
    run = train("encoder@model.encoder=patches", "model=siamese", "model.encoder.channels=32")
    network = load_network(run, trust=True)
    assert network.encoder.out_channels == 32 and network.encoder.stride == 8


def test_a_data_set(train: Callable[..., Path], tmp_path: Path) -> None:
    mask = np.zeros((40, 48), np.uint8)
    mask[8:30, 10:40] = 255
    for group, count in {"boat": 4, "tram": 3}.items():
        pictures(tmp_path / f"drawn-{group}")
        folder = tmp_path / "photographs" / group
        folder.mkdir(parents=True)
        for number in range(count):
            shutil.copy(tmp_path / f"drawn-{group}" / f"{number % 2}.png", folder / f"{number}.png")
            Image.fromarray(mask).save(folder / f"{number}_mask.png")
    root = tmp_path / "photographs"
    run = train("dataset=beside", f"dataset.root={root}", "data.pairs_per_epoch=8")
    assert "7 images" in (run / "train.log").read_text()


def test_a_loss_and_a_metric(
    train: Callable[..., Path], command: Command, mine: str, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    run = train("loss=[standard,focal]", "loss.focal.gamma=1.0", "metrics=mae")
    assert len(column(run, "train/focal_loss")) == 4
    assert all(value > 0 for value in column(run, "train/focal_loss"))
    assert all(0 < value < 1 for value in column(run, "val/mae"))
    words = ("--config-dir", mine, "metrics=mae", f"ckpt={run / 'checkpoints' / 'best.ckpt'}", "panels=0", "split=seen")
    tested = command("test", *words, *tiny_overrides["test"])
    assert tested.code == 0, tested.err
    (results,) = run.glob("test/*/results.json")
    assert 0 < json.loads(results.read_text())["mae"] < 1
