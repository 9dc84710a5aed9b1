"""Instances in COCO's format."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facts import mentions, naming
from layouts.annotated import write_coco, write_instances
from PIL import Image

from coseg.data.catalog import Note
from coseg.data.pair_index import PairIndex
from coseg.data.readers import annotated
from coseg.data.readers.coco import CocoReader
from coseg.errors import CosegError, DamagedFile

SIZE = (20, 30)
CLASSES = ("cat", "dog", "zèbre")


def drawn(count: int = 4) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Image k holds class k % 3 + 1, every second one class 3 too; void above."""
    rng = np.random.default_rng(0)
    items = []
    for k in range(count):
        labels = np.zeros(SIZE, np.uint8)
        labels[5:12, 4 + k : 15], labels[0] = k % 3 + 1, 255
        if k % 2:
            labels[14:18, 3:9] = 3
        image = np.full((*SIZE, 3), rng.integers(0, 256, 3), np.uint8)
        items.append((f"{k:012d}", image, labels))
    return items


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_coco(tmp_path, drawn(), CLASSES)
    write_coco(tmp_path, drawn(2), CLASSES, "val2017")
    return tmp_path


Edit = Callable[[dict[str, Any]], object]


def edited(root: Path, edit: Edit, split: str = "train2017") -> None:
    path = root / "annotations" / f"instances_{split}.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    edit(document)
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def square(number: int, side: float, area: float | None = None, **keys: Any) -> dict[str, Any]:
    """An annotation of image 7, a polygon from its corner at (2, 2)."""
    outline = [2, 2, 2 + side, 2, 2 + side, 2 + side, 2, 2 + side]
    entry = {"id": number, "image_id": 7, "category_id": 10, "segmentation": [outline], "iscrowd": 0, **keys}
    return entry if area is None else entry | {"area": area}


def only(root: Path, *annotations: dict[str, Any]) -> None:
    edited(root, lambda document: document.update(annotations=list(annotations)))


# what is read


def test_what_was_written_is_read(root: Path) -> None:
    catalog = pickle.loads(pickle.dumps(CocoReader(root).read("train")))
    assert (catalog.name, catalog.split, catalog.class_names) == ("coco", "train", CLASSES)
    assert catalog.ids == tuple(name for name, _, _ in drawn())
    for i, (_, image, labels) in enumerate(drawn()):
        assert (catalog.labels(i) == labels).all()
        assert np.abs(catalog.image(i).astype(int) - image).mean() < 4
        assert set(np.flatnonzero(catalog.presence[i]) + 1) == set(np.unique(labels)) - {0, 255}
    assert len(PairIndex(catalog.presence)) == 4
    assert len(CocoReader(root).read("val")) == 2
    assert len(list(catalog.files())) == 5
    assert list(CocoReader(root).problems("train")) == []


