"""Cliques: which images, which pairs, and that a batch depends on nothing but its draws."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from facts import mentions, naming

from coseg.data.augmentation import Augmentation
from coseg.data.catalog import Catalog
from coseg.data.datamodule import PairDataModule
from coseg.data.dataset import CliqueCollate, CliqueDataset, CliqueSample
from coseg.data.pair_orders import ImageBalancedPairs
from coseg.data.readers.shapes import ShapesReader
from coseg.data.samplers import CliqueSampler, PairSampler, pairs_of
from coseg.errors import CosegError

PRESENCE = np.random.default_rng(0).random((40, 5)) < 0.3


def draws(size: int, presence: np.ndarray = PRESENCE, **more: Any) -> list[CliqueSample]:
    return list(CliqueSampler(PairSampler(ImageBalancedPairs(presence, 0, 60), 7, **more), presence, size))


@pytest.mark.parametrize("size", [2, 3, 6])
def test_a_clique_is_of_one_class_and_holds_its_pair(size: int) -> None:
    pairs = list(PairSampler(ImageBalancedPairs(PRESENCE, 0, 60), 7))
    seen = set()
    for draw, pair in zip(draws(size), pairs, strict=True):
        assert len(draw.images) == min(size, PRESENCE[:, draw.k].sum()) == len(set(draw.images))
        assert list(draw.images) == sorted(draw.images) and PRESENCE[list(draw.images), draw.k].all()
        assert {pair.i, pair.j} <= set(draw.images)
        seen.add(draw.images)
    assert len(seen) > 50


def test_a_small_class_is_a_small_clique() -> None:
    presence = np.zeros((5, 2), bool)
    presence[:3, 0] = presence[3:, 1] = True
    assert {draw.images for draw in draws(4, presence)} == {(0, 1, 2), (3, 4)}


def test_processes_share_the_cliques_of_one() -> None:
    alone = draws(4)
    assert [
        draw for pair in zip(*(draws(4, rank=rank, world=2) for rank in range(2)), strict=True) for draw in pair
    ] == alone
    assert draws(4, start=5) == alone[5:]


class Grey(Catalog):
    """Image i has the value i, and its label map the classes that it holds, a pixel each."""

    def __init__(self) -> None:
        super().__init__("grey", "train", [str(i) for i in range(40)], list("abcde"), PRESENCE)

    def image(self, i: int) -> np.ndarray:
        return np.full((2, 5, 3), i, np.uint8)

    def labels(self, i: int) -> np.ndarray:
        return np.tile((np.arange(5) + 1) * PRESENCE[i], (2, 1)).astype(np.uint8)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.9])
def test_a_batch_has_all_pairs_of_its_cliques(share: float) -> None:
    wanted: list[list[int]] = []

    def keep(image: np.ndarray, labels: np.ndarray, classes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        wanted.append(classes.tolist())
        return image, labels

    data = CliqueDataset(Grey(), keep)
    chosen = draws(4)[:3]
    batch = CliqueCollate(PRESENCE, share)([data[draw] for draw in chosen])
    assert wanted == [[draw.k + 1] for draw in chosen for _ in draw.images]
    images = [i for draw in chosen for i in draw.images]
    assert batch["image"].tolist() == images
    assert [int(image.max()) for image in batch["images"]] == images and batch["images"].shape == (12, 3, 2, 5)
    assert batch["labels"].shape == (12, 2, 5)
    positive = [tuple(pair) for pair in batch["pairs"][: 3 * pairs_of(4)].tolist()]
    assert positive == [pair for start in (0, 4, 8) for pair in combinations(range(start, start + 4), 2)]
    common = [PRESENCE[images[a]] & PRESENCE[images[b]] for a, b in batch["pairs"].tolist()]
    assert batch["common"].tolist() == np.array(common).tolist()
    negative = batch["pairs"][18:]
    apart = [(a, b) for a, b in combinations(range(12), 2) if not (PRESENCE[images[a]] & PRESENCE[images[b]]).any()]
    assert len(negative) == min(round(share / (1 - share) * 18), len(apart))
    assert {tuple(pair) for pair in negative.tolist()} <= set(apart) and len({*map(tuple, negative.tolist())}) == len(
        negative
    )


def module(**changes: Any) -> PairDataModule:
    settings: dict[str, Any] = {
        "clique": 3,
        "batch_size": 7,
        "pairs_per_epoch": 60,
        "order": "image_balanced",
    } | changes
    return PairDataModule(
        ShapesReader(size=48, train=24, val=4, seen=2, unseen=2),
        splits={"train": "train", "val": "val"},
        augmentation=Augmentation([A.RandomResizedCrop(size=(32, 32), scale=(0.4, 1.0))], size=32),
        **settings,
    )


def test_batches_are_the_same_with_workers() -> None:
    first, second = (list(module(workers=workers).train_dataloader()) for workers in (0, 2))
    assert len(first) == 60 // 3 // 3  # three cliques of three pairs hold seven
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert one["images"].shape == (9, 3, 32, 32)
    assert mentions(module().describe("train"), "shapes/train", "24 images", "20 cliques", "of 3")
    seen = Counter(i for batch in first for i in batch["image"].tolist())
    assert len(seen) > 12


def test_bad_settings_are_told() -> None:
    for bad in (1, 0, "many", True):
        with pytest.raises(CosegError, match=naming("data.clique", str(bad))):
            module(clique=bad)
    with pytest.raises(CosegError, match=naming("epoch", 1, "cliques", 3)):
        module(pairs_per_epoch=3).train_dataloader()
    with pytest.raises(CosegError, match=naming("data.negatives=1")):
        module(negatives=1.0).train_dataloader()
