"""Folders of one's own as they come: other formats, names and masks, and what a check tells of them."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from facts import mentions, naming
from PIL import Image, ImageDraw, ImageFilter

from coseg.data.catalog import Note, without_class
from coseg.data.pair_index import PairIndex
from coseg.data.readers.files import checked_pattern, images_in, paired
from coseg.data.readers.folder import FolderReader
from coseg.data.readers.icoseg import IcosegReader
from coseg.errors import CosegError, DamagedFile


def disc(k: int) -> tuple[Image.Image, Image.Image]:
    """A red disc on noise, and its mask of 0 and 255."""
    noise = np.random.default_rng(k).normal(120, 12, (36, 48, 3)).clip(0, 255).astype(np.uint8)
    image, mask = Image.fromarray(noise), Image.new("L", (48, 36))
    for picture, fill in ((image, (220, 40, 40)), (mask, 255)):
        ImageDraw.Draw(picture).ellipse((10 + k, 8, 24 + k, 22), fill=fill)
    return image, mask


def ring(mask: Image.Image) -> Image.Image:
    """0 background, 1 object, 255 a ring of pixels to ignore."""
    inside, grown = np.array(mask) > 0, np.array(mask.filter(ImageFilter.MaxFilter(5))) > 0
    return Image.fromarray(np.where(inside, 1, np.where(grown, 255, 0)).astype(np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four images ``000.jpg`` … with masks ``000.png`` …"""
    for name in ("images", "masks"):
        (tmp_path / "things" / name).mkdir(parents=True)
    for k in range(4):
        image, mask = disc(k)
        image.save(tmp_path / "things" / "images" / f"{k:03}.jpg")
        mask.save(tmp_path / "things" / "masks" / f"{k:03}.png")
    return tmp_path / "things"


def split_problems(reader: FolderReader) -> tuple[list[str], list[str]]:
    """Problems and notes."""
    remarks = list(reader.problems(reader.splits[0]))
    return [line for line in remarks if not isinstance(line, Note)], [
        line for line in remarks if isinstance(line, Note)
    ]


# masks


def test_the_ignored_ring_is_void(root: Path) -> None:
    for k in range(4):
        ring(disc(k)[1]).save(root / "masks" / f"{k:03}.png")
    catalog = FolderReader(root).read("test")
    for k in range(4):
        assert np.array_equal(catalog.labels(k), np.array(ring(disc(k)[1])))
    assert split_problems(FolderReader(root)) == ([], [])


def test_other_masks_of_the_group_show_that_255_is_void(root: Path) -> None:
    """Alone, 0 and 255 are background and object."""
    for k in range(3):
        ring(disc(k)[1]).save(root / "masks" / f"{k:03}.png")
    catalog = FolderReader(root).read("test")
    assert set(np.unique(catalog.labels(3))) == {0, 255}
    assert catalog.presence[:, 0].tolist() == [True, True, True, False]
    problems, notes = split_problems(FolderReader(root))
    assert not problems
    assert len(notes) == 1 and mentions(notes[0], 1, 4, "003.jpg", "object")


def test_groups_are_decided_one_by_one(root: Path, tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / "own" / "rings" / name).mkdir(parents=True)
    root.rename(tmp_path / "own" / "plain")
    for k in range(2):
        disc(k)[0].save(tmp_path / "own" / "rings" / "images" / f"{k}.png")
        ring(disc(k)[1]).save(tmp_path / "own" / "rings" / "masks" / f"{k}.png")
    catalog = FolderReader(tmp_path / "own").read("test")
    assert catalog.presence.sum(0).tolist() == [4, 2]


def test_an_image_without_the_object_is_in_no_pair(root: Path) -> None:
    Image.new("L", (48, 36)).save(root / "masks" / "003.png")
    catalog = FolderReader(root).read("test")
    assert (len(catalog), len(PairIndex(catalog.presence))) == (4, 3)
    assert "1 of 4 images" in without_class(catalog)
    negatives = PairIndex(catalog.presence, common=False, empty=True)
    assert [negatives[k] for k in range(len(negatives))] == [(0, 3), (1, 3), (2, 3)]
    problems, notes = split_problems(FolderReader(root))
    assert not problems
    assert len(notes) == 1 and mentions(notes[0], 1, 4, "object")


