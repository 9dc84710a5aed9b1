"""Shared models: what is written is read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_networks import difference, network_config, tiny_network

import coseg
from coseg.errors import CosegError
from coseg.hub.load import load_pretrained
from coseg.hub.share import save_pretrained, shareable
from coseg.models.base import CosegNetwork
from coseg.training.task import load_task


def test_a_model_comes_back_as_it_was(config: dict[str, Any], network: CosegNetwork, tmp_path: Path) -> None:
    save_pretrained(tmp_path, config, network, {"threshold": 0.4, "size": 48}, half=False)
    found = load_pretrained(tmp_path)
    assert difference(found.network, network) == 0
    assert not found.network.training
    assert found.source == str(tmp_path)
    assert found.settings == json.loads((tmp_path / "config.json").read_text())
    assert found.settings["threshold"] == 0.4 and found.settings["size"] == 48
    assert found.settings["coseg"] == coseg.__version__ and found.settings["network"] == config


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


def test_weights_of_another_network_are_not_written(config: dict[str, Any], tmp_path: Path) -> None:
    other = tiny_network(network_config("siamese.SiameseNetwork"))
    with pytest.raises(CosegError, match="does not fit"):
        save_pretrained(tmp_path / "new", config, other)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(CosegError, match="can't be written"):
        save_pretrained(tmp_path / "file", network_config("siamese.SiameseNetwork"), other)
