"""The object-discovery bundle and its Internet images."""

import numpy as np
import pytest
from layouts.groups import GroupItem, write_object_discovery
from PIL import Image

from coseg.data.pair_index import PairIndex
from coseg.data.pair_orders import AllPairs
from coseg.data.readers.icoseg import IcosegReader
from coseg.data.readers.internet import InternetReader
from coseg.data.readers.msrc import COUNTS, MsrcReader

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
