"""Benchmark files: what is written is read back; what somebody changed or made for other data is a sentence."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from facts import mentions
from layouts.benchmark import resealed, shortened

from coseg.data.benchmark import (
    ListedCatalog,
    listed_groups,
    listed_pairs,
    read_benchmark,
    require_unit,
    write_benchmark,
)
from coseg.data.catalog import Catalog
from coseg.data.datamodule import PairDataModule
from coseg.data.readers.shapes import ShapesReader
from coseg.errors import CosegError

READER = ShapesReader(size=48, train=12, val=12, seen=12, unseen=8)
SPLITS = dict.fromkeys(("train", "val", "test"), "seen")


@pytest.fixture
def catalog() -> Catalog:
    return READER.read("seen")


def test_pairs_are_those_of_the_catalog(catalog: Catalog, tmp_path: Path) -> None:
    shares = catalog.presence.astype(int) @ catalog.presence.T > 0
    expected = [(i, j) for i, j in combinations(range(len(catalog)), 2) if shares[i, j]]
    assert write_benchmark(tmp_path / "pairs.csv", catalog) == len(expected)
    lines = (tmp_path / "pairs.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    names = {(catalog.ids[i], catalog.ids[j]) for i, j in expected}
    assert {(row["image_a"], row["image_b"]) for row in rows} == names
    for row in rows:
        a, b = (catalog.presence[catalog.ids.index(row[side])] for side in ("image_a", "image_b"))
        assert row["classes"].split(";") == [catalog.class_names[k] for k in np.flatnonzero(a & b)]

    benchmark = read_benchmark(tmp_path / "pairs.csv")
    assert (benchmark.dataset, benchmark.split, benchmark.unit) == ("shapes", "seen", "pair")
    without = "".join(f"{line}\n" for line in lines if not line.startswith("# sha256: "))
    assert benchmark.sha256 == hashlib.sha256(without.encode()).hexdigest()
    assert [tuple(pair) for pair in listed_pairs(benchmark, catalog).tolist()] == expected


def test_groups_are_those_of_the_catalog(catalog: Catalog, tmp_path: Path) -> None:
    write_benchmark(tmp_path / "groups.csv", catalog, "group")
    listed = listed_groups(read_benchmark(tmp_path / "groups.csv"), catalog)
    assert np.array_equal(listed, catalog.presence & (catalog.presence.sum(0) > 1))
    part = ListedCatalog(catalog, listed)
    assert np.array_equal(part.labels(3), catalog.labels(3)) and np.array_equal(part.image(3), catalog.image(3))
    with pytest.raises(CosegError, match="pairs"):
        require_unit(read_benchmark(tmp_path / "groups.csv"), "pair")


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


def test_what_was_changed_or_is_no_such_file_is_a_sentence(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    write_benchmark(path, catalog)
    whole = path.read_bytes()
    for data, word in (
        (whole.replace(b"seen_000003", b"seen_000002"), "SHA-256"),
        (whole[:-1], "SHA-256"),
        (whole.replace(b"\n", b"\r\n"), "benchmark file"),
        (b"\xff\xfe\0", "no text"),
        (b"", "coseg-benchmark"),
        (b"i,j\n1,2\n", "coseg-benchmark"),
    ):
        path.write_bytes(data)
        with pytest.raises(CosegError, match=word):
            read_benchmark(path)
    with pytest.raises(CosegError, match="no benchmark file"):
        read_benchmark(tmp_path / "gone.csv")
    with pytest.raises(CosegError, match="folder"):
        read_benchmark(tmp_path)


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
