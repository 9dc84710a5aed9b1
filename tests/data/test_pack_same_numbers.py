"""A training and a test give the same numbers from a folder, from tar shards and from memory, by workers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from layouts.shapes import write_tree
from PIL import Image

from coseg.cli.datasets import chosen_dataset
from coseg.data.catalog import Note
from coseg.data.datamodule import PairDataModule
from coseg.data.pack import write_shards
from coseg.data.readers.shapes import ShapesReader
from coseg.data.readers.voc import VocReader
from coseg.errors import CosegError

DIFFERENT = ("seconds", "checkpoint", "checksum", "run")
"""What two results of one test may have different values of, beside the root."""


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's files in memory."""
    import fsspec

    files = fsspec.filesystem("memory")
    yield files
    files.rm("/bucket", recursive=True)


@pytest.fixture
def roots(tmp_path: Path, memory: Any) -> dict[str, str]:
    """One data set in three places."""
    folder = tmp_path / "voc"
    write_tree(ShapesReader(size=48, train=12, val=4, seen=6, unseen=2), folder)
    write_shards(folder, tmp_path / "shards", 0.03)
    memory.put(str(folder), "/bucket/voc", recursive=True)
    return {"folder": str(folder), "shards": f"{tmp_path}/shards/shards-*.tar", "memory": "memory://bucket/voc"}


def _without(values: Any, root: str) -> Any:
    if isinstance(values, dict):
        return {key: _without(value, root) for key, value in values.items() if key not in DIFFERENT}
    return values.replace(root, "ROOT") if isinstance(values, str) else values


def test_batches_from_each_place(roots: dict[str, str]) -> None:
    batches = {}
    for place, root in roots.items():
        reader = VocReader(root, split_val=False)
        feed = PairDataModule(reader, {"train": "train", "val": "val", "test": "val"}, workers=1)
        feed.setup("test")
        batches[place] = list(feed.test_dataloader())
    assert len(batches["folder"]) > 3
    for place in ("shards", "memory"):
        assert len(batches[place]) == len(batches["folder"])
        for batch, wanted in zip(batches[place], batches["folder"], strict=True):
            assert all(torch.equal(batch[key], wanted[key]) for key in wanted)


READERS = {
    "msrc": "msrc", "msrc_subset": "msrc", "icoseg": "icoseg", "icoseg_object_discovery": "icoseg",
    "internet": "internet", "folder": "folder", "cosod": "cosod", "coco": "coco", "labelme": "labelme", "cvat": "cvat",
}  # fmt: skip
"""The data set that reads each layout."""


SLOW = ("msrc_subset", "icoseg", "cvat", "labelme", "icoseg_object_discovery", "internet", "cosod")


@pytest.mark.parametrize("layout", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in READERS])
def test_every_reader_reads_shards_and_urls(tmp_path: Path, layout: str, memory: Any) -> None:
    write_tree(ShapesReader(size=48, train=2, val=2, seen=40, unseen=2), tmp_path / "data", layout)
    write_shards(tmp_path / "data", tmp_path / "shards", 0.05)
    memory.put(str(tmp_path / "data"), "/bucket/data", recursive=True)
    name, groups = READERS[layout], None if layout in ("coco", "labelme", "cvat") else "all"
    catalogs = []
    for root in (tmp_path / "data", tmp_path / "shards", "memory://bucket/data"):
        dataset = chosen_dataset(name, str(root), groups)
        assert all(
            isinstance(problem, Note) or "release" in problem for problem in dataset.reader.problems(dataset.val)
        )
        catalogs.append(dataset.reader.read(dataset.val))
    folder, *stored = catalogs
    for catalog in stored:
        assert catalog.ids == folder.ids and catalog.class_names == folder.class_names
        assert (catalog.presence == folder.presence).all()
        assert [path.name for path in catalog.files([1])] == [path.name for path in folder.files([1])]
        for i in range(0, len(folder), 7):
            assert (catalog.image(i) == folder.image(i)).all() and (catalog.labels(i) == folder.labels(i)).all()
    dataset = chosen_dataset(name, "memory://bucket/none", groups)
    with pytest.raises(CosegError):
        dataset.reader.read(dataset.val)


def test_samples_beside_each_other_as_webdataset_writes_them(tmp_path: Path) -> None:
    write_tree(ShapesReader(size=48, train=2, val=2, seen=8, unseen=2), tmp_path / "voc")
    (tmp_path / "flat").mkdir()
    for path in sorted((tmp_path / "voc").rglob("seen*.*")):
        with Image.open(path) as picture:
            if path.suffix == ".png":
                picture = Image.fromarray((np.array(picture) > 0).astype(np.uint8))
            picture.save(tmp_path / "flat" / path.name, quality=95)
    write_shards(tmp_path / "flat", tmp_path / "shards", 0.01)
    words = ("reader.images=.", "reader.masks=.", "reader.class_name=shape")
    reader = chosen_dataset("folder", f"{tmp_path}/shards/shards-*.tar", "all", words).reader
    catalog = reader.read("all")
    assert len(catalog) == 8 and catalog.class_names == ("shape",) and catalog.presence.all()


@pytest.mark.slow
def test_a_training_and_a_test_from_each_place(
    command: Callable[..., Any],
    tiny_overrides: dict[str, tuple[str, ...]],
    roots: dict[str, str],
    tmp_path: Path,
) -> None:
    settings = [word for word in tiny_overrides["train"] if not word.startswith("dataset.")]
    words = ("data.workers=2", "trainer.max_epochs=1", "data.pairs_per_epoch=8", "panels=0", "runs=out")
    losses, results = {}, {}
    for place, root in roots.items():
        data = ("dataset=voc", "dataset.split_val=false", f"dataset.root={root}")
        trained = command("train", *data, *settings, *words, f"name={place}")
        assert trained.code == 0, trained.err
        (run,) = (path.parent for path in (tmp_path / "out").rglob("metrics.csv") if place in path.parts)
        with (run / "metrics.csv").open() as file:
            rows = [{key: row[key] for key in row if "loss" in key or "jaccard" in key} for row in csv.DictReader(file)]
        losses[place] = rows
        ckpt = f"ckpt={run / 'checkpoints' / 'last.ckpt'}"
        tested = command("test", *data, ckpt, "threads=1", "trainer.accelerator=cpu", "panels=0", "data.workers=2")
        assert tested.code == 0, tested.err
        (path,) = run.rglob("results.json")
        results[place] = _without(json.loads(path.read_text()), root)
    assert results["folder"]["pairs"] > 3 and results["folder"]["jaccard"] > 0
    assert any(value for row in losses["folder"] for value in row.values())
    for place in ("shards", "memory"):
        assert losses[place] == losses["folder"]
        assert results[place] == results["folder"]
