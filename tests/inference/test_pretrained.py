"""Shared models: what is written is read back, and what is no model is refused with a sentence."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_networks import batch, network_config, picture, tiny_network

import coseg
from coseg.errors import CosegError
from coseg.inference import pretrained
from coseg.inference.pretrained import load_pretrained, save_pretrained, shareable
from coseg.models.network import CosegNetwork
from coseg.training.checkpoint import load_task


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return network_config()


@pytest.fixture(scope="module")
def network(config: dict[str, Any]) -> CosegNetwork:
    return tiny_network(config)


@pytest.fixture
def folder(config: dict[str, Any], network: CosegNetwork, tmp_path: Path) -> Path:
    save_pretrained(tmp_path / "shared", config, network)
    return tmp_path / "shared"


def difference(a: CosegNetwork, b: CosegNetwork) -> float:
    images = batch(picture(40, 50)), batch(picture(30, 60, 1))
    with torch.no_grad():
        return max(float((x - y).abs().max()) for x, y in zip(a(*images), b(*images), strict=True))


def test_a_model_comes_back_as_it_was(config: dict[str, Any], network: CosegNetwork, tmp_path: Path) -> None:
    save_pretrained(tmp_path, config, network, {"threshold": 0.4, "size": 48}, half=False)
    found = load_pretrained(tmp_path)
    assert difference(found.network, network) == 0
    assert not found.network.training
    assert found.source == str(tmp_path)
    assert found.settings == json.loads((tmp_path / "config.json").read_text())
    assert found.settings["threshold"] == 0.4 and found.settings["size"] == 48
    assert found.settings["coseg"] == coseg.__version__ and found.settings["network"] == config


def test_half_precision_takes_half_and_changes_little(folder: Path, network: CosegNetwork) -> None:
    tensors = load_file(folder / "model.safetensors")
    counts = [value for name, value in tensors.items() if name.endswith("num_batches_tracked")]
    assert counts and all(value.dtype == torch.int64 for value in counts)
    assert {value.dtype for value in tensors.values() if value.is_floating_point()} == {torch.float16}
    found = load_pretrained(folder / "model.safetensors")
    assert all(value.dtype == torch.float32 for value in found.network.parameters())
    assert 0 < difference(found.network, network) < 0.02


def test_values_beyond_half_precision_are_kept(config: dict[str, Any], tmp_path: Path) -> None:
    network = tiny_network(config)
    norm = next(module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d))
    assert norm.running_var is not None
    norm.running_var.fill_(1e6)
    save_pretrained(tmp_path, config, network)
    other = next(m for m in load_pretrained(tmp_path).network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert other.running_var is not None and torch.equal(other.running_var, norm.running_var)


def test_the_card_tells_what_it_is(folder: Path, network: CosegNetwork, config: dict[str, Any]) -> None:
    card = (folder / "README.md").read_text()
    assert "library_name: coseg" in card and "Not calibrated" in card and "Not recorded" in card
    assert f"{sum(each.numel() for each in network.parameters()):,} parameters" in card
    training = {"data": "shapes", "classes": ["cat", "dog"], "steps": 1200, "notes": "## Limits\nMany."}
    training["scores"] = [{"what": "shapes seen", "jaccard": 0.61234}]
    save_pretrained(folder, config, network, {"training": training})
    card = (folder / "README.md").read_text()
    for words in ("data set: shapes", "cat, dog", "1,200", "| shapes seen | 0.612 | - | - | - |", "## Limits\nMany."):
        assert words in card


def test_a_run_and_its_checkpoint_can_be_shared(trained: Path, tmp_path: Path) -> None:
    network = load_task(trained / "checkpoints" / "best.ckpt").network.eval()
    for source in (trained, str(trained / "checkpoints" / "best.ckpt")):
        found = load_pretrained(source)
        assert difference(found.network, network) == 0
        assert found.source.endswith("best.ckpt")
        assert found.settings["training"]["data"] == "shapes"
        assert found.settings["training"]["steps"] > 0
    save_pretrained(tmp_path, *shareable(trained), half=False)
    assert difference(load_pretrained(tmp_path).network, network) < 1e-5  # its memory may be laid out otherwise
    card = (tmp_path / "README.md").read_text()
    assert "data set: shapes" in card and str(trained) not in card


def test_what_is_no_model_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no")
    (tmp_path / "empty").mkdir()
    for source, words in (
        (tmp_path / "gone", "There is no model"),
        ("./gone", "There is no model"),
        (tmp_path / "notes.txt", "is no model"),
        (tmp_path / "empty", "holds no model"),
    ):
        with pytest.raises(CosegError, match=words):
            load_pretrained(source)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CosegError, match=r"model\.safetensors is missing"):
        load_pretrained(folder)


@pytest.mark.parametrize("cut", [0, 100, -1], ids=["empty", "in the head", "in the weights"])
def test_damaged_weights_are_refused(folder: Path, cut: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CosegError, match=r"model\.safetensors is damaged"):
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, "is missing"),
        ("{", "is damaged"),
        ("[1]", "is damaged"),
        ({"format": 2, "coseg": "9.0"}, "of format 2, made by coseg 9.0"),
        ({"format": None}, "'format' is None"),
        ({"network": {}}, "names no class"),
        ({"network": {"_target_": "os.system"}}, r"'os\.system', which is no network"),
        ({"network": {"_target_": "subprocess.Popen", "args": "true"}}, "which is no network"),
        ({"network": {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}}, "which is no network"),
        ({"network": {"_target_": "coseg.models.gone.Network"}}, "there is no class"),
        ({"network": network_config(kernel_size=[3])}, "no setting 'kernel_size'"),
        ({"network": network_config("siamese.SiameseNetwork")}, "does not fit SiameseNetwork"),
        ({"size": -1}, "size is '-1'"),
        ({"threshold": 2}, "threshold is 2"),
        ({"commonness": {"names": ["a"]}}, "calibration in 'commonness' is damaged"),
    ],
    ids=str,
)
def test_a_config_that_does_not_fit_is_refused(folder: Path, change: Any, words: str) -> None:
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    if change is None:
        path.unlink()
    else:
        path.write_text(change if isinstance(change, str) else json.dumps(settings | change))
    with pytest.raises(CosegError, match=words):
        load_pretrained(folder)


def test_weights_of_another_network_are_not_written(config: dict[str, Any], tmp_path: Path) -> None:
    other = tiny_network(network_config("siamese.SiameseNetwork"))
    with pytest.raises(CosegError, match="does not fit"):
        save_pretrained(tmp_path / "new", config, other)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(CosegError, match="can't be written"):
        save_pretrained(tmp_path / "file", network_config("siamese.SiameseNetwork"), other)


def test_a_model_from_the_hub(folder: Path, network: CosegNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def fetched(name: str, revision: str | None = None, allow_patterns: list[str] | None = None) -> str:
        asked.append((name, revision, allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    found = load_pretrained("ada/birds@v2")
    assert found.source == "ada/birds@v2"
    assert difference(found.network, network) < 0.02
    load_pretrained("ada/birds")
    files = ["model.safetensors", "config.json", "README.md"]
    assert asked == [("ada/birds", "v2", files), ("ada/birds", None, files)]


def test_a_hub_that_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    from huggingface_hub.errors import LocalEntryNotFoundError

    for error in (LocalEntryNotFoundError("offline."), httpx.ConnectError("no route"), ConnectionError("refused")):

        def fail(*arguments: Any, error: Exception = error, **options: Any) -> str:
            raise error

        monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
        with pytest.raises(CosegError, match="ada/birds is no file or folder here, and it could not be fetched"):
            load_pretrained("ada/birds")


def test_the_model_in_the_box(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pretrained, "box", lambda: tmp_path / "box")
    with pytest.raises(CosegError, match="no model in the box"):
        load_pretrained()
    shutil.copytree(folder, tmp_path / "box")
    assert load_pretrained().source == "the model in the box"


def test_a_changed_bit_of_the_weights_is_noticed(folder: Path) -> None:
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    for place in (len(data) // 2, len(data) - 1):
        weights.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(CosegError, match=r"model\.safetensors is damaged.*weights_sha256"):
            load_pretrained(folder)
    weights.write_bytes(data)
    settings = json.loads((folder / "config.json").read_text())
    assert len(settings.pop("weights_sha256")) == 64
    (folder / "config.json").write_text(json.dumps(settings))  # of an earlier version
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert load_pretrained(folder).settings["format"] == 1
