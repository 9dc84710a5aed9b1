import csv
import pickle
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from facts import mentions, naming
from layouts.voc import write_voc
from PIL import Image

from coseg.data.catalog import Note
from coseg.data.pair_index import PairIndex
from coseg.data.readers.voc import VOC_CLASSES, VocReader
from coseg.errors import CosegError, DamagedFile

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
    with pytest.raises(CosegError, match=naming("split", "voc", "'test'", "train, val")):
        read(small, "test")


@pytest.mark.parametrize("split", ["val", "test"])
def test_own_list_is_not_split(small, split):
    with pytest.raises(CosegError, match=naming("val.txt", 2, 1449, "dataset.split_val=false")):
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
    with pytest.raises(
        CosegError,
        match=naming("train.txt", 6, 4, f"no {kind}", folder, f"b.{ending}, x.{ending}, y.{ending}, …"),
    ):
        read(small)


def test_mask_of_another_size(small):
    Image.fromarray(np.zeros((32, 24), np.uint8)).save(mask(small, "b"))
    with pytest.raises(CosegError, match=naming("b.png", "24x32", "b.jpg", "32x24")):
        read(small)


@pytest.mark.parametrize("label", [21, 254])
def test_mask_with_an_unknown_label(small, label):
    labels = np.zeros(SIZE, np.uint8)
    labels[3, 4] = label
    Image.fromarray(labels).save(mask(small, "a"))
    with pytest.raises(CosegError, match=naming("a.png", label, 0, 20)):
        read(small)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1"])
def test_mask_that_is_coloured(small, mode):
    with Image.open(mask(small, "a")) as file:
        coloured = file.convert("RGBA").convert(mode)
    coloured.save(mask(small, "a"))
    with pytest.raises(CosegError, match=naming("a.png", f"mode {mode}", "palette")):
        read(small)


