"""A tiny network, and the folder of its shared model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_networks import network_config, tiny_network

from coseg.hub.share import save_pretrained
from coseg.models.base import CosegNetwork


@pytest.fixture(scope="session")
def config() -> dict[str, Any]:
    return network_config()


@pytest.fixture(scope="session")
def network(config: dict[str, Any]) -> CosegNetwork:
    return tiny_network(config)


@pytest.fixture
def folder(config: dict[str, Any], network: CosegNetwork, tmp_path: Path) -> Path:
    save_pretrained(tmp_path / "shared", config, network)
    return tmp_path / "shared"
