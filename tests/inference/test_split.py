"""Photographs copied into folders."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
from test_exemplar import made

from coseg.errors import CosegError
from coseg.files.writing import temporary_name
from coseg.inference.cosegmentation import Cosegmentation, Segment
from coseg.inference.split import SplitFolder, copy_names, copy_whole, require_likelihoods


def result(*belongs: float, common: float = math.nan) -> Cosegmentation:
    return Cosegmentation(
        tuple(Segment("x", (2, 2), np.ones((2, 2), np.float16), belongs=likely) for likely in belongs), common
    )


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "album" / name for name in ("a.jpg", "b.jpg", "c d.PNG", "e.webp")]
    paths[0].parent.mkdir()
    for k, path in enumerate(paths):
        path.write_bytes(bytes([k]) * 1000)
        os.utime(path, (1e9 + k, 1e9 + k))
    return paths


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def split_folder(paths: list[Path], folder: Path, problems: list[str] | None = None, **options: object) -> SplitFolder:
    names = [path.stem for path in paths]
    return SplitFolder(folder, paths, names, [].append if problems is None else problems.append, **options)  # type: ignore[arg-type]


def test_three_levels_byte_for_byte(photographs: list[Path], tmp_path: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime) for path in photographs}
    split = split_folder(photographs, tmp_path / "s")
    copies = split.belonging([0, 2, 3], result(0.9, 0.5, 0.25))
    assert written(tmp_path / "s") == ["belongs/a.jpg", "does_not_belong/e.webp", "unsure/c d.PNG"]
    for place, copy in copies.items():
        assert (Path(copy).read_bytes(), Path(copy).stat().st_mtime) == before[photographs[place]]
    assert {path: (path.read_bytes(), path.stat().st_mtime) for path in photographs} == before
    assert "1 in unsure" in split.sentence() and split.copies["belongs"] == 1


def test_a_pair_goes_by_what_it_shares(photographs: list[Path], tmp_path: Path) -> None:
    split_folder(photographs, tmp_path / "s").belonging([0, 1], result(math.nan, math.nan, common=0.8))
    assert written(tmp_path / "s") == ["belongs/a.jpg", "belongs/b.jpg"]


def test_groups_and_objects_have_folders(photographs: list[Path], tmp_path: Path) -> None:
    groups = split_folder(photographs, tmp_path / "g", groups=True)
    groups.group([0, 2], 1)
    groups.group([1], None)
    assert written(tmp_path / "g") == ["alone/b.jpg", "group_1/a.jpg", "group_1/c d.PNG"]
    objects = split_folder(photographs, tmp_path / "o", objects=["x", "y"])
    objects.belonging([0], result(0.9), "x")
    objects.belonging([0], result(0.1), "y")
    assert written(tmp_path / "o") == ["x/belongs/a.jpg", "y/does_not_belong/a.jpg"]


def test_nothing_is_replaced(photographs: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "s"
    (folder / "unsure").mkdir(parents=True)
    (folder / "unsure" / "a.jpg").write_text("mine")
    (folder / "belongs").write_text("a file")
    with pytest.raises(CosegError, match="1 more"):
        split_folder(photographs, folder)
    split_folder(photographs, folder, groups=True)
    (folder / "group_7").mkdir()
    (folder / "group_7" / "b.jpg").touch()
    with pytest.raises(CosegError, match="group_7"):
        split_folder(photographs, folder, groups=True)
    with pytest.raises(CosegError, match="is in"):
        split_folder(photographs, photographs[0].parent)
    assert (folder / "unsure" / "a.jpg").read_text() == "mine"


def test_a_command_that_was_stopped_keeps_its_copies(photographs: list[Path], tmp_path: Path) -> None:
    first = split_folder(photographs, tmp_path / "s").belonging([0, 2], result(0.9, 0.5))
    again = split_folder(photographs, tmp_path / "s", resumed=True)
    assert again.belonging([0, 2, 3], result(0.9, 0.5, 0.9)) == first | {3: str(tmp_path / "s" / "belongs" / "e.webp")}
    Path(first[0]).write_bytes(b"something else")
    with pytest.raises(CosegError, match=re.escape(first[0])):
        split_folder(photographs, tmp_path / "s", resumed=True)


def test_what_killed_processes_left_is_removed(photographs: list[Path], tmp_path: Path) -> None:
    folders = [tmp_path / "s" / "x" / "unsure", tmp_path / "s" / "group_3"]
    for k, folder in enumerate(folders):
        folder.mkdir(parents=True)
        left_over = folder / temporary_name("a", ".jpg").replace(f".{os.getpid()}-", ".4194303-")
        left_over.touch()
        os.utime(left_over, (0, 0))
        (folder / "kept.txt").touch()
        split_folder(photographs, tmp_path / "s", groups=bool(k), objects=["x"])
        assert written(folder) == ["kept.txt"]


def test_what_cannot_be_copied_is_reported_and_the_rest_is_copied(photographs: list[Path], tmp_path: Path) -> None:
    problems: list[str] = []
    split = split_folder(photographs, tmp_path / "s", problems)
    photographs[1].unlink()
    (tmp_path / "s" / "belongs").mkdir(parents=True)
    (tmp_path / "s" / "belongs" / "c d.PNG").write_text("since then")
    assert list(split.belonging([0, 1, 2], result(0.9, 0.9, 0.9))) == [0]
    assert len(problems) == 2 and "b.jpg" in problems[0] and "exists" in problems[1]
    assert written(tmp_path / "s") == ["belongs/a.jpg", "belongs/c d.PNG"]
    with pytest.raises(CosegError, match="exists"):
        copy_whole(photographs[0], tmp_path / "s" / "belongs" / "a.jpg")


def test_names_of_copies() -> None:
    paths = [Path("a/x.jpg"), Path("b/X.JPG"), Path("x.png"), Path(f"{'y' * 30}.jpg")]
    assert copy_names(paths, ["a-x", "b-X", "x", "y-1"], 20) == ("a-x.jpg", "b-X.JPG", "x.png", "y-1.jpg")
    assert len(set(copy_names([Path("a/x.jpg"), Path("b/x.jpg"), Path("x-2.jpg")], ["x", "x", "x-2"], 99))) == 3


def test_a_model_without_likelihoods_is_refused() -> None:
    with pytest.raises(CosegError, match="calibration"):
        require_likelihoods(made(), pair=True)
    require_likelihoods(made(1.0), pair=False)