def test_releases_show_the_object_in_every_image(root: Path, tmp_path: Path) -> None:
    for name, to in (("images", "images"), ("masks", "ground_truth")):
        (tmp_path / "i" / to).mkdir(parents=True)
        (root / name).rename(tmp_path / "i" / to / "cats")
    Image.new("L", (48, 36)).save(tmp_path / "i" / "ground_truth" / "cats" / "003.png")
    with pytest.raises(CosegError, match=naming("003.png", "no pixel", "cats")):
        IcosegReader(tmp_path / "i", ["cats"]).read("cats")


def test_a_label_map_is_refused_with_its_values(root: Path) -> None:
    values = np.repeat(np.repeat(np.arange(4, dtype=np.uint8), 12)[None], 36, 0)
    Image.fromarray(values).save(root / "masks" / "001.png")
    with pytest.raises(CosegError, match=naming("001.png", "0, 1, 2, 3", "dataset=voc")):
        FolderReader(root).read("test")


# formats, links


def test_every_format_that_is_opened_is_taken(root: Path) -> None:
    images = root / "images"
    (images / "000.jpg").rename(images / "000.jfif")
    (images / "001.jpg").rename(images / "001.JPE")
    for name in ("002.avif", "003.webp"):
        with Image.open(images / name.replace(name[3:], ".jpg")) as picture:
            picture.save(images / name)
        (images / f"{name[:3]}.jpg").unlink()
    assert len(FolderReader(root).read("test")) == 4
    assert split_problems(FolderReader(root)) == ([], [])


def test_pictures_of_other_formats_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = root / "images"
    for name in ("004.heic", "005.HEIC", "006.eps", "notes.txt", "Thumbs.db", ".DS_Store", "desktop.ini"):
        (images / name).write_bytes(b"x")
    problems, notes = split_problems(FolderReader(root))
    assert len(problems) == 1 and mentions(problems[0], 3, "004.heic")
    assert len(notes) == 1 and mentions(notes[0], 1, "notes.txt")
    with caplog.at_level(logging.WARNING):
        assert len(FolderReader(root).read("test")) == 4
    assert mentions(caplog.text, 3, "004.heic")
    for k in range(4):
        (images / f"{k:03}.jpg").unlink()
    with pytest.raises(CosegError, match=naming("no image", 3, "004.heic")):
        FolderReader(root).read("test")


def test_broken_links_are_named(root: Path) -> None:
    for k, folder in ((1, "images"), (2, "masks")):
        path = next((root / folder).glob(f"00{k}.*"))
        path.unlink()
        path.symlink_to("/nowhere/x.jpg")
    with pytest.raises(DamagedFile, match=naming("001.jpg", "link", "/nowhere/x.jpg")):
        FolderReader(root).read("test")
    problems, _ = split_problems(FolderReader(root))
    assert len(problems) == 2 and all(mentions(line, "link", "/nowhere/x.jpg") for line in problems)


def test_a_link_to_an_image_is_one(root: Path, tmp_path: Path) -> None:
    (root / "images" / "000.jpg").rename(tmp_path / "elsewhere")
    (root / "images" / "000.jpg").symlink_to(tmp_path / "elsewhere")
    assert len(FolderReader(root).read("test")) == 4


def test_damaged_files_are_left_out_where_it_is_asked_for(root: Path) -> None:
    data = (root / "images" / "001.jpg").read_bytes()
    (root / "images" / "001.jpg").write_bytes(data[:-100])  # its header is whole
    assert len(FolderReader(root).read("test")) == 4
    catalog, sentences = FolderReader(root).read_sound("test")
    assert catalog.ids == ("things/000", "things/002", "things/003")
    assert len(sentences) == 1 and mentions(sentences[0], "001.jpg", "decode")
    for name in ("images/000.jpg", "masks/003.png"):
        (root / name).write_bytes(b"no")
    with pytest.raises(CosegError, match=naming(4, 3, "damaged")):
        FolderReader(root).read_sound("test")
    Image.new("L", (5, 5)).save(root / "masks" / "002.png")
    with pytest.raises(CosegError, match=naming("002.png", "5x5")):  # a mistake, no damage
        FolderReader(root).read_sound("test")


