"""Models from files, folders, runs and the package: what is no model is refused with a sentence."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from facts import mentions
from PIL import Image
from tiny_networks import difference, network_config, picture, tiny_network

import coseg
from coseg.errors import CosegError
from coseg.hub import load
from coseg.hub.load import load_fitting, load_pretrained, network_file, network_in_file
from coseg.hub.settings import bundled_folder
from coseg.hub.share import save_pretrained
from coseg.models.base import CosegNetwork


def test_what_is_no_model_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no")
    (tmp_path / "empty").mkdir()
    for source, words in (
        (tmp_path / "gone", "There is no model"),
        ("./gone", "There is no model"),
        (tmp_path / "notes.txt", "not a model"),
        (tmp_path / "empty", "holds no model"),
    ):
        with pytest.raises(CosegError, match=words):
            load_pretrained(source)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CosegError, match=r"model\.safetensors is missing"):
        load_pretrained(folder)


def test_a_pickle_is_never_opened(folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    for name in ("model.safetensors", "best.ckpt"):
        (folder / name).write_bytes(pickle.dumps(Trap(), protocol=2))
        with pytest.raises(CosegError):
            load_pretrained(folder / name)
    torch.save(Trap(), folder / "best.ckpt")
    with pytest.raises(CosegError):
        load_pretrained(folder / "best.ckpt")
    assert not (tmp_path / "sprung").exists()


def test_the_bundled_model(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(load, "bundled_folder", lambda: tmp_path / "bundled")
    with pytest.raises(CosegError, match="no bundled model"):
        load_pretrained()
    shutil.copytree(folder, tmp_path / "bundled")
    assert load_pretrained().source == "the bundled model"


def test_bundled_is_a_name_wherever_a_model_is_expected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "bundled_folder", lambda: folder)
    assert load_pretrained("bundled").source == load_pretrained().source
    assert network_file("bundled") == network_file("box") == folder / "model.safetensors"


def test_a_network_from_each_source(
    folder: Path, network: CosegNetwork, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "bundled_folder", lambda: folder)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **options: str(folder))
    for source in ("bundled", folder, folder / "model.safetensors", "ada/birds"):
        loaded = coseg.load_network(source)
        assert not loaded.training and difference(loaded, network) < 0.02
    in_run = coseg.load_network(trained)
    assert not in_run.training
    assert difference(in_run, coseg.load_network(trained / "checkpoints" / "best.ckpt")) == 0


def test_the_input_size_is_that_of_the_settings(config: dict[str, Any], network: CosegNetwork, tmp_path: Path) -> None:
    save_pretrained(tmp_path, config, network, {"size": 48, "threshold": 0.75})
    assert coseg.load_network(tmp_path).input_size == 48
    network, threshold = network_in_file(network_file(tmp_path))
    assert network.input_size == 48 and threshold == 0.75
    assert load_pretrained(tmp_path).network.input_size == 32


PHOTOGRAPHS = """
import sys
import coseg
from coseg import CosegNetwork, PairIndex, PairScores, create_network
for source in sys.argv[1:3]:
    model = coseg.CoSegmenter.from_pretrained(source, device="cpu")
    assert len(model.pair(*sys.argv[3:])) == 2
    coseg.load_network(source)
import coseg.export.export_model, coseg.hub.share, coseg.page.server, coseg.cli.predict
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("lightning", "pytorch_lightning")))
"""


def test_networks_scores_and_photographs_need_no_lightning(folder: Path, trained: Path, tmp_path: Path) -> None:
    photographs = [str(tmp_path / f"{k}.png") for k in range(2)]
    for k, path in enumerate(photographs):
        Image.fromarray(picture(40, 50, k)).save(path)
    source = bundled_folder() if (bundled_folder() / "model.safetensors").is_file() else folder
    command = [sys.executable, "-c", PHOTOGRAPHS, str(source), str(trained), *photographs]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "[]"


def test_weights_that_fit_are_loaded_and_the_rest_is_reported(folder: Path) -> None:
    network = load_pretrained(folder).network
    same = tiny_network(network_config(), seed=1)
    report = load_fitting(same, folder)
    assert difference(same, network) == 0
    assert not report.missing + report.reshaped + report.unused
    count = len(report.loaded)
    assert mentions(str(report), str(folder), "CrossCorrelationNetwork", f"{count} of {count}")

    siamese = tiny_network(network_config("siamese.SiameseNetwork"), seed=1)
    before = {name: value.clone() for name, value in siamese.state_dict().items()}
    report = load_fitting(siamese, folder)
    assert sorted((*report.loaded, *report.missing, *report.reshaped)) == sorted(before)
    assert all(name in report.loaded for name in before if name.startswith("encoder."))
    for name, value in siamese.state_dict().items():
        expected = network.state_dict()[name] if name in report.loaded else before[name]
        assert torch.equal(value, expected), name
    for names in (report.missing, report.reshaped, report.unused):
        assert mentions(str(report), *names[:1])


def test_a_network_that_no_weights_fit_is_refused(folder: Path) -> None:
    class Other(CosegNetwork):
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(2, 2)

        def encode(self, images: torch.Tensor) -> Any:
            return images

        def cosegment(self, *_: Any) -> Any:
            return _

    other = Other()
    with pytest.raises(CosegError) as error:
        load_fitting(other, folder)
    assert mentions(str(error.value), str(folder), "CrossCorrelationNetwork", "Other", "line.weight", "model=")
