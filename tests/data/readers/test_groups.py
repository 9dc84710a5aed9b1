"""What all data sets in groups share, on folders of one's own; and the layouts of the releases."""

import pickle
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from coseg.data.orders import AllPairs
from coseg.data.pairs import PairIndex
from coseg.data.readers.files import images_in
from coseg.data.readers.folder import FolderReader
from coseg.data.readers.groups import chosen_groups, groups_name
from coseg.data.readers.icoseg import IcosegReader
from coseg.data.readers.internet import InternetReader
from coseg.data.readers.msrc import COLOURS, COUNTS, MsrcReader
from coseg.data.readers.write_groups import (
    GroupItem,
    write_folder,
    write_icoseg,
    write_msrc,
    write_object_discovery,
)
from coseg.errors import CosegError

SIZE = (12, 16)
FOLDERS = {"bear2": "brown_bear", "cheetah": "*cheetah*", "panda1": "023*"}


def items(counts, truth=1, seed=0):
    """`counts` images of each group, with a square of `truth` in the middle, void above and another object below."""
    rng = np.random.default_rng(seed)
    for group, count in counts.items():
        for _ in range(count):
            labels = np.zeros(SIZE, np.uint8)
            labels[0], labels[3:8, 4:9], labels[10] = 255, truth, 2
            yield GroupItem(group, rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), labels)


def pairs_of(catalog):
    index = PairIndex(catalog.presence)
    return {tuple(catalog.ids[i] for i in index[k]) for k in range(len(index))}


# choosing groups


def test_groups_are_named_by_their_choice():
    assert groups_name("test") == "test"
    assert groups_name(["cow", "sheep"]) == "cow+sheep"
    assert groups_name([f"group number {n}" for n in range(9)]).startswith("9_groups-")
    assert "/" not in groups_name(["a/b"])
    for wrong in ([], ["cow", "cow"]):
        with pytest.raises(CosegError, match="each once"):
            groups_name(wrong)


def test_chosen_groups():
    assert chosen_groups("all", ["a", "b"], ["a"]) == ["a", "b"]
    assert chosen_groups("test", ["a", "b"], ["b"]) == ["b"]
    assert chosen_groups(["B"], ["a", "b"], ["a"]) == ["b"]
    assert chosen_groups("b", ["a", "b"], ["a"]) == ["b"]


def test_a_group_that_does_not_exist_is_told_with_those_that_do(tmp_path):
    write_folder(tmp_path, items({"zebra": 2, "horse": 2}))
    with pytest.raises(CosegError, match=r"dataset.groups is 'zebre'.*test, all, horse, zebra.*Did you mean 'zebra'"):
        FolderReader(tmp_path, ["zebre"]).read("zebre")


# a folder of one's own


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


def test_suffixes_in_any_case_and_strays(tmp_path):
    write_folder(tmp_path, items({"cat": 2}))
    images = tmp_path / "cat" / "images"
    (images / "0001.jpg").rename(images / "0001.JPG")
    Image.open(images / "0002.jpg").save(images / "0002.BmP", format="BMP")
    (images / "0002.jpg").unlink()
    (tmp_path / "cat" / "Masks").mkdir()
    for path in (tmp_path / "cat" / "masks").iterdir():
        path.rename(tmp_path / "cat" / "Masks" / path.name.replace("png", "PNG"))
    (tmp_path / "cat" / "masks").rmdir()
    for stray in ("Thumbs.db", ".hidden.jpg", "notes.txt"):
        (images / stray).write_bytes(b"stray")
    (images / "folder.jpg").mkdir()
    assert FolderReader(tmp_path).read("test").ids == ("cat/0001", "cat/0002")
    assert list(images_in(images)) == ["0001", "0002"]


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
    "no mask": r"images has 3 images, of which 1 have no mask in .*masks: 0002\.jpg",
    "damaged image": r"0002\.jpg cannot be decoded",
    "damaged mask": r"0002\.png cannot be decoded",
    "another size": r"0002\.png is 5x5 pixels, but its image 0002\.jpg is 16x12",
    "two of one name": r"holds both 0002\.jpg and 0002\.png",
    "one image": r"[Tt]he group cat has 1 image",
}


