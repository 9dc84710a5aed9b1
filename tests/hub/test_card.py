"""The model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coseg.hub.share import save_pretrained
from coseg.models.base import CosegNetwork


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