def test_no_image_is_opened_and_no_mask_built_to_index(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (root / "train2017").iterdir():
        path.write_bytes(b"not an image")
    monkeypatch.setattr("coseg.imaging.regions.Runs.mask", None)
    catalog = CocoReader(root).read("train")
    assert catalog.presence.sum() == 6
    with pytest.raises(DamagedFile, match=naming("000000000000.jpg")):
        catalog.labels(0)


def test_chosen_classes_and_other_objects(root: Path) -> None:
    catalog = CocoReader(root, classes=["zèbre", "cat"]).read("train")
    assert catalog.class_names == ("cat", "zèbre")
    labels = catalog.labels(1)
    assert set(np.unique(labels)) == {0, 2, 3, 255}  # 3: the dog, which is another object
    assert catalog.presence.tolist() == [[True, False], [False, True], [False, True], [True, True]]
    with pytest.raises(CosegError, match=naming("dataset.classes", "'cta'", "'cat'")):
        CocoReader(root, classes=["cta"]).read("train")


def test_the_smaller_object_is_on_top(root: Path) -> None:
    only(root, square(1, 4, category_id=20), square(2, 10), square(3, 4, category_id=30))
    labels = CocoReader(root).read("train").labels(0)
    assert (labels[2:6, 2:6] == 3).all()  # of two equal ones the later
    assert (labels == 1).sum() == 100 - 16
    assert (labels == 2).sum() == 0
    (note,) = [remark for remark in CocoReader(root).problems("train") if "dog" in remark]
    assert isinstance(note, Note) and mentions(note, 1, "000000000000")


def test_a_crowd_is_void_below_objects(root: Path) -> None:
    only(root, square(1, 4), square(2, 10, category_id=20, iscrowd=1))
    catalog = CocoReader(root).read("train")
    labels = catalog.labels(0)
    assert ((labels == 1).sum(), (labels == 255).sum()) == (16, 84)
    assert catalog.presence[0].tolist() == [True, False, False]


def test_the_area_that_the_file_gives_decides(root: Path) -> None:
    only(root, square(1, 4, area=5000), square(2, 10, area=50), square(3, 3, category_id=20))
    catalog = CocoReader(root, min_area=9, max_area=100).read("train")
    assert catalog.presence[0].tolist() == [True, True, False]
    labels = catalog.labels(0)
    assert ((labels == 2).sum(), (labels == 1).sum(), (labels == 255).sum()) == (9, 91, 0)
    catalog = CocoReader(root, min_area=60).read("train")
    assert catalog.presence[0].tolist() == [True, False, False]
    assert set(np.unique(catalog.labels(0))) == {0, 255}  # the smaller ones are on top


def test_several_polygons_are_one_object(root: Path) -> None:
    entry = square(1, 4)
    entry["segmentation"].append([20, 10, 25, 10, 25, 15, 20, 15])
    only(root, entry)
    assert (CocoReader(root).read("train").labels(0) == 1).sum() == 16 + 25


@pytest.mark.parametrize(
    ("file", "images"),
    [
        ("annotations/instances_default.json", "images"),
        ("train/_annotations.coco.json", "train"),
        ("train.json", "."),
        ("annotations/train.json", "images/train"),
    ],
)
def test_other_places(file: str, images: str, root: Path) -> None:
    (root / file).parent.mkdir(exist_ok=True, parents=True)
    (root / "annotations" / "instances_train2017.json").rename(root / file)
    (root / images).mkdir(exist_ok=True, parents=True)
    for path in (root / "train2017").iterdir():
        path.rename(root / images / path.name)
    assert len(CocoReader(root).read("train")) == 4


def test_places_that_are_given(root: Path) -> None:
    (root / "annotations" / "instances_train2017.json").rename(root / "labels.json")
    (root / "train2017").rename(root / "photos")
    reader = CocoReader(root, {"train": "labels.json", "test": "labels.json"}, "photos")
    assert reader.splits == ("train", "test")
    assert len(reader.read("train")) == len(reader.read("test")) == 4
    with pytest.raises(CosegError, match=naming("none.json", "dataset.annotations.train")):
        CocoReader(root, {"train": "none.json"}).read("train")
    with pytest.raises(CosegError, match=naming("000000000000.jpg", "dataset.images")):
        CocoReader(root, {"train": "labels.json"}).read("train")


# what is refused


@pytest.mark.parametrize(
    ("edit", "facts"),
    [
        ({"segmentation": [[1, 2, 3, float("nan"), 5, 6]]}, ("finite",)),
        ({"segmentation": [[1, 2, 3, 4]]}, ("3 points",)),
        ({"segmentation": {"size": list(SIZE), "counts": [5, 6]}}, ("sum", 600)),
        ({"segmentation": {"size": list(SIZE), "counts": "ÿ"}}, ("run lengths",)),
        ({"segmentation": None}, ("segmentation",)),
        ({"segmentation": []}, ("empty",)),
        ({"area": float("inf")}, ("area",)),
        ({"area": -1}, ("area",)),
        ({"area": "9"}, ("area",)),
        ({"iscrowd": 2}, ("iscrowd",)),
        ({"iscrowd": [1]}, ("iscrowd",)),
        ({"image_id": 8}, ("image 8",)),
        ({"image_id": "7"}, ("image_id",)),
        ({"category_id": 11}, ("category 11",)),
        ({"category_id": 2**70}, ("category_id",)),
    ],
)
def test_a_broken_annotation_is_named(edit: dict[str, Any], facts: tuple[str, ...], root: Path) -> None:
    edited(root, lambda document: document["annotations"][0].update(edit))
    facts = ("instances_train2017.json", "annotation 1000", *facts)
    with pytest.raises(CosegError, match=naming(*facts)):
        CocoReader(root).read("train")
    with pytest.raises(CosegError, match=naming(*facts)):
        CocoReader(root).read_sound("train")
    (problem, *_) = CocoReader(root).problems("train")
    assert mentions(problem, *facts) and not isinstance(problem, Note)


@pytest.mark.parametrize(
    ("segmentation", "facts"),
    [([[1, 2, 3, 4, 1e7, 6]], ("outside",)), ({"size": [30, 20], "counts": [600]}, ("20x30", "30x20"))],
)
def test_an_annotation_that_does_not_fit_its_image(segmentation: Any, facts: tuple[str, ...], root: Path) -> None:
    only(root, square(5, 3) | {"segmentation": segmentation})
    with pytest.raises(CosegError, match=naming("annotation 5", *facts)):
        CocoReader(root).read("train").labels(0)
    assert any(mentions(problem, "annotation 5", *facts) for problem in CocoReader(root).problems("train"))


def test_every_broken_annotation_is_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(root, *(square(k, 3) | {"segmentation": [[]]} for k in range(10)), {"id": 77}, 3)  # type: ignore[arg-type]
    problems = list(CocoReader(root).problems("train"))
    assert len(problems) == 12 and mentions(problems[10], "annotation 77") and mentions(problems[11], "at byte")
    monkeypatch.setattr(annotated, "MAX_PROBLEMS", 3)
    problems = list(CocoReader(root).problems("train"))
    assert len(problems) == 4 and mentions(problems[3], 9)


@pytest.mark.parametrize(
    ("edit", "facts"),
    [
        (lambda d: d["images"][0].update(file_name="../a.jpg"), ("file_name", "image 7")),
        (lambda d: d["images"][0].update(file_name="/etc/a.jpg"), ("file_name",)),
        (lambda d: d["images"][0].update(file_name="C:\\a.jpg"), ("file_name",)),
        (lambda d: d["images"][0].update(file_name=3), ("file_name",)),
        (lambda d: d["images"][0].update(height=0), ("size",)),
        (lambda d: d["images"][0].update(height=10**9), ("size",)),
        (lambda d: d["images"][0].update(height=20.0), ("height",)),
        (lambda d: d["images"][1].update(id=7), ("another",)),
        (lambda d: d["images"][1].update(file_name=d["images"][0]["file_name"]), ("another",)),
        (lambda d: d["images"][1].update(file_name="gone.jpg"), ("gone.jpg", 4, 1)),
        (lambda d: d["images"].clear(), ("image",)),
        (lambda d: d.update(annotations=[], images=[]), ("no images",)),
        (lambda d: d["categories"].clear(), ("no class",)),
        (lambda d: d["categories"][1].update(name="cat"), ("another",)),
        (lambda d: d["categories"][1].update(name=" "), ("name",)),
        (lambda d: d["categories"].append("x"), ("id",)),
        (lambda d: d.update(categories=[{"id": k, "name": str(k)} for k in range(300)]), (300, "dataset.classes")),
    ],
)
def test_other_broken_entries(edit: Edit, facts: tuple[str, ...], root: Path) -> None:
    edited(root, edit)
    with pytest.raises(CosegError, match=naming("instances_train2017.json", *facts)):
        CocoReader(root).read("train")
    assert list(CocoReader(root).problems("train"))


def test_an_image_of_another_size(root: Path) -> None:
    Image.new("RGB", (30, 21)).save(root / "train2017" / "000000000001.jpg")
    catalog = CocoReader(root).read("train")
    with pytest.raises(CosegError, match=naming("000000000001.jpg", "30x21", "30x20")):
        catalog.labels(1)


def test_damaged_images_can_be_left_out(root: Path) -> None:
    (root / "train2017" / "000000000001.jpg").write_bytes(b"no image")
    catalog, errors = CocoReader(root).read_sound("train")
    assert len(catalog) == 3 and mentions(errors[0], "000000000001.jpg")
    assert (catalog.labels(1) == drawn()[2][2]).all()
    assert catalog.presence[1].tolist() == [False, False, True]


def test_a_file_that_changed(root: Path) -> None:
    catalog = CocoReader(root).read("train")
    path = root / "annotations" / "instances_train2017.json"
    os.utime(path, (1, 1))
    with pytest.raises(CosegError, match=naming(path.name, "changed")):
        catalog.labels(0)
    path.unlink()
    with pytest.raises(CosegError, match=path.name):
        catalog.labels(0)


def test_files_that_are_not_there(root: Path, tmp_path: Path) -> None:
    for place in (None, tmp_path / "none"):
        with pytest.raises(CosegError, match=naming("dataset.root", "COSEG_COCO_ROOT")):
            CocoReader(place).read("train")
    write_instances(root / "annotations" / "instances_train2014.json", [], [], [])
    with pytest.raises(CosegError, match=naming("instances_train2014.json", "dataset.annotations.train")):
        CocoReader(root).read("train")
    with pytest.raises(CosegError, match=naming("split", "test")):
        CocoReader(root).read("test")
    for path in (root / "annotations").iterdir():
        path.unlink()
    with pytest.raises(CosegError, match=naming("dataset.annotations.val")):
        CocoReader(root).read("val")
    (root / "annotations" / "instances_val2017.json").write_text("[]")
    with pytest.raises(CosegError, match=naming("instances_val2017.json", "damaged")):
        CocoReader(root).read("val")


def test_many_classes_are_read_where_some_are_chosen(root: Path) -> None:
    more = [{"id": 1000 + k, "name": f"class {k}"} for k in range(1200)]
    edited(root, lambda document: document["categories"].extend(more))
    catalog = CocoReader(root, classes=["cat", "class 3"]).read("train")
    assert catalog.class_names == ("cat", "class 3")
    assert set(np.unique(catalog.labels(1))) == {0, 3, 255}
