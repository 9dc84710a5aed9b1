"""What will be written, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from coseg.errors import CosegError
from coseg.inference.targets import Targets, check_folder


def test_a_group_has_one_folder(tmp_path: Path) -> None:
    targets = Targets(tmp_path, ["a", "b"])
    assert targets.wanted(1, (0, 1)) == {
        "mask": tmp_path / "b_mask.png",
        "overlay": tmp_path / "b_overlay.jpg",
        "cutout": tmp_path / "b_cutout.png",
    }
    assert targets.sheets == [tmp_path / "sheet.png"]
    assert targets.count == 7
    assert not targets.kept


def test_pairs_have_a_folder_each(tmp_path: Path) -> None:
    targets = Targets(tmp_path, ["a", "b", "c"], ("mask",), pairs=True)
    assert targets.wanted(2, (0, 2)) == {"mask": tmp_path / "a+c" / "c_mask.png"}
    assert targets.count == 6
    assert targets.sheets == []


def test_folders_of_pairs_differ(tmp_path: Path) -> None:
    targets = Targets(tmp_path, ["a", "b+c", "a+b", "c"], ("mask",), pairs=True)
    folders = {targets.wanted(j, (i, j))["mask"].parent for i in range(4) for j in range(i + 1, 4)}
    assert len(folders) == 6


def test_what_exists_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    for name in ("a_mask.png", "sheet.png", "scores.json"):
        (tmp_path / name).touch()
    scores = tmp_path / "scores.json"
    targets = Targets(tmp_path, ["a", "b"], others=[scores])
    assert targets.kept == [tmp_path / "a_mask.png", tmp_path / "sheet.png", scores]
    assert sorted(targets.wanted(0, (0, 1))) == ["cutout", "overlay"]
    assert len(targets.wanted(1, (0, 1))) == 3
    assert targets.sheets == [None]
    assert targets.is_kept(scores)
    assert not Targets(tmp_path, ["a", "b"], overwrite=True, others=[scores]).kept


def test_trying_a_folder_leaves_it_as_it_was(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "deeper")
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    check_folder(tmp_path / "there")
    assert (tmp_path / "there").is_dir()


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(CosegError, match=r"Nothing can be written to .*file.* choose another"):
            check_folder(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