@pytest.mark.parametrize("what", SPOILT)
def test_mistakes_are_told(what, tmp_path):
    write_folder(tmp_path, items({"cat": 3, "dog": 2}))
    spoil(tmp_path, what)
    with pytest.raises(CosegError, match=SPOILT[what]):
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


@pytest.mark.parametrize("reader", [FolderReader, MsrcReader, IcosegReader, InternetReader])
def test_a_missing_folder_is_told_with_the_layout(reader, tmp_path):
    for root, words in ((None, r"dataset\.root"), (tmp_path / "nowhere", "nowhere"), (tmp_path, str(tmp_path))):
        with pytest.raises(CosegError, match=rf"{words}(.|\n)*looks like this"):
            reader(root).read("test")
        assert len(list(reader(root).problems("test"))) == 1


def test_a_class_without_both_folders_is_told(tmp_path):
    write_folder(tmp_path, items({"cat": 2}))
    (tmp_path / "dog" / "images").mkdir(parents=True)
    with pytest.raises(CosegError, match="dog has not both"):
        FolderReader(tmp_path).read("test")


# MSRC


def test_msrc_has_the_published_counts(tmp_path):
    everything = {**COUNTS, "face": 3, "building": 2, "farmland": 4}
    write_msrc(tmp_path, items(everything))
    (tmp_path / "MSRC_ObjCategImageDatabase_v2" / "Images" / "Thumbs.db").write_bytes(b"stray")
    catalog = MsrcReader(tmp_path).read("test")
    assert len(catalog) == catalog.expected == 208
    assert len(AllPairs(catalog.presence, "msrc")) == 3012
    assert catalog.class_names == ("bird", "car", "cat", "cow", "dog", "plane", "sheep")
    assert not list(MsrcReader(tmp_path).problems("test"))
    assert len(MsrcReader(tmp_path / "MSRC_ObjCategImageDatabase_v2", "all").read("all")) == 208 + 5
    (tmp_path / "MSRC_ObjCategImageDatabase_v2" / "Images" / "5_7_s.bmp").unlink()
    assert not MsrcReader(tmp_path).read("test").complete
    problems = list(MsrcReader(tmp_path).problems("test"))
    assert problems[0] == "the group cow has 29 images, the release 30"
    assert "5_7_s_GT.bmp belongs to no image" in problems[1]


def test_the_foreground_of_msrc_is_the_groups_own_class(tmp_path):
    write_msrc(tmp_path, items({"cow": 2}))
    path = tmp_path / "MSRC_ObjCategImageDatabase_v2" / "GroundTruth" / "5_1_s_GT.bmp"
    rgb = np.zeros((*SIZE, 3), np.uint8)
    for row, name in enumerate(["void", "grass", "cow", "sky", "person", "sheep", "water", "building", "face"]):
        rgb[row] = COLOURS.get(name, COLOURS["body"])
    Image.fromarray(rgb).save(path)
    labels = MsrcReader(tmp_path, ["cow"]).read("cow").labels(0)
    assert labels[:9, 0].tolist() == [255, 0, 1, 0, 2, 2, 0, 0, 2]
    rgb[4, 5] = 1, 2, 3
    Image.fromarray(rgb).save(path)
    with pytest.raises(CosegError, match=r"5_1_s_GT\.bmp has 1 pixels .* \(1, 2, 3 at row 4, column 5\)"):
        MsrcReader(tmp_path, ["cow"]).read("cow")


def test_every_colour_of_msrc_is_decoded():
    assert len(COLOURS) == 24
    assert len(set(COLOURS.values())) == 24


