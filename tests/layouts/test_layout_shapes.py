import numpy as np
import pytest
from facts import mentions, naming

from coseg.data.catalog import Note
from coseg.data.readers.cosod import CosodReader
from coseg.data.readers.folder import FolderReader
from coseg.data.readers.icoseg import IcosegReader
from coseg.data.readers.internet import InternetReader
from coseg.data.readers.msrc import MsrcReader
from coseg.data.readers.shapes import SEEN, ShapesReader
from coseg.data.readers.voc import VocReader
from coseg.errors import CosegError
from layouts.shapes import INTERNET_GROUPS, write_tree


def test_unknown_layout(tmp_path):
    with pytest.raises(CosegError, match=naming("layout", "'vok'", "'voc'")):
        write_tree(ShapesReader(size=48, train=2, val=2, seen=2, unseen=2), tmp_path, "vok")


def test_written_as_voc_it_reads_back(tmp_path):
    reader = ShapesReader(seed=5, size=48, train=6, val=3, seen=4, unseen=2)
    write_tree(reader, tmp_path, "voc")
    voc = VocReader(tmp_path, split_val=False)
    for written, splits in (("train", ["train"]), ("val", ["val", "seen"])):
        back = voc.read(written)
        sources = [(catalog, i) for catalog in map(reader.read, splits) for i in range(len(catalog))]
        assert back.ids == tuple(catalog.ids[i] for catalog, i in sources)
        for k, (catalog, i) in enumerate(sources):
            assert np.array_equal(back.labels(k), catalog.labels(i))
            assert np.array_equal(back.presence[k, :12], catalog.presence[i, :12])
            assert not back.presence[k, 12:].any()
            difference = back.image(k).astype(int) - catalog.image(i)
            assert np.abs(difference).mean() < 12  # JPEG


READERS = {
    "msrc": lambda root: MsrcReader(root, "all"),
    "msrc_subset": lambda root: MsrcReader(root, "all"),
    "icoseg": lambda root: IcosegReader(root, "all"),
    "msrc_object_discovery": lambda root: MsrcReader(root, "all"),
    "icoseg_object_discovery": lambda root: IcosegReader(root, "all"),
    "internet": lambda root: InternetReader(root),
    "cosod": lambda root: CosodReader(root),
    "folder": lambda root: FolderReader(root, "all"),
}


@pytest.mark.parametrize("layout", READERS)
def test_written_in_groups_it_reads_back(layout, tmp_path):
    reader = ShapesReader(seed=5, size=48, train=2, val=2, seen=60, unseen=2)
    source = reader.read("seen")
    write_tree(reader, tmp_path, layout)
    back = READERS[layout](tmp_path).read(READERS[layout](tmp_path).splits[0])
    assert back.name == layout
    problems = [line for line in READERS[layout](tmp_path).problems(back.split) if not isinstance(line, Note)]
    assert all(mentions(line, "images", "release") for line in problems)
    if layout in ("msrc", "icoseg", "folder", "cosod"):
        known = {"cow", "cat"} if layout == "msrc" else {"brown_bear"} if layout == "icoseg" else {SEEN[0].silhouette}
        assert known <= set(back.class_names)
    shown = 3 if layout == "internet" else 12
    # each drawn picture that shows its group's object is found again, with the mask of that object
    masks = {(source.labels(i) == plan[0] + 1).tobytes() for i, plan in enumerate(source.plan) if plan[0] < shown}
    found = {
        (back.labels(k) == 1 + np.flatnonzero(back.presence[k])[0]).tobytes()
        for k in range(len(back))
        if back.presence[k].any()
    }
    assert found == masks
    assert len(back) == 60
    assert set(back.class_names) == set(INTERNET_GROUPS) or back.presence.sum() == 60
    others = [(back.labels(k) == 1 + len(back.class_names)).any() for k in range(len(back))]
    assert any(others) == (layout == "msrc")  # only its truth tells other objects from the background
