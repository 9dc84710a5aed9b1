"""Masks as annotations of other programs, and back."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from facts import mentions, naming
from layouts.annotated import write_coco, write_labelme
from PIL import Image

from coseg.cli import data
from coseg.data.annotations import coco_text, find_masks, labelme_texts
from coseg.data.catalog import Catalog
from coseg.data.readers.coco import CocoReader
from coseg.data.readers.labelme import LabelmeReader
from coseg.errors import CosegError

CLASSES = ("cat", "dog", "zèbre")


def drawn() -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Ragged objects that touch, with holes and void, in pictures of several sizes; one shows nothing."""
    rng = np.random.default_rng(0)
    items = []
    for k in range(6):
        size = (30 + 7 * k, 41 - 3 * k)
        labels = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), size) if k else np.zeros(size, np.uint8)
        labels[5:9] = 3 if k else 0
        items.append((f"p{k}", np.full((*size, 3), 30 * k + 60, np.uint8), labels))
    return items


def save_masks(catalog: Catalog, folder: Path) -> None:
    """The masks of each class as ``<class>/<id>_mask.png``, void as 255 beside 0 and 1."""
    for i, name in enumerate(catalog.ids):
        labels = catalog.labels(i)
        for k, title in enumerate(catalog.class_names, 1):
            mask = np.where(labels == 255, 255, labels == k).astype(np.uint8)
            (folder / title).mkdir(parents=True, exist_ok=True)
            if (labels == k).any() or k == 1:
                Image.fromarray(mask).save(folder / title / f"{Path(name).name}_mask.png")


def expected(catalog: Catalog) -> None:
    """The labels are those that were drawn."""
    assert len(catalog) == len(drawn())
    for i, (_, _, labels) in enumerate(drawn()):
        if catalog.name == "coco" or labels.any():
            assert (catalog.labels(i) == labels).all(), i


def test_from_coco_to_coco(tmp_path: Path) -> None:
    write_coco(tmp_path / "a", drawn(), CLASSES)
    catalog = CocoReader(tmp_path / "a").read("train")
    expected(catalog)
    images = tmp_path / "a" / "train2017"
    save_masks(catalog, tmp_path / "masks")
    (tmp_path / "a" / "back.json").write_text(coco_text(find_masks(tmp_path / "masks", images), images))
    back = CocoReader(tmp_path / "a", {"train": "back.json"}, "train2017")
    assert list(back.problems("train")) == []
    expected(back.read("train"))
    assert back.read("train").class_names == CLASSES
    assert (back.read("train").presence == catalog.presence).all()