# names


def test_names_in_two_unicode_forms_are_one(root: Path) -> None:
    (root / "images" / "000.jpg").rename(root / "images" / unicodedata.normalize("NFC", "café.jpg"))
    (root / "masks" / "000.png").rename(root / "masks" / unicodedata.normalize("NFD", "café.png"))
    assert FolderReader(root).read("test").ids[-1] == unicodedata.normalize("NFC", "things/café")
    assert split_problems(FolderReader(root)) == ([], [])
    (root / "images" / "001.jpg").rename(root / "images" / unicodedata.normalize("NFD", "café.jpg"))
    with pytest.raises(CosegError, match=naming("both", "café.jpg")):
        images_in(root / "images")


def test_a_class_in_another_unicode_form(root: Path) -> None:
    folder = root.rename(root.with_name(unicodedata.normalize("NFD", "café")))
    name = unicodedata.normalize("NFC", "café")
    (folder.parent / "all").mkdir()
    folder.rename(folder.parent / "all" / folder.name)
    assert FolderReader(folder.parent / "all", [name]).read(name).class_names == (name,)


@pytest.mark.parametrize(
    ("mask", "pattern"),
    [("{}_mask", "{stem}_mask"), ("mask_{}", "mask_{stem}"), ("{}.jpg", "{stem}.jpg.png"), ("m-{}-1", "m-{stem}-1")],
)
def test_masks_of_other_names(root: Path, mask: str, pattern: str) -> None:
    for k in range(4):
        (root / "masks" / f"{k:03}.png").rename(root / "masks" / f"{mask.format(f'{k:03}')}.png")
    with pytest.raises(CosegError) as refused:
        FolderReader(root).read("test")
    assert f"nearest: {mask.format('000')}.png" in str(refused.value)
    assert f"\"dataset.reader.mask_pattern='{pattern}'\"" in str(refused.value)
    for text in (pattern, f"{pattern.removesuffix('.png')}.png"):
        reader = FolderReader(root, mask_pattern=text)
        assert len(reader.read("test")) == 4
        assert split_problems(reader) == ([], [])
    (root / "masks" / f"{mask.format('009')}.png").write_bytes(b"x")
    assert mentions(split_problems(reader)[0][0], mask.format("009"))


def test_a_mask_whose_letters_differ_is_named(root: Path) -> None:
    (root / "images" / "000.jpg").rename(root / "images" / "IMG_0.JPG")
    (root / "masks" / "000.png").rename(root / "masks" / "img_0.png")
    with pytest.raises(CosegError, match=naming("IMG_0.JPG", "nearest: img_0.png", "to IMG_0.png")):
        FolderReader(root).read("test")


def test_a_mask_that_is_only_alike_is_named(root: Path) -> None:
    (root / "images" / "000.jpg").rename(root / "images" / "holiday-17.jpg")
    (root / "masks" / "000.png").rename(root / "masks" / "hoilday-17.png")
    with pytest.raises(CosegError, match=naming("holiday-17", "hoilday-17.png")):
        paired(root / "images", root / "masks")


@pytest.mark.parametrize("pattern", ["mask", "", "{stem}_{stem}", "{name}_mask", "../{stem}", "{stem}{}"])
def test_a_pattern_that_is_none(pattern: str) -> None:
    with pytest.raises(CosegError, match="mask_pattern"):
        checked_pattern(pattern)


# pictures in which nothing can be seen


def test_pictures_that_are_almost_black_or_white_are_noted(root: Path) -> None:
    Image.new("RGB", (48, 36), (5, 5, 5)).save(root / "images" / "000.jpg")
    Image.new("RGB", (48, 36), (252, 252, 252)).save(root / "images" / "001.jpg")
    problems, notes = split_problems(FolderReader(root))
    assert not problems
    assert len(notes) == 2 and mentions(notes[0], "000.jpg", "black") and mentions(notes[1], "001.jpg", "white")
