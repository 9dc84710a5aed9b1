"""Benchmark files: what is written is read back; what somebody changed or made for other data is a sentence."""

from __future__ import annotations

import csv
import hashlib
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facts import naming
from fenced import blocks
from layouts.groups import items, write_folder

from coseg.data import benchmark as benchmarks
from coseg.data.benchmark import Rule, read_benchmark, write_benchmark
from coseg.data.catalog import Catalog
from coseg.data.listed import ListedCatalog, listed_groups, listed_pairs, require_unit
from coseg.data.readers.folder import FolderReader
from coseg.data.readers.shapes import ShapesReader
from coseg.errors import CosegError

READER = ShapesReader(size=48, train=12, val=12, seen=12, unseen=8)


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


def head(path: Path) -> dict[str, str]:
    lines = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]
    return dict(line.split(": ", 1) for line in lines)


def test_a_rule_is_written_in_the_file(catalog: Catalog, tmp_path: Path) -> None:
    rule = Rule(per_class=2, most_uses=3, seed=7)
    count = write_benchmark(tmp_path / "pairs.csv", catalog, rule=rule, settings="min_area=9")
    facts = head(tmp_path / "pairs.csv")
    assert all(word in facts["rule"] for word in ("2 pairs", "3 times", "seed 7"))
    assert (facts["settings"], facts["count"]) == ("min_area=9", str(count))
    benchmark = read_benchmark(tmp_path / "pairs.csv")
    pairs = listed_pairs(benchmark, catalog)
    assert benchmark.settings == "min_area=9" and np.bincount(pairs.ravel()).max() <= 3
    assert facts["images"] == str(len(np.unique(pairs)))
    write_benchmark(tmp_path / "again.csv", catalog, rule=rule, settings="min_area=9")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "pairs.csv").read_bytes()
    write_benchmark(tmp_path / "groups.csv", catalog, "group", Rule(per_class=2))
    assert set(listed_groups(read_benchmark(tmp_path / "groups.csv"), catalog).sum(0).tolist()) <= {0, 2}


def test_a_list_of_images_alone(catalog: Catalog, tmp_path: Path) -> None:
    chosen = catalog.ids[:6]
    write_benchmark(tmp_path / "groups.csv", catalog, "group", Rule(images=chosen))
    groups = listed_groups(read_benchmark(tmp_path / "groups.csv"), catalog)
    part = catalog.presence.copy()
    part[6:] = False
    assert np.array_equal(groups, part & (part.sum(0) > 1))
    with pytest.raises(CosegError, match=naming("nobody", 1)):
        write_benchmark(tmp_path / "groups.csv", catalog, "group", Rule(images=[*chosen, "nobody"]))
    with pytest.raises(CosegError, match=naming("no pair")):
        write_benchmark(tmp_path / "none.csv", catalog, "pair", Rule(images=chosen[:1]))
    assert not (tmp_path / "none.csv").exists()


def test_too_many_pairs_ask_for_a_sample(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "MAX_LINES", 5)
    with pytest.raises(CosegError, match=naming("--per-class", 5)):
        write_benchmark(tmp_path / "pairs.csv", catalog)
    assert write_benchmark(tmp_path / "pairs.csv", catalog, rule=Rule(per_class=1)) > 0


def test_the_checksum_of_files_is_that_of_sha256sum(tmp_path: Path) -> None:
    """sha256sum FILES | cut -c -64 | sort | sha256sum"""
    write_folder(tmp_path / "mine", items({"cat": 2, "dog": 3}))
    write_benchmark(tmp_path / "pairs.csv", FolderReader(tmp_path / "mine", ["dog"]).read("dog"))
    facts = head(tmp_path / "pairs.csv")
    files = [path for path in (tmp_path / "mine" / "dog").rglob("*") if path.is_file()]
    lines = sorted(hashlib.sha256(path.read_bytes()).hexdigest() + "\n" for path in files)
    assert facts["files"] == "6"
    assert facts["files_sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_program_of_the_documentation_reads_a_file(catalog: Catalog, tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "protocols.md"
    (program,) = [block.text for block in blocks(page) if "def read_pairs" in block.text]
    names: dict[str, Any] = {}
    exec(program, names)
    count = write_benchmark(tmp_path / "pairs.csv", catalog)
    facts, rows = names["read_pairs"](tmp_path / "pairs.csv")
    assert (facts["dataset"], int(facts["count"]), len(rows)) == ("shapes", count, count)
    assert set(rows[0]) == {"image_a", "image_b", "classes"}