def test_the_object_discovery_part_of_msrc_is_another_image_set(tmp_path):
    write_object_discovery(tmp_path / "Data" / "MSRC", items({"chair": 3, "cow": 2}), "bmp")
    catalog = MsrcReader(tmp_path, "all").read("all")
    assert (catalog.name, len(catalog), catalog.expected) == ("msrc_object_discovery", 5, None)
    write_object_discovery(tmp_path / "Data" / "sub_MSRC", items(dict.fromkeys(COUNTS, 3)), "bmp")
    catalog = MsrcReader(tmp_path).read("test")
    assert (catalog.name, len(catalog), catalog.expected, catalog.complete) == ("msrc_subset", 21, 70, False)
    assert len(AllPairs(catalog.presence, "msrc")) == 7 * 3
    with pytest.raises(CosegError, match="does not hold MSRC v2"):
        MsrcReader(tmp_path, layout="v2").read("test")
    with pytest.raises(CosegError, match=r"dataset\.layout is 'v3'"):
        MsrcReader(tmp_path, layout="v3")
    folder = tmp_path / "Data" / "sub_MSRC"
    (folder / "plane").rename(folder / "Aeroplane")
    assert "plane" in MsrcReader(tmp_path).read("test").class_names


def test_a_name_that_is_not_of_msrc(tmp_path):
    write_msrc(tmp_path, items({"cow": 2}))
    folder = tmp_path / "MSRC_ObjCategImageDatabase_v2"
    (folder / "Images" / "5_1_s.bmp").rename(folder / "Images" / "21_1_s.bmp")
    (folder / "GroundTruth" / "5_1_s_GT.bmp").rename(folder / "GroundTruth" / "21_1_s_GT.bmp")
    with pytest.raises(CosegError, match=r"21_1_s\.bmp is not named as in MSRC v2"):
        MsrcReader(tmp_path, ["cow"]).read("cow")


# iCoseg


def test_icoseg_by_the_table_of_folders(tmp_path):
    counts = {"brown_bear": 3, "011 Cheetah-Safari": 4, "023 Pandas-Land": 2, "034 Kite panda": 2}
    write_icoseg(tmp_path / "dataset_public", items(counts))
    reader = IcosegReader(tmp_path, "test", FOLDERS, {"bear2": 3, "cheetah": 4, "panda1": 2})
    catalog = reader.read("test")
    assert (catalog.class_names, len(catalog), catalog.complete) == (("bear2", "cheetah", "panda1"), 9, True)
    assert len(AllPairs(catalog.presence, "icoseg")) == 3 + 6 + 1
    assert not list(reader.problems("test"))
    assert len(IcosegReader(tmp_path, "all", FOLDERS).read("all").class_names) == 4
    one = ["034 Kite panda", "cheetah"]
    assert IcosegReader(tmp_path, one, FOLDERS).read("034 Kite panda+cheetah").class_names == tuple(one)
    other = IcosegReader(tmp_path, "test", FOLDERS, {"bear2": 5, "cheetah": 4, "panda1": 2})
    assert other.read("test").expected == 11
    assert list(other.problems("test")) == ["the group bear2 has 3 images, the release 5"]


def test_a_part_of_icoseg_is_not_complete(tmp_path):
    write_icoseg(tmp_path, items({"brown_bear": 3, "cheetah": 4, "023 Pandas": 2}))
    # As far as is known it is whole; then one group is known to be larger, though another is not known at all.
    for counts, expected in (
        ({}, None),
        ({"bear2": 3, "panda1": 2}, None),
        ({"bear2": 5}, 11),
        ({"bear2": 5, "cheetah": 4, "panda1": 2}, 11),
        ({"bear2": 3, "cheetah": 4, "panda1": 2}, 9),
    ):
        catalog = IcosegReader(tmp_path, "test", FOLDERS, counts).read("test")
        assert (catalog.expected, catalog.complete) == (expected, expected != 11), counts
    everything = IcosegReader(tmp_path, "all", FOLDERS)
    assert (everything.read("all").expected, everything.read("all").complete) == (643, False)
    assert list(everything.problems("all")) == ["there are 9 images in 3 groups, the release has 643"]


