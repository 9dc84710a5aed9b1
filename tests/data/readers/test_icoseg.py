"""iCoseg in the layout of its release, and in the object-discovery bundle."""

import pytest
from facts import mentions, naming
from layouts.groups import items, write_icoseg, write_object_discovery

from coseg.data.pair_orders import AllPairs
from coseg.data.readers.icoseg import IcosegReader
from coseg.errors import CosegError

FOLDERS = {"bear2": "brown_bear", "cheetah": "*cheetah*", "panda1": "023*"}


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
    (problem,) = other.problems("test")
    assert mentions(problem, "group bear2", 3, 5)


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
    (problem,) = everything.problems("all")
    assert mentions(problem, 9, 3, 643)


def test_short_names_of_icoseg_win_over_folders_that_differ_by_case(tmp_path):
    write_icoseg(tmp_path, items({"brown_bear": 2, "Cheetah": 2, "023 Pandas": 2}))
    assert IcosegReader(tmp_path, "test", FOLDERS).read("test").class_names == ("bear2", "cheetah", "panda1")
    assert IcosegReader(tmp_path, ["CHEETAH"], FOLDERS).read("CHEETAH").class_names == ("cheetah",)


@pytest.mark.parametrize(("pattern", "words"), [("*panda*", ("2", "023")), ("tiger", ("no folder",))])
def test_an_entry_of_the_table_must_fit_one_folder(pattern, words, tmp_path):
    write_icoseg(tmp_path, items({"023 Pandas": 2, "034 Kite panda": 2}))
    with pytest.raises(CosegError, match=naming("panda1", pattern, *words, "dataset.folders.panda1=")):
        IcosegReader(tmp_path, "test", {"panda1": pattern}).read("test")


def test_a_group_of_icoseg_without_truth(tmp_path):
    write_icoseg(tmp_path, items({"brown_bear": 2, "023 Pandas": 2}))
    (tmp_path / "ground_truth" / "brown_bear").rename(tmp_path / "brown_bear")
    with pytest.raises(CosegError, match=naming("brown_bear", "no folder")):
        IcosegReader(tmp_path, "all").read("all")


def test_the_object_discovery_part_of_icoseg_is_another_image_set(tmp_path):
    write_object_discovery(tmp_path / "Data" / "iCoseg", items({"brown_bear": 2, "023 Pandas": 2, "Cheetah": 3}))
    catalog = IcosegReader(tmp_path, "test", FOLDERS).read("test")
    assert (catalog.name, len(catalog)) == ("icoseg_object_discovery", 7)
