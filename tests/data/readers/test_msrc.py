"""MSRC v2 in the layout of its release, and in the object-discovery bundle."""

import numpy as np
import pytest
from facts import mentions, naming
from layouts.groups import SIZE, items, write_msrc, write_object_discovery
from PIL import Image

from coseg.data.pair_orders import AllPairs
from coseg.data.readers.msrc import COLOURS, COUNTS, MsrcReader
from coseg.errors import CosegError


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
    assert mentions(problems[0], "group cow", 29, 30)
    assert mentions(problems[1], "5_7_s_GT.bmp", "image")


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
    with pytest.raises(CosegError, match=naming("5_1_s_GT.bmp", 1, "1, 2, 3", "row 4", "column 5")):
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
    with pytest.raises(CosegError, match=naming(tmp_path, "MSRC v2")):
        MsrcReader(tmp_path, layout="v2").read("test")
    with pytest.raises(CosegError, match=naming("dataset.layout", "'v3'")):
        MsrcReader(tmp_path, layout="v3")
    folder = tmp_path / "Data" / "sub_MSRC"
    (folder / "plane").rename(folder / "Aeroplane")
    assert "plane" in MsrcReader(tmp_path).read("test").class_names


def test_a_name_that_is_not_of_msrc(tmp_path):
    write_msrc(tmp_path, items({"cow": 2}))
    folder = tmp_path / "MSRC_ObjCategImageDatabase_v2"
    (folder / "Images" / "5_1_s.bmp").rename(folder / "Images" / "21_1_s.bmp")
    (folder / "GroundTruth" / "5_1_s_GT.bmp").rename(folder / "GroundTruth" / "21_1_s_GT.bmp")
    with pytest.raises(CosegError, match=naming("21_1_s.bmp", "named", "MSRC v2")):
        MsrcReader(tmp_path, ["cow"]).read("cow")
