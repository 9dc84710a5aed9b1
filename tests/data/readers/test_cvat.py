"""CVAT's export of segmentation masks."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from facts import mentions, naming
from layouts.annotated import write_cvat
from PIL import Image

from coseg.data.pair_index import PairIndex
from coseg.data.readers.cvat import CvatReader, read_labelmap
from coseg.errors import CosegError

SIZE = (12, 16)
CLASSES = tuple(f"class {k}" for k in range(30))


def drawn() -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Image k holds classes k and k + 25 (from 1), and void."""
    items = []
    for k in range(1, 5):
        labels = np.zeros(SIZE, np.uint8)
        labels[2:5, 2:9], labels[7:9, 3:5], labels[0] = k, k // 2 + 25, 255
        items.append((f"p{k}", np.full((*SIZE, 3), 40 * k, np.uint8), labels))
    return items


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_cvat(tmp_path, drawn(), CLASSES, {"default": [f"p{k}" for k in range(1, 5)]})
    return tmp_path


def test_what_was_written_is_read(root: Path) -> None:
    catalog = pickle.loads(pickle.dumps(CvatReader(root).read("train")))
    assert (catalog.name, catalog.split, catalog.class_names) == ("cvat", "train", CLASSES)
    assert catalog.ids == ("p1", "p2", "p3", "p4")
    for i, (_, image, labels) in enumerate(drawn()):
        assert (catalog.labels(i) == labels).all()
        assert np.abs(catalog.image(i).astype(int) - image).mean() < 4
        assert set(np.flatnonzero(catalog.presence[i]) + 1) == set(np.unique(labels)) - {0, 255}
    assert len(PairIndex(catalog.presence)) == 1  # 2 // 2 == 3 // 2
    assert len(list(catalog.files())) == 8
    assert list(CvatReader(root).problems("val")) == []


def test_lists_of_splits(root: Path) -> None:
    sets = root / "ImageSets" / "Segmentation"
    (sets / "Train.txt").write_text("p1\np2\n")
    (sets / "Validation.txt").write_text("p3\n")
    assert CvatReader(root).read("train").ids == ("p1", "p2")
    assert CvatReader(root).read("val").ids == ("p3",)
    assert len(CvatReader(root, {"test": "default"}).read("test")) == 4
    with pytest.raises(CosegError, match=naming("mine.txt", "dataset.lists.train")):
        CvatReader(root, {"train": "mine"}).read("train")
    (sets / "default.txt").unlink()
    with pytest.raises(CosegError, match=naming("test.txt", "dataset.lists.test")):
        CvatReader(root, {"test": None}).read("test")


def test_chosen_classes(root: Path) -> None:
    catalog = CvatReader(root, classes=["class 25", "class 0"]).read("train")
    assert catalog.class_names == ("class 0", "class 25")
    assert set(np.unique(catalog.labels(0))) == {0, 1, 3, 255}
    with pytest.raises(CosegError, match=naming("dataset.classes", "'class 99'")):
        CvatReader(root, classes=["class 99"]).read("train")


def test_palette_masks_and_special_labels(root: Path) -> None:
    (root / "labelmap.txt").write_text("background:0,0,0::\ncat : 1, 2, 3 :part:act\nignored:9,9,9::\nvoid:8,8,8\n")
    mask = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(SIZE) % 5)
    mask.putpalette([0, 0, 0, 1, 2, 3, 9, 9, 9, 8, 8, 8, 224, 224, 192])
    for k in range(1, 5):
        mask.save(root / "SegmentationClass" / f"p{k}.png")
    catalog = CvatReader(root).read("train")
    assert catalog.class_names == ("cat",)
    assert catalog.labels(0).ravel()[:5].tolist() == [0, 1, 255, 255, 255]


def test_colours_that_are_not_listed(root: Path) -> None:
    mask = np.zeros((*SIZE, 3), np.uint8)
    mask[0, :3] = (1, 2, 3)
    Image.fromarray(mask).save(root / "SegmentationClass" / "p2.png")
    with pytest.raises(CosegError, match=naming("p2.png", 3, "(1, 2, 3)", "labelmap.txt")):
        CvatReader(root).read("train")
    (problem,) = CvatReader(root).problems("train")
    assert mentions(problem, "p2.png")
    Image.new("RGB", (5, 5)).save(root / "SegmentationClass" / "p2.png")
    with pytest.raises(CosegError, match=naming("p2.png", "5x5", "16x12")):
        CvatReader(root).read("train")
    (root / "SegmentationClass" / "p2.png").write_bytes(b"no image")
    with pytest.raises(CosegError, match=naming("p2.png", "decode")):
        CvatReader(root).read("train")
    assert CvatReader(root).read_sound("train")[0].ids == ("p1", "p3", "p4")


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("cat\n", ("line 1", "'cat'")),
        ("# a\ncat:1,2\n", ("line 2",)),
        ("cat:1,2,300::\n", (300, 255)),
        ("cat:1,2,3::\ncat:1,2,4::\n", ("line 2", "cat")),
        ("cat:1,2,3::\ndog:1,2,3::\n", ("line 2", "(1, 2, 3)")),
        ("a:::\n", ("line 1",)),
        ("background:0,0,0::\n", ("no class",)),
        (b"\xff\xfe", ("no text",)),
    ],
)
def test_broken_labelmaps(text: str | bytes, facts: tuple[str | int, ...], root: Path) -> None:
    (root / "labelmap.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CosegError, match=naming("labelmap.txt", *facts)):
        CvatReader(root).read("train")


def test_a_label_may_hold_a_colon(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text("\ufeffa:b:1,2,3:x:y\n", encoding="utf-8")
    assert read_labelmap(tmp_path / "labelmap.txt") == {"a:b": (1, 2, 3)}


def test_what_is_not_there(root: Path) -> None:
    (root / "JPEGImages" / "p3.jpg").unlink()
    with pytest.raises(CosegError, match=naming("default.txt", "p3.jpg")):
        CvatReader(root).read("train")
    (root / "labelmap.txt").unlink()
    with pytest.raises(CosegError, match=naming("labelmap.txt")):
        CvatReader(root).read("train")
    for place in (None, root / "none"):
        with pytest.raises(CosegError, match=naming("dataset.root", "COSEG_CVAT_ROOT")):
            CvatReader(place).read("train")