def test_short_names_of_icoseg_win_over_folders_that_differ_by_case(tmp_path):
    write_icoseg(tmp_path, items({"brown_bear": 2, "Cheetah": 2, "023 Pandas": 2}))
    assert IcosegReader(tmp_path, "test", FOLDERS).read("test").class_names == ("bear2", "cheetah", "panda1")
    assert IcosegReader(tmp_path, ["CHEETAH"], FOLDERS).read("CHEETAH").class_names == ("cheetah",)


@pytest.mark.parametrize(("pattern", "words"), [("*panda*", "2 folders fit: 023"), ("tiger", "no folder fits")])
def test_an_entry_of_the_table_must_fit_one_folder(pattern, words, tmp_path):
    write_icoseg(tmp_path, items({"023 Pandas": 2, "034 Kite panda": 2}))
    with pytest.raises(CosegError, match=rf"group panda1 is the folder .*{words}.*dataset\.folders\.panda1="):
        IcosegReader(tmp_path, "test", {"panda1": pattern}).read("test")


def test_a_group_of_icoseg_without_truth(tmp_path):
    write_icoseg(tmp_path, items({"brown_bear": 2, "023 Pandas": 2}))
    (tmp_path / "ground_truth" / "brown_bear").rename(tmp_path / "brown_bear")
    with pytest.raises(CosegError, match="brown_bear has no folder brown_bear in"):
        IcosegReader(tmp_path, "all").read("all")


def test_the_object_discovery_part_of_icoseg_is_another_image_set(tmp_path):
    write_object_discovery(tmp_path / "Data" / "iCoseg", items({"brown_bear": 2, "023 Pandas": 2, "Cheetah": 3}))
    catalog = IcosegReader(tmp_path, "test", FOLDERS).read("test")
    assert (catalog.name, len(catalog)) == ("icoseg_object_discovery", 7)


# Internet


@pytest.mark.parametrize("place", ["", "Data", "ObjectDiscovery-data/Data"])
def test_the_bundle_is_found_where_it_unpacks_to(place, tmp_path):
    folder = tmp_path / place
    write_object_discovery(folder, items({"Airplane100": 2, "Car100": 2, "Horse100": 2}))
    write_object_discovery(folder / "sub_MSRC", items(dict.fromkeys(COUNTS, 2)), "bmp")
    write_object_discovery(folder / "iCoseg", items({"brown_bear": 2, "Cheetah": 2, "023 Pandas": 2}))
    for path in folder.rglob("GroundTruth"):
        (path.parent / "Thumbs.db").write_bytes(b"stray")
    assert len(InternetReader(tmp_path).read("test")) == 6
    assert MsrcReader(tmp_path, layout="object_discovery").read("test").name == "msrc_subset"
    assert IcosegReader(tmp_path, "test", FOLDERS).read("test").name == "icoseg_object_discovery"


def test_images_of_internet_without_the_object_are_in_no_pair(tmp_path):
    write_object_discovery(tmp_path / "Data", items({"Airplane100": 4, "Car100": 2, "Horse100": 3}))
    Image.new("L", SIZE[::-1]).save(tmp_path / "Data" / "Airplane100" / "GroundTruth" / "0002.png")
    catalog = InternetReader(tmp_path).read("test")
    assert (len(catalog), catalog.expected) == (9, 300)
    assert len(AllPairs(catalog.presence, "internet")) == 3 + 1 + 3
    assert not any("Airplane100/0002" in pair for pair in pairs_of(catalog))
    assert InternetReader(tmp_path / "Data", ["Car100"]).read("Car100").class_names == ("Car100",)
