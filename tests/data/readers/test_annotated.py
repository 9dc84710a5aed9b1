"""What the readers of people's own annotations share."""

from __future__ import annotations

import pytest
from facts import naming

from coseg.data.readers.annotated import chosen_classes, local_path, presence_table
from coseg.errors import CosegError


def test_chosen_classes_have_the_order_of_the_data_set() -> None:
    names = ["cat", "dog", "cow"]
    assert chosen_classes(names, "all", "a") == (("cat", "dog", "cow"), {"cat": 1, "dog": 2, "cow": 3})
    assert chosen_classes(names, ["cow", "cat"], "a") == (("cat", "cow"), {"cat": 1, "dog": 3, "cow": 2})
    assert chosen_classes(names, "dog", "a")[0] == ("dog",)
    for classes in ([], ["cow", "dgo"]):
        with pytest.raises(CosegError, match=naming("dataset.classes")):
            chosen_classes(names, classes, "a")


def test_as_many_classes_as_labels_can_tell_apart() -> None:
    names = [f"c{k}" for k in range(300)]
    assert len(chosen_classes(names[:254], "all", "a")[0]) == 254
    assert chosen_classes(names, names[:253], "a")[1]["c299"] == 254
    for classes in ("all", names[:254]):
        with pytest.raises(CosegError, match=naming("a", 300, 253, "dataset.classes")):
            chosen_classes(names, classes, "a")


def test_presence_leaves_other_objects_and_void_out() -> None:
    assert presence_table([{1, 3, 255}, set(), {2}], 2).tolist() == [[True, False], [False, False], [False, True]]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.jpg", "a.jpg"), ("day\\b.jpg", "day/b.jpg"), ("./day/c.jpg", "day/c.jpg"), ("../a.jpg", None),
        ("a\0.jpg", None), ("/a.jpg", None), ("C:\\a.jpg", None), ("C:a.jpg", None), ("\\\\host\\a.jpg", None), 
        ("", None), ("day/..", None),
    ],
)  # fmt: skip
def test_paths_stay_below_their_folder(name: str, path: str | None) -> None:
    local = local_path(name)
    assert (local and local.as_posix()) == path
