"""What all data sets in groups share, on folders of one's own; and the layouts of the releases."""

import pickle
from itertools import combinations

import numpy as np
import pytest
from facts import naming
from layouts.groups import SIZE, items, pairs_of, write_folder
from PIL import Image

from coseg.data.readers.cosod import CosodReader
from coseg.data.readers.folder import FolderReader
from coseg.data.readers.groups import groups_name
from coseg.data.readers.icoseg import IcosegReader
from coseg.data.readers.internet import InternetReader
from coseg.data.readers.msrc import MsrcReader
from coseg.errors import CosegError


def test_groups_are_named_by_their_choice():
    assert groups_name("test") == "test"
    assert groups_name(["cow", "sheep"]) == "cow+sheep"
    assert groups_name([f"group number {n}" for n in range(9)]).startswith("9_groups-")
    assert "/" not in groups_name(["a/b"])
    for wrong in ([], ["cow", "cow"]):
        with pytest.raises(CosegError, match=naming("once")):
            groups_name(wrong)


def test_a_group_that_does_not_exist_is_told_with_those_that_do(tmp_path):
    write_folder(tmp_path, items({"zebra": 2, "horse": 2}))
    with pytest.raises(CosegError, match=naming("dataset.groups", "'zebre'", "test, all, horse, zebra", "'zebra'")):
        FolderReader(tmp_path, ["zebre"]).read("zebre")


def test_pairs_stay_within_a_class(tmp_path):
    write_folder(tmp_path, items({"cat": 3, "dog": 2}))
    catalog = FolderReader(tmp_path, "all").read("all")
    assert (catalog.name, catalog.split, catalog.class_names) == ("folder", "all", ("cat", "dog"))
    names = [f"cat/000{n}" for n in (1, 2, 3)]
    assert pairs_of(catalog) == {*combinations(names, 2), ("dog/0001", "dog/0002")}
    assert catalog.complete
    source = list(items({"cat": 3, "dog": 2}))
    assert np.array_equal(catalog.labels(3), np.where(source[3].truth == 1, 2, 0))
    assert np.array_equal(pickle.loads(pickle.dumps(catalog)).image(4), catalog.image(4))
    only = FolderReader(tmp_path, ["dog"]).read("dog")
    assert only.ids == ("dog/0001", "dog/0002")


def test_a_single_class_needs_no_folder_of_its_own(tmp_path):
    write_folder(tmp_path, items({"beetle": 2}))
    catalog = FolderReader(tmp_path / "beetle").read("test")
    assert catalog.class_names == ("beetle",)
    assert len(catalog) == 2


def spoil(root, what):
    """Spoil the second of the three images of ``cat``."""
    image, mask = root / "cat" / "images" / "0002.jpg", root / "cat" / "masks" / "0002.png"
    if what == "no mask":
        mask.unlink()
    elif what == "damaged image":
        image.write_bytes(image.read_bytes()[:20])
    elif what == "damaged mask":
        mask.write_bytes(b"no")
    elif what == "another size":
        Image.new("L", (5, 5), 255).save(mask)
    elif what == "two of one name":
        Image.new("RGB", SIZE[::-1]).save(image.with_suffix(".png"))
    elif what == "one image":
        for number in ("0001", "0002"):
            (root / "cat" / "images" / f"{number}.jpg").unlink()


SPOILT = {
    "no mask": ("images", 3, 1, "no mask", "masks", "0002.jpg"),
    "damaged image": ("0002.jpg", "decode"),
    "damaged mask": ("0002.png", "decode"),
    "another size": ("0002.png", "5x5", "0002.jpg", "16x12"),
    "two of one name": ("both", "0002.jpg", "0002.png"),
    "one image": ("group cat", 1),
}


@pytest.mark.parametrize("what", SPOILT)
def test_mistakes_are_told(what, tmp_path):
    write_folder(tmp_path, items({"cat": 3, "dog": 2}))
    spoil(tmp_path, what)
    with pytest.raises(CosegError, match=naming(*SPOILT[what])):
        FolderReader(tmp_path).read("test")
    with pytest.raises(AssertionError):
        assert not list(FolderReader(tmp_path).problems("test"))


def test_a_check_tells_all_of_them(tmp_path):
    write_folder(tmp_path, items({"cat": 5}))
    folder = tmp_path / "cat"
    (folder / "images" / "0001.jpg").write_bytes(b"no")
    (folder / "masks" / "0003.png").write_bytes(b"no")
    Image.new("L", (5, 5), 255).save(folder / "masks" / "0004.png")
    Image.new("L", (5, 5), 255).save(folder / "masks" / "9999.png")
    problems = list(FolderReader(tmp_path).problems("test"))
    assert [next(n for n in ("9999", "0001", "0003", "0004") if n in line) for line in problems] == [
        "9999", "0001", "0003", "0004",
    ]  # fmt: skip


@pytest.mark.parametrize("reader", [FolderReader, MsrcReader, IcosegReader, InternetReader, CosodReader])
def test_a_missing_folder_is_told_with_the_layout(reader, tmp_path):
    for root, words in ((None, "dataset.root"), (tmp_path / "nowhere", "nowhere"), (tmp_path, str(tmp_path))):
        with pytest.raises(CosegError, match=naming(words, "/", "\n")):
            reader(root).read("test")
        assert len(list(reader(root).problems("test"))) == 1


def test_a_class_without_both_folders_is_told(tmp_path):
    write_folder(tmp_path, items({"cat": 2}))
    (tmp_path / "dog" / "images").mkdir(parents=True)
    with pytest.raises(CosegError, match=naming("dog", "images", "masks")):
        FolderReader(tmp_path).read("test")
