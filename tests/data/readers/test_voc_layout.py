from pathlib import Path

import pytest

from coseg.data.readers.voc import VocReader
from coseg.data.readers.voc_layout import check_files, find_folder, image_path, mask_path, read_list
from coseg.errors import CosegError

PARTS = ("ImageSets", "JPEGImages", "SegmentationClass")


def made(root, *parts):
    for part in parts:
        (root / part).mkdir(parents=True)
    return root


def test_paths():
    assert image_path(Path("v"), "a") == Path("v/JPEGImages/a.jpg")
    assert mask_path(Path("v"), "a") == Path("v/SegmentationClass/a.png")


# the folder


@pytest.mark.parametrize("where", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_folder_is_found_below_root(tmp_path, where):
    folder = made(tmp_path / where, *PARTS)
    assert find_folder(tmp_path) == folder


@pytest.mark.parametrize("root", [None, ""])
def test_no_root(root):
    with pytest.raises(
        CosegError, match=r"(?s)dataset\.root=.*COSEG_VOC_ROOT.*VOCtrainval_11-May-2012\.tar.*JPEGImages/"
    ):
        VocReader(root).read("train")


def test_root_that_is_no_folder(tmp_path):
    with pytest.raises(CosegError, match=r"(?s)nowhere is not a folder\. Set dataset\.root.*SegmentationClass/"):
        find_folder(tmp_path / "nowhere")


def test_root_that_holds_something_else(tmp_path):
    with pytest.raises(CosegError, match=r"has no folder ImageSets and no JPEGImages and no SegmentationClass\."):
        find_folder(tmp_path)


def test_what_is_nearest_to_the_layout_is_named(tmp_path):
    nearest = made(tmp_path / "VOCdevkit" / "VOC2012", *PARTS[:2])
    with pytest.raises(CosegError, match=rf"{nearest} has no folder SegmentationClass\."):
        find_folder(tmp_path)


# lists


def test_list_with_windows_line_ends_and_blank_lines(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\n\r\n b \r\n")
    assert read_list(path) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"train\.txt is missing"),
        (b"\n \n", r"train\.txt is empty: write one image id a line"),
        (b"a\nb\na\n", r"train\.txt names 1 images more than once: a\. Remove"),
        (b"\xff\xfe\x00", r"train\.txt cannot be read .*: it must be a text file"),
    ],
)
def test_bad_list(tmp_path, content, sentence):
    path = tmp_path / "train.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CosegError, match=sentence):
        read_list(path)


# files


@pytest.mark.parametrize(("number", "named"), [(1, r"a\.jpg\."), (3, r"a\.jpg, b\.jpg, c\.jpg\."), (4, r"c\.jpg, …\.")])
def test_at_most_three_missing_files_are_named(tmp_path, number, named):
    made(tmp_path, *PARTS)
    with pytest.raises(CosegError, match=rf"list names {number} images, of which {number} have no image in .*{named}"):
        check_files(tmp_path, "abcd"[:number], Path("list"))


def test_files_that_are_there(tmp_path):
    made(tmp_path, *PARTS)
    for path in (image_path(tmp_path, "a"), mask_path(tmp_path, "a")):
        path.touch()
    check_files(tmp_path, ["a"], Path("list"))
