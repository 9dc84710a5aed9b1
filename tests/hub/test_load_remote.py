"""Models from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_networks import difference

from coseg.errors import CosegError
from coseg.hub.load import load_pretrained
from coseg.models.base import CosegNetwork


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
