"""Released layouts that the reader of folders reads: FSS-1000, the Weizmann horses, and images beside their masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facts import mentions, naming
from fenced import blocks
from layouts.groups import GroupItem, items, write_fss1000, write_weizmann_horses, write_weizmann_objects
from PIL import Image

from coseg.data.readers.folder import FolderReader
from coseg.data.readers.groups import GroupReader
from coseg.errors import CosegError
from coseg.instantiate import make

CLASSES = {"abes_flyingfish": 3, "bus": 2, "zebra": 2}
RECIPES = Path(__file__).resolve().parents[3] / "docs" / "recipes.md"


@pytest.fixture
def reader(compose: Callable, tmp_path: Path) -> Callable[..., GroupReader]:
    """``reader(name, *overrides)``: of a shipped data set, in the temporary folder."""

    def made(name: str, *overrides: str) -> GroupReader:
        reader = make(compose("test", f"dataset={name}", f"dataset.root={tmp_path}", *overrides).dataset.reader)
        assert isinstance(reader, FolderReader)
        return reader

    return made


def horses(count: int, size: tuple[int, int] = (48, 64)) -> list[GroupItem]:
    """Objects that are large enough for JPEG."""
    truth = np.zeros(size, np.uint8)
    truth[8:32, 16:48] = 1
    rng = np.random.default_rng(0)
    return [GroupItem("horse", rng.integers(0, 256, (*size, 3), dtype=np.uint8), truth) for _ in range(count)]


def test_fss1000_is_read_back(reader: Callable[..., GroupReader], tmp_path: Path) -> None:
    written = list(items(CLASSES))
    write_fss1000(tmp_path, written)
    (tmp_path / "fss_test_set.txt").write_text("zebra\nabe's_flyingfish\n")  # its folder has no apostrophe
    catalog = reader("fss1000").read("test")
    assert (catalog.name, catalog.class_names) == ("fss1000", ("zebra", "abes_flyingfish"))
    assert catalog.ids == ("zebra/1", "zebra/2", *(f"abes_flyingfish/{k}" for k in (1, 2, 3)))
    for i, item in enumerate([*written[5:], *written[:3]]):
        assert np.array_equal(catalog.labels(i) > 0, item.truth == 1)
        assert catalog.image(i).shape == item.image.shape
    assert reader("fss1000", "dataset.groups=train").read("train").class_names == ("bus",)
    assert reader("fss1000", "dataset.groups=[bus]").read("bus").class_names == ("bus",)
    assert not catalog.complete and catalog.expected == 20


def test_the_classes_of_fss1000_are_counted(reader: Callable[..., GroupReader], tmp_path: Path) -> None:
    write_fss1000(tmp_path, items({"bus": 10, "zebra": 9}))
    whole = reader("fss1000", "dataset.groups=all")
    assert whole.read("all").expected == 10_000
    in_zebra, in_all = whole.problems("all")
    assert mentions(in_zebra, "zebra", 9, 10) and mentions(in_all, 2, 1000)
    with pytest.raises(CosegError, match=naming("fss_test_set.txt", "dataset.groups")):
        reader("fss1000").read("test")
    (tmp_path.parent / "fss_test_set.txt").write_text("zebra\nyak\n")  # beside the folder
    try:
        with pytest.raises(CosegError, match=naming("fss_test_set.txt", 2, "yak")):
            reader("fss1000").read("test")
    finally:
        (tmp_path.parent / "fss_test_set.txt").unlink()


def test_the_horses_are_read_back(reader: Callable[..., GroupReader], tmp_path: Path) -> None:
    written = horses(3)
    write_weizmann_horses(tmp_path, written)
    other = tmp_path / "figure_ground" / "horse003.jpg"
    Image.open(other).resize((32, 24)).save(other)  # of another size than its photograph
    catalog = reader("weizmann").read("all")
    assert (catalog.name, catalog.class_names, catalog.expected) == ("weizmann", ("horse",), 328)
    assert catalog.ids == ("horse/horse001", "horse/horse002", "horse/horse003")
    for i in range(2):
        assert np.array_equal(catalog.labels(i), written[i].truth)
    assert catalog.labels(2).shape == (48, 64)
    assert (catalog.labels(2) != written[2].truth).mean() < 0.05
    remarks = list(reader("weizmann").problems("all"))
    assert len(remarks) == 1 and mentions(remarks[0], "horse", 3, 328)
    with pytest.raises(CosegError, match=naming("horse003.jpg", "32x24", "64x48")):
        reader("weizmann", "dataset.reader.resize_masks=false").read("all")


def test_masks_beside_their_images_by_a_pattern(tmp_path: Path) -> None:
    """With a pattern, both may be PNG; without one, masks are the PNG files."""
    write_fss1000(tmp_path, items({"cat": 2}))
    for k in (1, 2):
        Image.open(tmp_path / "cat" / f"{k}.jpg").save(tmp_path / "cat" / f"photo{k}.png")
        (tmp_path / "cat" / f"{k}.jpg").unlink()
        (tmp_path / "cat" / f"{k}.png").rename(tmp_path / "cat" / f"photo{k}_mask.png")
    reader = FolderReader(tmp_path, mask_pattern="{stem}_mask", images=".", masks=".", above=127)
    assert reader.read("test").ids == ("cat/photo1", "cat/photo2") and not list(reader.problems("test"))
    (tmp_path / "cat" / "photo1.png").unlink()
    (problem,) = list(reader.problems("test"))[1:]
    assert mentions(problem, "photo1_mask.png")
    single = FolderReader(tmp_path / "cat", mask_pattern="{stem}_mask", images=".", masks=".", above=127)
    assert list(single.find().groups) == ["cat"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    write_fss1000(tmp_path, items({"cat": 2}))
    (tmp_path / "dog").mkdir()
    reader = FolderReader(tmp_path, images=".", masks=".")
    with pytest.raises(CosegError, match=naming("dog", "no images")):
        reader.read("test")
    with pytest.raises(CosegError, match=naming("rgb", "figure_ground")):
        FolderReader(tmp_path, images="rgb", masks="figure_ground").read("test")
    for wrong in ("../images", "/images"):
        with pytest.raises(CosegError, match=naming("dataset.reader.masks", wrong)):
            FolderReader(tmp_path, masks=wrong)


@pytest.mark.parametrize("people", [1, 3])
def test_the_recipe_of_one_and_two_objects(people: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program of docs/recipes.md: what at least two of three people mark is the object."""
    (program,) = [block.text for block in blocks(RECIPES) if block.language == "python" and "human_seg" in block.text]
    written = list(items({"boats": 2, "kites": 1}))
    write_weizmann_objects(tmp_path / "2obj", written, people)
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    catalog = FolderReader(tmp_path / "weizmann_objects").read("test")
    assert catalog.ids == tuple(f"weizmann_objects/{name}" for name in ("boats1", "boats2", "kites1"))
    for i, item in enumerate(written):
        assert np.array_equal(catalog.image(i), item.image)
        assert np.array_equal(catalog.labels(i), np.isin(item.truth, (1, 2)).astype(np.uint8))
