"""The weights of a shared model: half precision, damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_networks import difference, tiny_network

from coseg.errors import CosegError
from coseg.hub.load import load_pretrained
from coseg.hub.share import save_pretrained
from coseg.models.base import CosegNetwork


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


@pytest.mark.parametrize("cut", [0, 100, -1], ids=["empty", "in the head", "in the weights"])
def test_damaged_weights_are_refused(folder: Path, cut: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CosegError, match=r"model\.safetensors is damaged"):
        load_pretrained(folder)


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
