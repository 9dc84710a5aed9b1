import os

import numpy as np
import pytest
from layouts.voc import write_voc
from PIL import Image

from coseg.data.readers import coco, cvat, groups, instances, voc
from coseg.data.readers.coco import CocoReader
from coseg.data.readers.cvat import CvatReader
from coseg.data.readers.folder import FolderReader
from coseg.data.readers.voc import VocReader
from coseg.files import tables
from coseg.files.writing import json_text


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tables, "WORTH", 0)
    return tmp_path / "cache"


def _label(k):
    labels = np.zeros((20, 30), np.uint8)
    labels[2:8, 2:8] = 1 + k % 3
    return labels


def _voc(root):
    write_voc(root, [(f"i{k}", np.full((20, 30, 3), 9 * k, np.uint8), _label(k)) for k in range(8)], {
        "train": [f"i{k}" for k in range(8)], "val": ["i0", "i1"],
    })  # fmt: skip
    mask = root / "SegmentationClass" / "i3.png"
    return lambda: VocReader(root, split_val=False), mask, Image.fromarray(_label(1), "L")


def _cvat(root):
    _voc(root)
    (root / "labelmap.txt").write_text("cat:128,0,0::\ndog:0,128,0::\ncow:128,128,0::\n")
    picture = Image.fromarray(np.where(_label(0)[..., None], np.array([0, 128, 0], np.uint8), np.uint8(0)))
    return lambda: CvatReader(root), root / "SegmentationClass" / "i3.png", picture


def _folder(root):
    for name, k in ((f"{name}/{part}", k) for name in ("cat", "dog") for part in ("images", "masks") for k in range(3)):
        (root / name).mkdir(parents=True, exist_ok=True)
        values = np.where(_label(k) > 0, 255, 0).astype(np.uint8)
        Image.fromarray(values).save(root / name / f"{k}.png")
    return lambda: FolderReader(root, "all"), root / "cat" / "masks" / "1.png", Image.new("L", (30, 20))


def _coco(root):
    (root / "train").mkdir(parents=True)
    for k in range(4):
        Image.new("RGB", (30, 20)).save(root / "train" / f"{k}.jpg")
    document = {
        "images": [{"id": k, "file_name": f"{k}.jpg", "width": 30, "height": 20} for k in range(4)],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 7 + 2 * (k % 2), "iscrowd": 0, "area": 20.5,
             "segmentation": [[2, 2, 9, 2, 9, 9 + k]]} for k in range(4)
        ],
    }  # fmt: skip
    path = root / "train.json"
    path.write_text(json_text(document))
    return lambda: CocoReader(root), path, json_text(document | {"annotations": document["annotations"][1:]})


LAYOUTS = {
    "voc": (_voc, voc, "classes_of"),
    "cvat": (_cvat, cvat.ColourLabels, "labels"),
    "folder": (_folder, groups, "photograph_size"),
    "coco": (_coco, instances.InstanceTable, "parse"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_second_start_reads_no_mask_until_one_changes(tmp_path, monkeypatch, layout):
    write, where, name = LAYOUTS[layout]
    make, changed, new = write(tmp_path / "data")
    calls = []
    original = getattr(where, name)
    monkeypatch.setattr(where, name, lambda *arguments: calls.append(1) or original(*arguments))

    def start():
        calls.clear()
        reader = make()
        catalog = reader.read(reader.splits[0])
        read = len(calls)
        return read, catalog.presence, [catalog.labels(i) for i in range(len(catalog))]

    first, second = start(), start()
    assert first[0] > 0 and second[0] == 0
    assert np.array_equal(first[1], second[1]) and all(map(np.array_equal, first[2], second[2]))
    if isinstance(new, str):
        changed.write_text(new)
    else:
        new.save(changed)
    third, fourth = start(), start()
    assert third[0] > 0 and fourth[0] == 0 and np.array_equal(third[1], fourth[1])
    assert not np.array_equal(first[1], third[1])
    monkeypatch.setenv("COSEG_CACHE", "")
    assert np.array_equal(start()[1], third[1])


def test_settings_that_change_presence_are_of_their_own(tmp_path):
    make, *_ = _cvat(tmp_path / "data")
    assert make().read("train").presence.shape == (8, 3)
    chosen = CvatReader(tmp_path / "data", classes=["dog"]).read("train")
    assert chosen.presence.shape == (8, 1)
    (tmp_path / "data" / "labelmap.txt").write_text("cat:128,0,0::\ncow:0,128,0::\ndog:128,128,0::\n")
    assert not np.array_equal(CvatReader(tmp_path / "data", classes=["dog"]).read("train").presence, chosen.presence)
    make, *_ = _coco(tmp_path / "coco")
    small = CocoReader(tmp_path / "coco", min_area=21).read("train")
    assert make().read("train").presence.any() and not small.presence.any()


def test_mistakes_are_reported_at_each_start(tmp_path, cache):
    make, mask, _ = _voc(tmp_path / "data")
    Image.new("L", (3, 3)).save(mask)
    for _ in range(2):
        with pytest.raises(coco.CosegError, match=r"3x3"):
            make().read("train")
    assert not cache.exists()


def test_a_damaged_or_foreign_cache_is_made_anew(tmp_path, cache):
    make, *_ = _voc(tmp_path / "data")
    wanted = make().read("train").presence
    (path,) = cache.iterdir()
    for content in (b"", path.read_bytes()[:-1], os.urandom(500)):
        path.write_bytes(content)
        assert np.array_equal(make().read("train").presence, wanted)
