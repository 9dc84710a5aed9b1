from pathlib import Path

import pytest
from facts import naming

from coseg.data.readers.files import read_list
from coseg.data.readers.voc import VocReader, check_files, find_folder, image_path, mask_path
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
        CosegError, match=naming("dataset.root=", "COSEG_VOC_ROOT", "VOCtrainval_11-May-2012.tar", "JPEGImages/")
    ):
        VocReader(root).read("train")


def test_root_that_is_no_folder(tmp_path):
    with pytest.raises(CosegError, match=naming("nowhere", "folder", "dataset.root", "SegmentationClass/")):
        find_folder(tmp_path / "nowhere")


def test_root_that_holds_something_else(tmp_path):
    with pytest.raises(CosegError, match=naming(tmp_path, "no folder ImageSets", "JPEGImages", "SegmentationClass")):
        find_folder(tmp_path)


def test_what_is_nearest_to_the_layout_is_named(tmp_path):
    nearest = made(tmp_path / "VOCdevkit" / "VOC2012", *PARTS[:2])
    with pytest.raises(CosegError, match=naming(nearest, "no folder SegmentationClass")):
        find_folder(tmp_path)


# lists


def test_list_with_windows_line_ends_and_blank_lines(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\n\r\n b \r\n")
    assert read_list(path) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (None, ("missing",)),
        (b"\n \n", ("empty",)),
        (b"a\nb\na\n", (1, "once: a")),
        (b"\xff\xfe\x00", ("text file",)),
    ],
)
def test_bad_list(tmp_path, content, facts):
    path = tmp_path / "train.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CosegError, match=naming("train.txt", *facts)):
        read_list(path)


# files


@pytest.mark.parametrize(("number", "named"), [(1, "a.jpg."), (3, "a.jpg, b.jpg, c.jpg."), (4, "c.jpg, ….")])
def test_at_most_three_missing_files_are_named(tmp_path, number, named):
    made(tmp_path, *PARTS)
    with pytest.raises(CosegError, match=naming("list", number, "no image", named)):
        check_files(tmp_path, "abcd"[:number], Path("list"))


def test_files_that_are_there(tmp_path):
    made(tmp_path, *PARTS)
    for path in (image_path(tmp_path, "a"), mask_path(tmp_path, "a")):
        path.touch()
    check_files(tmp_path, ["a"], Path("list"))