def test_pycocotools_reads_what_was_written(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    write_coco(tmp_path, drawn(), CLASSES)
    images = tmp_path / "train2017"
    save_masks(CocoReader(tmp_path).read("train"), tmp_path / "masks")
    (tmp_path / "back.json").write_text(coco_text(find_masks(tmp_path / "masks", images), images))
    with contextlib.redirect_stdout(io.StringIO()):
        oracle = coco.COCO(tmp_path / "back.json")
    labels = {f"{name}.jpg": labels for name, _, labels in drawn()}
    names = {number: category["name"] for number, category in oracle.cats.items()}
    assert len(oracle.anns) > 15
    for entry in oracle.anns.values():
        truth = labels[oracle.imgs[entry["image_id"]]["file_name"]]
        region = truth == (255 if entry["iscrowd"] else 1 + CLASSES.index(names[entry["category_id"]]))
        assert (oracle.annToMask(entry).astype(bool) == region).all()
        assert entry["area"] == region.sum()
        left, top, width, height = entry["bbox"]
        assert region[top : top + height, left : left + width].sum() == region.sum()


def test_from_labelme_to_labelme(tmp_path: Path) -> None:
    write_labelme(tmp_path / "a", drawn(), CLASSES)
    catalog = LabelmeReader(tmp_path / "a").read("train")
    expected(catalog)
    save_masks(catalog, tmp_path / "masks")
    files = find_masks(tmp_path / "masks", tmp_path / "a")
    for path, text in labelme_texts(files, tmp_path / "b", tmp_path / "a").items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        assert json.loads(text)["imagePath"] == f"../a/{path.stem}.jpg"
    back = LabelmeReader(tmp_path, {"train": "b"})
    assert list(back.problems("train")) == []
    expected(back.read("train"))
    assert back.read("train").class_names == CLASSES


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Photographs, and what ``coseg-predict`` makes of them."""
    for k in range(3):
        photograph = np.full((20, 30 + k, 3), 50 * k + 20, np.uint8)
        mask = np.zeros((20, 30 + k), np.uint8)
        mask[2 : 4 + k, 3:9] = 255 * (k < 2)
        (tmp_path / "album" / "out").mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph).save(tmp_path / "album" / f"{k}.jpg")
        Image.fromarray(mask).save(tmp_path / "album" / "out" / f"{k}_mask.png")
        Image.fromarray(photograph).save(tmp_path / "album" / "out" / f"{k}_overlay.jpg")
    Image.new("RGB", (9, 9)).save(tmp_path / "album" / "out" / "sheet.png")
    return tmp_path


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as leaving:
        data.main(["export", *map(str, words)])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def test_the_command_to_coco(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = album / "new" / "instances_all.json"
    words = (album / "album" / "out", "--images", album / "album", "--format", "coco", "--out", out)
    assert run(*words) == 0
    assert mentions(capsys.readouterr().out, 3, "masks", out)
    document = json.loads(out.read_text())
    assert [image["file_name"] for image in document["images"]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [(entry["image_id"], entry["area"]) for entry in document["annotations"]] == [(1, 12), (2, 18)]
    assert [category["name"] for category in document["categories"]] == ["object"]
    assert run(*words) == 2
    assert mentions(capsys.readouterr().err, out, "--overwrite")
    assert run(*words, "--overwrite", "--label", "cat") == 0
    assert json.loads(out.read_text())["categories"][0]["name"] == "cat"
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_the_command_to_labelme(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (album / "album" / "out", "--images", album / "album", "--format", "labelme", "--out", album / "album")
    assert run(*words, "--label", "cat") == 0
    catalog = LabelmeReader(album / "album").read("train")
    assert catalog.ids == ("0", "1", "2") and catalog.presence.ravel().tolist() == [True, True, False]
    assert [(catalog.labels(i) == 1).sum() for i in range(3)] == [12, 18, 0]
    assert run(*words) == 2
    assert mentions(capsys.readouterr().err, "0.json", 2, "--overwrite")


def test_masks_without_their_images(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks, images = album / "album" / "out", album / "album"
    with pytest.raises(CosegError, match=naming("none", "images")):
        find_masks(masks, album / "none")
    with pytest.raises(CosegError, match=naming("none", "masks")):
        find_masks(album / "none", images)
    (album / "empty").mkdir()
    with pytest.raises(CosegError, match=naming("no masks")):
        find_masks(album / "empty", images)
    with pytest.raises(CosegError, match=naming("0_mask.png", "no image")):
        find_masks(masks, album / "empty")
    Image.new("RGB", (30, 20)).save(images / "0.png")
    with pytest.raises(CosegError, match=naming("0_mask.png", "2 images", "0.png")):
        find_masks(masks, images)
    (images / "0.png").unlink()
    Image.new("RGB", (31, 20)).save(images / "0.jpg")
    out = album / "a.json"
    assert run(masks, "--images", images, "--format", "coco", "--out", out) == 2
    assert mentions(capsys.readouterr().err, "0_mask.png", "30x20", "31x20")
    assert run(masks, "--images", images, "--format", "labelme", "--out", album / "json") == 2
    assert not out.exists() and not (album / "json").exists()


def test_names_in_folders(tmp_path: Path) -> None:
    for place in ("cow", "dog"):
        for folder, suffix in (("images", ".jpg"), ("masks", ".png")):
            (tmp_path / folder / place).mkdir(parents=True)
            Image.new("L", (9, 9), 255).save(tmp_path / folder / place / f"1{suffix}")
    files = find_masks(tmp_path / "masks", tmp_path / "images")
    assert [(file.label, file.image.parent.name) for file in files] == [("cow", "cow"), ("dog", "dog")]
    texts = labelme_texts(files, tmp_path / "images", tmp_path / "images")
    assert [path.relative_to(tmp_path).as_posix() for path in texts] == ["images/cow/1.json", "images/dog/1.json"]
    Image.new("L", (9, 9), 255).save(tmp_path / "images" / "cow" / "1.png")
    Image.new("L", (9, 9), 255).save(tmp_path / "masks" / "cow" / "1.gif")
    with pytest.raises(CosegError, match=naming("1.gif", "2 images")):
        find_masks(tmp_path / "masks", tmp_path / "images")
