"""Benchmark files beside a catalog: what fits is tested; what was made for other data is a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facts import mentions, naming
from layouts.benchmark import resealed, shortened
from layouts.groups import items, write_folder

from coseg.data.benchmark import read_benchmark, write_benchmark
from coseg.data.catalog import Catalog
from coseg.data.datamodule import PairDataModule
from coseg.data.listed import listed_groups, listed_pairs
from coseg.data.readers.folder import FolderReader
from coseg.data.readers.shapes import ShapesReader
from coseg.errors import CosegError

READER = ShapesReader(size=48, train=12, val=12, seen=12, unseen=8)
SPLITS = dict.fromkeys(("train", "val", "test"), "seen")


@pytest.fixture
def catalog() -> Catalog:
    return READER.read("seen")


def test_a_test_has_the_pairs_of_a_file(catalog: Catalog, tmp_path: Path) -> None:
    count = write_benchmark(tmp_path / "pairs.csv", catalog)
    shortened(tmp_path / "pairs.csv", count, 3)
    module = PairDataModule(READER, SPLITS, pairs=tmp_path / "pairs.csv", workers=0)
    order, everything = module.order("test"), PairDataModule(READER, SPLITS, workers=0).order("test")
    assert [order.pair(0, k) for k in range(len(order))] == [everything.pair(0, k) for k in range(3)]
    assert len(module.order("val")) == min(300, len(everything))
    with pytest.raises(CosegError, match="test_pairs"):
        PairDataModule(READER, SPLITS, pairs=tmp_path / "pairs.csv", test_pairs=2)


def first_row(text: str) -> str:
    return text.splitlines()[9]


CHANGES: dict[str, tuple[Callable[[str], str], tuple[str, ...]]] = {
    "another data set": (lambda text: text.replace("dataset: shapes", "dataset: voc"), ("voc/seen", "shapes/seen")),
    "another split": (lambda text: text.replace("split: seen", "split: val"), ("shapes/val", "shapes/seen")),
    "an unknown image": (lambda text: text.replace("seen_000003", "nobody"), ("nobody", "1 image")),
    "other classes": (lambda text: text.replace(first_row(text), first_row(text) + "x"), ("common classes",)),
    "a pair twice": (
        lambda text: text.replace(text.splitlines()[10], ",".join(np.array(first_row(text).split(","))[[1, 0, 2]])),
        ("twice",),
    ),
    "a count": (lambda text: text.replace("# count: ", "# count: 9"), ("count",)),
    "columns": (lambda text: text.replace("image_a,image_b", "a,b"), ("columns", "image_a")),
    "a cell more": (lambda text: text.replace(first_row(text), first_row(text) + ",x"), ("columns",)),
    "a format": (lambda text: text.replace("benchmark: 1", "benchmark: 2"), ("format", "2")),
    "a unit": (lambda text: text.replace("unit: pair", "unit: triple"), ("unit", "triple", "group")),
    "groups": (lambda text: text.replace("unit: pair", "unit: group"), ("columns",)),
    "no rule": (lambda text: text.replace("# rule", "# ruler"), ("lacks rule",)),
    "a line": (lambda text: text.replace("# unit", "# nothing\n# unit"), ("key: value",)),
    "an open quote": (lambda text: text + '"', ("no benchmark file",)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_does_not_fit_is_a_sentence(name: str, catalog: Catalog, tmp_path: Path) -> None:
    change, words = CHANGES[name]
    write_benchmark(tmp_path / "pairs.csv", catalog)
    resealed(tmp_path / "pairs.csv", change)
    with pytest.raises(CosegError) as error:
        listed_pairs(read_benchmark(tmp_path / "pairs.csv"), catalog)
    assert mentions(str(error.value), "pairs.csv", *words)


@pytest.mark.parametrize("what", ["no class", "one image", "not shown"])
def test_groups_that_do_not_fit_are_a_sentence(what: str, catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    write_benchmark(path, catalog, "group")
    table = path.read_text().splitlines()[9:]
    name = table[0].partition(",")[0]
    absent = catalog.ids[int(np.flatnonzero(~catalog.presence[:, catalog.class_names.index(name)])[0])]
    chosen = {
        "no class": ["dragon,seen_000001", "dragon,seen_000002"],
        "one image": table[:1],
        "not shown": [*table[:2], f"{name},{absent}"],
    }[what]

    def change(text: str) -> str:
        head = "\n".join(text.splitlines()[:9]).replace(f"count: {len(table)}", f"count: {len(chosen)}")
        return "\n".join((head, *chosen, ""))

    resealed(path, change)
    words = {"no class": ("dragon",), "one image": (name, "two"), "not shown": (absent, name)}[what]
    with pytest.raises(CosegError) as error:
        listed_groups(read_benchmark(path), catalog)
    assert mentions(str(error.value), *words)


@pytest.mark.parametrize("unit", ["pair", "group"])
def test_other_images_or_annotations_under_the_same_names(unit: str, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    write_folder(root, items({"cat": 3, "dog": 2}))
    write_benchmark(tmp_path / "list.csv", FolderReader(root).read("test"), unit)
    listed = {"pair": listed_pairs, "group": listed_groups}[unit]

    def read() -> int:
        return int(listed(read_benchmark(tmp_path / "list.csv"), FolderReader(root).read("test")).any(1).sum())

    assert read() == {"pair": 4, "group": 5}[unit]
    root.rename(tmp_path / "mine2")  # the place does not count
    (tmp_path / "mine2").rename(root)
    assert read()
    mask = root / "cat" / "masks" / "0002.png"
    mask.write_bytes(mask.read_bytes() + b" ")
    with pytest.raises(CosegError, match=naming("list.csv", "folder/test", 10, "checksum")):
        read()


def test_the_settings_of_a_list_are_named(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    write_benchmark(path, catalog, settings="classes=[cat,dog] min_area=9")
    resealed(path, lambda text: f"{text.rstrip()}x\n")
    with pytest.raises(CosegError, match=naming("list.csv", "min_area=9")):
        listed_pairs(read_benchmark(path), catalog)
