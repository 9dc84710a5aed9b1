"""Pictures annotated with labelme."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facts import mentions, naming
from layouts.annotated import png_text, shape, write_labelme, write_shapes
from PIL import Image, ImageDraw

from coseg.data.catalog import Note
from coseg.data.pair_index import PairIndex
from coseg.data.readers.labelme import MAX_FILE, LabelmeReader
from coseg.errors import CosegError

SIZE = (20, 30)
CLASSES = ("cat", "dog", "zèbre")


def drawn(count: int = 4, first: int = 0) -> list[tuple[str, np.ndarray, np.ndarray]]:
    items = []
    for k in range(first, first + count):
        labels = np.zeros(SIZE, np.uint8)
        labels[5:12, 4 + k : 15], labels[0] = k % 3 + 1, 255
        labels[6, 9] = 0  # a hole
        items.append((f"p{k}", np.full((*SIZE, 3), 40 * k + 50, np.uint8), labels))
    return items


def one(root: Path, *shapes: Any, size: tuple[int, int] | None = SIZE, image: str = "a.jpg") -> Path:
    """A picture with these shapes."""
    Image.new("RGB", SIZE[::-1], "grey").save(root / "a.jpg")
    write_shapes(root / "a.json", list(shapes), image, size)
    return root


def labels_of(root: Path) -> np.ndarray:
    return LabelmeReader(root).read("train").labels(0)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_labelme(tmp_path / "more", drawn(), CLASSES)
    catalog = pickle.loads(pickle.dumps(LabelmeReader(tmp_path).read("train")))
    assert (catalog.name, catalog.split, catalog.class_names) == ("labelme", "train", CLASSES)
    assert catalog.ids == tuple(f"more/p{k}" for k in range(4))
    for i, (_, image, labels) in enumerate(drawn()):
        assert (catalog.labels(i) == labels).all()
        assert np.abs(catalog.image(i).astype(int) - image).mean() < 4
        assert list(np.flatnonzero(catalog.presence[i])) == [i % 3]
    assert len(PairIndex(catalog.presence)) == 1
    assert len(list(catalog.files())) == 8
    assert list(LabelmeReader(tmp_path).problems("train")) == []
    assert LabelmeReader(tmp_path).read("val").ids == catalog.ids


def test_splits_in_folders_have_the_same_classes(tmp_path: Path) -> None:
    write_labelme(tmp_path / "train", drawn(2), CLASSES)
    write_labelme(tmp_path / "val", drawn(2, first=2), CLASSES)
    train, val = (LabelmeReader(tmp_path).read(split) for split in ("train", "val"))
    assert train.class_names == val.class_names == CLASSES
    assert (train.ids, val.ids) == (("p0", "p1"), ("p2", "p3"))
    other = LabelmeReader(tmp_path, {"train": "val", "val": "train"}, "dog")
    assert other.read("train").ids == ("p2", "p3") and other.read("train").class_names == ("dog",)
    assert set(np.unique(other.read("train").labels(0))) == {0, 2, 255}  # another object
    with pytest.raises(CosegError, match=naming("test", "dataset.folders.test")):
        LabelmeReader(tmp_path, {"train": None, "test": None}).read("test")


def test_no_image_is_opened_to_index(tmp_path: Path) -> None:
    write_labelme(tmp_path, drawn(), CLASSES)
    for path in tmp_path.glob("*.jpg"):
        path.write_bytes(b"no image")
    assert LabelmeReader(tmp_path).read("train").presence.sum() == 4
    assert sum(mentions(problem, "decode") for problem in LabelmeReader(tmp_path).problems("train")) == 4


@pytest.mark.parametrize(
    ("drawing", "pixels"),
    [
        (shape("cat", [[2, 3], [6, 3], [6, 8], [2, 8]]), np.s_[3:9, 2:7]),
        (shape("cat", [[6.0, 8.0], [2.0, 3.0]], "rectangle"), np.s_[3:9, 2:7]),
        (shape("cat", [[2, 3], [6, 8]], "mask", mask=png_text(np.ones((6, 5), bool))), np.s_[3:9, 2:7]),
    ],
)
def test_shapes_with_corners(drawing: Any, pixels: Any, tmp_path: Path) -> None:
    expected = np.zeros(SIZE, np.uint8)
    expected[pixels] = 1
    assert (labels_of(one(tmp_path, drawing)) == expected).all()


def test_a_circle_has_its_second_point_on_it(tmp_path: Path) -> None:
    labels = labels_of(one(tmp_path, shape("cat", [[15, 10], [15, 4]], "circle")))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    distance = np.hypot(y - 10, x - 15)
    assert (labels[distance <= 5.5] == 1).all() and not labels[distance >= 7.2].any()


def labelme_fill(kind: str, points: list[list[float]], height: int, width: int) -> np.ndarray:
    """What labelme 6.3 shows of a shape: its own calls of Pillow, written down anew."""
    picture = Image.new("L", (width, height))
    corners = [tuple(point) for point in points]
    draw = ImageDraw.Draw(picture)
    if kind == "circle":
        (x, y), (x_on, y_on) = corners
        radius = ((x - x_on) ** 2 + (y - y_on) ** 2) ** 0.5
        draw.ellipse(((x - radius, y - radius), (x + radius, y + radius)), outline=1, fill=1)
    elif kind == "rectangle":
        xs, ys = zip(*corners, strict=True)
        draw.rectangle(((min(xs), min(ys)), (max(xs), max(ys))), outline=1, fill=1)
    else:
        draw.polygon(corners, outline=1, fill=1)
    return np.array(picture) > 0


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "oriented_rectangle", "circle"])
def test_shapes_are_filled_as_labelme_does(kind: str, tmp_path: Path) -> None:
    """To the pixel, with corners on, between and outside of pixels; and nothing is lost on the way through masks."""
    rng = np.random.default_rng(0)
    for k in range(12):
        count = {"polygon": 3 + k, "oriented_rectangle": 4}.get(kind, 2)
        points = rng.uniform(-0.1, 1.1, (count, 2)) * SIZE[::-1]
        points = np.round(points * 2) / 2 if k % 2 else points
        expected = labelme_fill(kind, points.tolist(), *SIZE)
        one(tmp_path, shape("cat", points.tolist(), kind))
        labels = labels_of(tmp_path)
        assert np.array_equal(labels > 0, expected), k
        folder = tmp_path / f"again{k}"
        write_labelme(folder, [("a", np.zeros((*SIZE, 3), np.uint8), labels)], ["cat"])
        if expected.any():
            assert np.array_equal(labels_of(folder), labels)


def test_the_later_shape_is_on_top_and_special_labels_are_no_classes(tmp_path: Path) -> None:
    root = one(
        tmp_path,
        shape("cat", [[0, 0], [9, 9]], "rectangle"),
        shape("dog", [[5, 5], [14, 14]], "rectangle"),
        shape("__ignore__", [[0, 0], [2, 2]], "rectangle"),
        shape("_background_", [[12, 12], [14, 14]], "rectangle"),
        shape("line", [[0, 0], [2, 2]], "line"),
        shape("line", [[0, 0], [2, 2]], "linestrip"),
        shape("line", [[0, 0]], "point"),
    )
    catalog = LabelmeReader(root).read("train")
    assert catalog.class_names == ("cat", "dog")
    labels = catalog.labels(0)
    assert [(labels == label).sum() for label in (1, 2, 255)] == [100 - 25 - 9, 100 - 9, 9]
    notes = list(LabelmeReader(root).problems("train"))
    assert len(notes) == 3 and all(isinstance(note, Note) for note in notes)


def test_a_picture_elsewhere_below_the_root(tmp_path: Path) -> None:
    one(tmp_path, shape("cat", [[0, 0], [9, 9]], "rectangle"))
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").mkdir()
    document = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").unlink()
    (tmp_path / "a.jpg").rename(tmp_path / "images" / "a.jpg")
    for name in ("../images/a.jpg", "..\\images\\a.jpg"):
        (tmp_path / "labels" / "a.json").write_text(json.dumps(document | {"imagePath": name}))
        assert (labels_of(tmp_path) == 1).sum() == 100
    for name in ("../../a.jpg", "/etc/passwd", None, "", "a\0.jpg"):
        (tmp_path / "labels" / "a.json").write_text(json.dumps(document | {"imagePath": name}))
        with pytest.raises(CosegError, match=naming("a.json", "imagePath")):
            LabelmeReader(tmp_path).read("train")


@pytest.mark.parametrize(
    ("drawing", "facts"),
    [
        (shape("cat", [[1, 1], [2, 2]]), ("3 points",)),
        (shape("cat", [[1, 1], [2, 2], [3, 3]], "rectangle"), ("2 points",)),
        (shape("cat", [[1, 1], [2, float("nan")]], "rectangle"), ("finite",)),
        (shape("cat", [[1, 1], [2, "3"]], "rectangle"), ("finite",)),
        (shape("cat", [[1, 1], [2, 3, 4]], "rectangle"), ("pairs",)),
        (shape("cat", [[1, 1], 3], "circle"), ("pairs",)),
        (shape("cat", "points", "circle"), ("points",)),
        (shape("", [[1, 1], [2, 3]], "circle"), ("label",)),
        (shape("cat", [[1, 1], [2, 3]], "mask"), ("mask",)),
        ("cat", ("no shape",)),
    ],
)
def test_a_broken_shape_is_named(drawing: Any, facts: tuple[str, ...], tmp_path: Path) -> None:
    root = one(tmp_path, shape("dog", [[0, 0], [9, 9]], "rectangle"), drawing)
    with pytest.raises(CosegError, match=naming("a.json", "shape 2", *facts)):
        LabelmeReader(root).read("train")
    (problem,) = LabelmeReader(root).problems("train")
    assert mentions(problem, "a.json", "shape 2", *facts)


TEXT = png_text(np.ones((3, 3), bool))


@pytest.mark.parametrize(
    ("drawing", "facts"),
    [
        (shape("cat", [[0, 0], [3, 3]], "mask", mask=TEXT), ("4x4",)),
        (shape("cat", [[28, 0], [30, 2]], "mask", mask=TEXT), ("within", "30x20")),
        (shape("cat", [[-1, 0], [1, 2]], "mask", mask=TEXT), ("within",)),
        (shape("cat", [[2, 2], [0, 0]], "mask", mask=TEXT), ("within",)),
        (shape("cat", [[0, 0], [2, 2]], "mask", mask="*"), ("decode",)),
        (shape("cat", [[0, 0], [2, 2]], "mask", mask=base64.b64encode(b"text").decode()), ("decode",)),
        (shape("cat", [[0, 0], [2, 2]], "mask", mask=TEXT[:60]), ("decode",)),
        (shape("cat", [[0, 0], [1e6, 2]], "rectangle"), ("outside",)),
    ],
)
def test_a_shape_that_does_not_fit_its_picture(drawing: Any, facts: tuple[str, ...], tmp_path: Path) -> None:
    catalog = LabelmeReader(one(tmp_path, drawing)).read("train")
    with pytest.raises(CosegError, match=naming("a.json", "shape 1", *facts)):
        catalog.labels(0)


def test_other_broken_files(tmp_path: Path) -> None:
    whole = shape("cat", [[0, 0], [2, 2]], "rectangle")
    root = one(tmp_path, whole, size=(20, 31))
    with pytest.raises(CosegError, match=naming("a.json", "31x20", "30x20")):
        labels_of(root)
    assert (labels_of(one(tmp_path, whole, size=None)) == 1).sum() == 9
    for text in ("[]", "{", '{"shapes": 3}', "[" * 100_000):
        (root / "a.json").write_text(text)
        with pytest.raises(CosegError, match=naming("a.json")):
            LabelmeReader(root).read("train")
    with (root / "a.json").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(CosegError, match=naming("a.json", f"{MAX_FILE:,}")):
        LabelmeReader(root).read("train")
    (root / "a.json").unlink()
    with pytest.raises(CosegError, match="JSON"):
        LabelmeReader(root).read("train")
    for place in (None, tmp_path / "none"):
        with pytest.raises(CosegError, match=naming("dataset.root", "COSEG_LABELME_ROOT")):
            LabelmeReader(place).read("train")
