import csv
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coseg.data.pairs import PairIndex
from coseg.data.readers.voc import VOC_CLASSES, VocReader
from coseg.data.readers.write import write_voc
from coseg.errors import CosegError

FIXTURE = Path(__file__).parents[2] / "fixtures" / "voc2012_classes.csv"


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """All 2913 images of VOC 2012's lists at 8x8 pixels, with one pixel of each class that the image holds."""
    root = tmp_path_factory.mktemp("voc")
    with FIXTURE.open() as file:
        rows = list(csv.DictReader(file))
    image = np.zeros((8, 8, 3), np.uint8)

    def items():
        for row in rows:
            labels = np.zeros((8, 8), np.uint8)
            labels[0] = 255
            classes = row["classes"].split()
            labels.reshape(-1)[-len(classes) :] = [int(label) for label in classes]
            yield row["id"], image, labels

    lists = {split: [row["id"] for row in rows if row["split"] == split] for split in ("train", "val")}
    write_voc(root / "VOCdevkit" / "VOC2012", items(), lists)
    return root


SIZE = (24, 32)


@pytest.fixture
def small(tmp_path):
    """Four images of 24x32 pixels: train a and b, val c and d; image number n holds classes n + 1 and 20, and void."""
    generator = np.random.default_rng(0)

    def items():
        for n, name in enumerate("abcd"):
            labels = np.zeros(SIZE, np.uint8)
            labels[2:10, 2:10], labels[12:20, 12:20], labels[0] = n + 1, 20, 255
            yield name, generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8), labels

    write_voc(tmp_path, items(), {"train": ["a", "b"], "val": ["c", "d"]})
    return tmp_path


def read(root, split="train"):
    return VocReader(root, split_val=False).read(split)


def mask(root, name):
    return root / "SegmentationClass" / f"{name}.png"


# what is read


@pytest.mark.parametrize(
    ("split", "images", "pairs"), [("train", 1464, 169_587), ("val", 724, 46_973), ("test", 725, 37_700)]
)
def test_published_counts(published, split, images, pairs):
    catalog = VocReader(published).read(split)
    assert (len(catalog), catalog.expected, catalog.complete) == (images, images, True)
    assert len(PairIndex(catalog.presence)) == pairs


def test_val_whole_is_val_then_test(published):
    reader = VocReader(published)
    whole = VocReader(published, split_val=False)
    assert (reader.splits, whole.splits) == (("train", "val", "test"), ("train", "val"))
    catalog = whole.read("val")
    assert catalog.ids == reader.read("val").ids + reader.read("test").ids
    assert (len(catalog), catalog.expected) == (1449, 1449)


def test_catalog_decodes_what_was_written(small):
    catalog = pickle.loads(pickle.dumps(read(small, "val")))
    assert (catalog.name, catalog.split, catalog.ids) == ("voc", "val", ("c", "d"))
    assert catalog.class_names == VOC_CLASSES
    assert [list(np.flatnonzero(row)) for row in catalog.presence] == [[2, 19], [3, 19]]
    assert (catalog.expected, catalog.complete) == (1449, False)
    image, labels = catalog.image(1), catalog.labels(1)
    assert (image.shape, image.dtype) == ((*SIZE, 3), np.uint8)
    assert (labels.shape, labels.dtype) == (SIZE, np.uint8)
    assert (labels[0] == 255).all()
    assert (labels[2:10, 2:10] == 4).all()
    assert (labels == 0).sum() == labels.size - 32 - 64 - 64


def test_grey_image_becomes_rgb_and_grey_mask_is_labels(small):
    Image.fromarray(np.full(SIZE, 100, np.uint8)).save(small / "JPEGImages" / "a.jpg")
    Image.fromarray(np.full(SIZE, 7, np.uint8)).save(mask(small, "a"))
    catalog = read(small)
    assert catalog.image(0).shape == (*SIZE, 3)
    assert (catalog.labels(0) == 7).all()
    assert list(np.flatnonzero(catalog.presence[0])) == [6]


def test_presence_comes_from_pixels_not_from_annotations(small):
    (small / "Annotations").mkdir()
    (small / "Annotations" / "a.xml").write_text(
        "<annotation><object><name>sheep</name></object></annotation>", encoding="utf-8"
    )
    assert not read(small).presence[:, VOC_CLASSES.index("sheep")].any()


# what is refused


def test_unknown_split(small):
    with pytest.raises(CosegError, match="split of voc is 'test', but must be one of: train, val"):
        read(small, "test")


@pytest.mark.parametrize("split", ["val", "test"])
def test_own_list_is_not_split(small, split):
    with pytest.raises(CosegError, match=r"val\.txt has 2 rows, .* needs the 1449 rows .* dataset\.split_val=false"):
        VocReader(small).read(split)
    assert len(VocReader(small).read("train")) == 2


@pytest.mark.parametrize(("folder", "kind"), [("JPEGImages", "image"), ("SegmentationClass", "mask")])
def test_missing_files(small, folder, kind):
    ending = {"image": "jpg", "mask": "png"}[kind]
    (small / folder / f"b.{ending}").unlink()
    with (small / "ImageSets" / "Segmentation" / "train.txt").open("a") as file:
        file.write("c\nx\ny\nz\n")
    if kind == "mask":
        for name in "xyz":
            shutil.copy(small / "JPEGImages" / "a.jpg", small / "JPEGImages" / f"{name}.jpg")
    sentence = (
        rf"train\.txt names 6 images, of which 4 have no {kind} in .*{folder}: b\.{ending}, x\.{ending}, y\.{ending}, …"
    )
    with pytest.raises(CosegError, match=sentence):
        read(small)


def test_mask_of_another_size(small):
    Image.fromarray(np.zeros((32, 24), np.uint8)).save(mask(small, "b"))
    with pytest.raises(CosegError, match=r"b\.png is 24x32 pixels, but its image b\.jpg is 32x24"):
        read(small)


@pytest.mark.parametrize("label", [21, 254])
def test_mask_with_an_unknown_label(small, label):
    labels = np.zeros(SIZE, np.uint8)
    labels[3, 4] = label
    Image.fromarray(labels).save(mask(small, "a"))
    with pytest.raises(
        CosegError, match=rf"a\.png has pixels that are labelled {label}, but labels are 0 .* correct the mask"
    ):
        read(small)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1"])
def test_mask_that_is_coloured(small, mode):
    with Image.open(mask(small, "a")) as file:
        coloured = file.convert("RGBA").convert(mode)
    coloured.save(mask(small, "a"))
    with pytest.raises(CosegError, match=rf"a\.png is a picture of mode {mode}, but a mask must be a palette"):
        read(small)


@pytest.mark.parametrize("content", ["half", "text", "nothing"])
def test_damaged_files(small, content):
    catalog = read(small)
    for path, access in ((mask(small, "b"), catalog.labels), (small / "JPEGImages" / "b.jpg", catalog.image)):
        whole = path.read_bytes()
        path.write_bytes({"half": whole[: len(whole) // 2], "text": b"not an image", "nothing": b""}[content])
        with pytest.raises(CosegError, match=rf"{path.name} cannot be decoded .*Unpack it again"):
            access(1)
        if path.suffix == ".png" or content != "half":  # of an image only the header is looked at when reading
            with pytest.raises(CosegError, match=rf"{path.name} cannot be decoded"):
                read(small)
        path.write_bytes(whole)
    assert read(small).ids == ("a", "b")


def test_file_that_went_away(small):
    catalog = read(small)
    mask(small, "a").unlink()
    with pytest.raises(CosegError, match=r"a\.png is missing"):
        catalog.labels(0)
