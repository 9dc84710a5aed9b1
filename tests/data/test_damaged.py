"""What training does about images that can't be decoded: ``data.on_damaged``."""

from __future__ import annotations

from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from facts import mentions, naming
from layouts.groups import GroupItem, write_folder

from coseg.data.augmentation import Augmentation
from coseg.data.datamodule import PairDataModule
from coseg.data.readers.folder import FolderReader
from coseg.errors import CosegError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight images, the third of which is cut short: its header is whole."""
    truth = np.zeros((24, 32), np.uint8)
    truth[4:14, 6:20] = 1
    rng = np.random.default_rng(0)
    write_folder(
        tmp_path, [GroupItem("cat", rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), truth) for _ in range(8)]
    )
    path = tmp_path / "cat" / "images" / "0003.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    return tmp_path


def module(root: Path, **changes: object) -> PairDataModule:
    settings = {"augmentation": Augmentation([A.RandomCrop(16, 16)], size=16), "batch_size": 2, "pairs_per_epoch": 8}
    splits = {"train": "all", "val": "all", "test": ["all"]}
    return PairDataModule(FolderReader(root, "all"), splits, **settings | changes)  # type: ignore[arg-type]


def test_a_damaged_image_is_refused_by_its_name(root: Path) -> None:
    data = module(root, pairs_per_epoch=28)
    data.setup("fit")
    with pytest.raises(CosegError, match=naming("0003.jpg", "decode")):
        list(data.train_dataloader())
    assert data.skipped == []


def test_it_is_left_out_where_it_is_asked_for(root: Path) -> None:
    data = module(root, pairs_per_epoch=28, on_damaged="skip")
    data.setup("fit")
    assert len(data.catalog("train")) == len(data.catalog("val")) == 7
    assert "cat/0003" not in data.catalog("train").ids
    assert len(data.skipped) == 1 and data.skipped[0].startswith("all: ") and "0003.jpg" in data.skipped[0]
    assert mentions(data.describe("train"), 1, "decode", "left out")
    assert len(list(data.train_dataloader())) == 14
    assert len(list(data.val_dataloader())) == 21
    assert len(data.catalog("test")) == 8  # a test is of the whole data set, or refused


def test_any_number_of_workers_and_a_resumed_epoch_have_the_same_pairs(root: Path) -> None:
    batches = [list(module(root, on_damaged="skip", workers=workers).train_dataloader()) for workers in (0, 2)]
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one["image_a"], other["image_a"])
        assert torch.equal(one["pair"], other["pair"])


def test_an_unknown_choice(root: Path) -> None:
    with pytest.raises(CosegError, match=naming("data.on_damaged", "'skp'", "error, skip", "'skip'")):
        module(root, on_damaged="skp")


def test_images_that_are_drawn_are_never_damaged() -> None:
    from coseg.data.readers.shapes import ShapesReader

    catalog, sentences = ShapesReader(size=48, train=4, val=3, seen=3, unseen=2).read_sound("train")
    assert (len(catalog), sentences) == (4, [])
