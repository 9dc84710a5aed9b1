"""The object-discovery bundle and its Internet images."""

import pytest
from layouts.groups import SIZE, items, pairs_of, write_object_discovery
from PIL import Image

from coseg.data.pair_orders import AllPairs
from coseg.data.readers.icoseg import IcosegReader
from coseg.data.readers.internet import InternetReader
from coseg.data.readers.msrc import COUNTS, MsrcReader

FOLDERS = {"bear2": "brown_bear", "cheetah": "*cheetah*", "panda1": "023*"}


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