@pytest.mark.parametrize("content", ["half", "text", "nothing"])
def test_damaged_files(small, content):
    catalog = read(small)
    for path, access in ((mask(small, "b"), catalog.labels), (small / "JPEGImages" / "b.jpg", catalog.image)):
        whole = path.read_bytes()
        path.write_bytes({"half": whole[: len(whole) // 2], "text": b"not an image", "nothing": b""}[content])
        with pytest.raises(CosegError, match=naming(path.name, "decode", "again")):
            access(1)
        if path.suffix == ".png" or content != "half":  # of an image only the header is looked at when reading
            with pytest.raises(CosegError, match=naming(path.name, "decode")):
                read(small)
        path.write_bytes(whole)
    assert read(small).ids == ("a", "b")


def test_file_that_went_away(small):
    catalog = read(small)
    mask(small, "a").unlink()
    with pytest.raises(CosegError, match=naming("a.png", "missing")):
        catalog.labels(0)


# files of other names


def renamed(root, change):
    """The small data set with other ids; ``change(id)`` is the path of the image below JPEGImages."""
    for name in "abcd":
        for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
            new = root / folder / change(name)
            new = new if folder == "JPEGImages" else new.with_suffix(".png")
            new.parent.mkdir(parents=True, exist_ok=True)
            (root / folder / f"{name}{suffix}").rename(new)
    for split, names in (("train", "ab"), ("val", "cd")):
        ids = [change(name).rsplit(".", 1)[0] for name in names]
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(ids), encoding="utf-8")


@pytest.mark.parametrize("change", ["{}.JPG", "{}.png", "{}.jpeg", "{}.jfif", "day1/{}.jpg", "day 1/b/img.{}.JPG"])
def test_any_suffix_and_folders_in_ids(small, change):
    before = read(small, "val")
    pixels, labels = before.image(0), before.labels(0)
    renamed(small, change.format)
    for split in ("train", "val"):
        catalog = pickle.loads(pickle.dumps(read(small, split)))
        assert len(catalog) == 2
        assert not list(VocReader(small, split_val=False).problems(split))
    assert catalog.ids[0] == change.format("c").rsplit(".", 1)[0]
    assert np.array_equal(catalog.image(0), pixels)
    assert np.array_equal(catalog.labels(0), labels)
    assert [path.is_file() for path in catalog.files()] == [True] * 4


def test_ids_in_another_unicode_form_than_the_files(small):
    renamed(small, lambda name: unicodedata.normalize("NFD", f"café/é{name}.jpg"))
    listed = small / "ImageSets" / "Segmentation" / "train.txt"
    listed.write_text(unicodedata.normalize("NFC", listed.read_text(encoding="utf-8")), encoding="utf-8")
    assert len(read(small)) == 2


def test_an_id_with_two_images_is_refused(small):
    Image.new("RGB", SIZE[::-1]).save(small / "JPEGImages" / "a.png")
    Image.new("RGB", SIZE[::-1]).save(small / "JPEGImages" / "c.png")  # in no list that is read
    with pytest.raises(CosegError, match=naming("both", "a.jpg", "a.png")):
        read(small)
    assert any(mentions(line, "both", "a.jpg", "a.png") for line in VocReader(small, split_val=False).problems("train"))


@pytest.mark.parametrize(
    ("listed", "file", "facts"),
    [
        ("a.jpg", None, ("suffix",)),
        ("IMG", "img.jpg", ("img.jpg", "letters")),
        ("x", "x.heic", ("x.heic", "format")),
        ("../a", None, ("JPEGImages", "below")),
        ("/etc/passwd", None, ("JPEGImages", "below")),
    ],
)
def test_what_is_wrong_with_an_id_is_told(small, listed, file, facts):
    (small / "ImageSets" / "Segmentation" / "train.txt").write_text(f"a\n{listed}\n")
    if file is not None:
        (small / "JPEGImages" / file).write_bytes(b"x")
    with pytest.raises(CosegError, match=naming(listed, *facts)):
        read(small)


def test_damaged_files_are_left_out_where_it_is_asked_for(small):
    image = small / "JPEGImages" / "a.jpg"
    image.write_bytes(image.read_bytes()[:-100])
    (small / "JPEGImages" / "c.jpg").unlink()
    (small / "JPEGImages" / "c.jpg").symlink_to("/nowhere.jpg")
    assert len(read(small)) == 2  # the header is whole
    with pytest.raises(DamagedFile, match=naming("c.jpg", "link", "/nowhere.jpg")):
        read(small, "val")
    for split, left, facts in (("train", "b", ("a.jpg", "decode")), ("val", "d", ("c.jpg", "link"))):
        catalog, sentences = VocReader(small, split_val=False).read_sound(split)
        assert catalog.ids == (left,)
        assert len(sentences) == 1 and mentions(sentences[0], *facts)
    mask(small, "b").write_bytes(b"no")
    with pytest.raises(CosegError, match=naming("none", 2)):
        VocReader(small, split_val=False).read_sound("train")


def test_a_black_photograph_is_noted(small):
    Image.new("RGB", SIZE[::-1]).save(small / "JPEGImages" / "a.jpg")
    (note,) = VocReader(small, split_val=False).problems("train")
    assert isinstance(note, Note) and mentions(note, "a.jpg", "black")


def test_classes_that_training_leaves_out_are_in_a_split_of_their_own(published):
    names = ("aeroplane", "cow")
    reader, whole = VocReader(published, unseen_classes=names), VocReader(published)
    chosen = np.isin(VOC_CLASSES, names)
    assert reader.splits == ("train", "val", "test", "unseen")
    for split in ("train", "val", "test"):
        presence = whole.read(split).presence
        catalog = reader.read(split)
        assert len(catalog) == (~presence[:, chosen].any(1)).sum()
        assert not catalog.presence[:, chosen].any()
    unseen, test = reader.read("unseen"), whole.read("test")
    n = test.presence[:, chosen].sum(0)
    both = test.presence[:, chosen].all(1).sum()
    assert len(PairIndex(unseen.presence)) == (n * (n - 1) // 2).sum() - both * (both - 1) // 2
    assert not unseen.presence[:, ~chosen].any()
    assert set(unseen.ids) <= set(test.ids)


def test_the_labels_of_seen_classes_stay_in_the_unseen_split(small):
    catalog = VocReader(small, split_val=False, unseen_classes=["bird"]).read("val")
    assert catalog.ids == ("d",)  # c shows a bird
    unseen = VocReader(small, split_val=False, unseen_classes=["bird"]).read("unseen")
    assert unseen.ids == ("c",)
    assert np.unique(unseen.labels(0)).tolist() == [0, 3, 20, 255]


@pytest.mark.parametrize(
    ("names", "words"),
    [(["cwo"], ("unseen_classes", "cow")), (list(VOC_CLASSES), ("unseen_classes",)), ("20", ("unseen_classes",))],
)
def test_unseen_classes_must_be_some_of_the_classes(names, words, small):
    with pytest.raises(CosegError, match=naming(*words)):
        VocReader(small, unseen_classes=names)


def test_a_split_with_no_image_left_is_an_error(small):
    with pytest.raises(CosegError, match=naming("train", "unseen_classes")):
        VocReader(small, split_val=False, unseen_classes=["tvmonitor", "train"]).read("train")
