"""Groups, images and masks in folders."""

import numpy as np
from layouts.groups import GroupItem, write_folder
from PIL import Image

from coseg.data.readers.files import chosen_groups, images_in
from coseg.data.readers.folder import FolderReader

SIZE = (12, 16)


def items(counts, truth=1, seed=0):
    """`counts` images of each group, with a square of `truth` in the middle, void above and another object below."""
    rng = np.random.default_rng(seed)
    for group, count in counts.items():
        for _ in range(count):
            labels = np.zeros(SIZE, np.uint8)
            labels[0], labels[3:8, 4:9], labels[10] = 255, truth, 2
            yield GroupItem(group, rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), labels)


def test_chosen_groups():
    assert chosen_groups("all", ["a", "b"], ["a"]) == ["a", "b"]
    assert chosen_groups("test", ["a", "b"], ["b"]) == ["b"]
    assert chosen_groups(["B"], ["a", "b"], ["a"]) == ["b"]
    assert chosen_groups("b", ["a", "b"], ["a"]) == ["b"]


def test_suffixes_in_any_case_and_strays(tmp_path):
    write_folder(tmp_path, items({"cat": 2}))
    images = tmp_path / "cat" / "images"
    (images / "0001.jpg").rename(images / "0001.JPG")
    Image.open(images / "0002.jpg").save(images / "0002.BmP", format="BMP")
    (images / "0002.jpg").unlink()
    (tmp_path / "cat" / "Masks").mkdir()
    for path in (tmp_path / "cat" / "masks").iterdir():
        path.rename(tmp_path / "cat" / "Masks" / path.name.replace("png", "PNG"))
    (tmp_path / "cat" / "masks").rmdir()
    for stray in ("Thumbs.db", ".hidden.jpg", "notes.txt"):
        (images / stray).write_bytes(b"stray")
    (images / "folder.jpg").mkdir()
    assert FolderReader(tmp_path).read("test").ids == ("cat/0001", "cat/0002")
    assert list(images_in(images)) == ["0001", "0002"]
