from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from coseg.models.base import CosegNetwork


def test_float32_scores_are_those_of_the_network(
    exported: Any, network: CosegNetwork, compose: Any, tiny_overrides: dict[str, tuple[str, ...]]
) -> None:
    from coseg.training.fit import make_datamodule

    splits = {"train": "seen", "val": "seen", "test": "seen"}
    datamodule = make_datamodule(compose("test", *tiny_overrides["test"], "data.test_pairs=20"), splits=splits)
    order, catalog = datamodule.order("test"), datamodule.catalog("test")
    overlaps = []
    for i, j in {order.pair(0, k) for k in range(len(order))}:
        common = np.flatnonzero(catalog.presence[i] & catalog.presence[j]) + 1
        pair = [torch.from_numpy(catalog.image(k).transpose(2, 0, 1).copy())[None] for k in (i, j)]
        with torch.no_grad():
            masks = [logits[0].argmax(0).bool().numpy() for logits in network(*pair)]
        for k, mask in zip((i, j), masks, strict=True):
            truth = np.isin(catalog.labels(k), common)
            overlaps.append((mask & truth).sum() / (mask | truth).sum())
    (told,) = re.findall(r"^float32 +([.\d]+)", exported.out, re.MULTILINE)
    assert float(told) == pytest.approx(np.mean(overlaps), abs=1e-3)
