"""Folders and patterns, as a shell reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from coseg.inference.folders import (
    expand,
    home_expanded,
    identity,
    is_object_name,
    listing,
    natural_order,
    trouble,
    walk,
)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder with files 1, 2, 10 and one that is hidden, and two folders, one of them with a bracket in its name."""
    album = tmp_path / "album"
    for name in ("2.jpg", "10.jpg", "1.jpg", ".hidden.jpg", "deep/3.jpg", "set [1]/4.jpg"):
        path = album / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return album


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_numbers_are_sorted_by_value() -> None:
    assert sorted([Path("10.jpg"), Path("2.jpg"), Path("B1"), Path("a2")], key=natural_order) == [
        Path("2.jpg"), Path("10.jpg"), Path("a2"), Path("B1")
    ]  # fmt: skip


def test_a_listing_has_what_is_not_hidden(album: Path) -> None:
    assert names(listing(album, pytest.fail).paths, album) == ["1.jpg", "2.jpg", "10.jpg", "deep", "set [1]"]
    problems: list[str] = []
    assert listing(album / "gone", problems.append).paths == []
    assert len(problems) == 1 and "gone" in problems[0]


def test_a_walk_enters_each_folder_once(album: Path) -> None:
    (album / "deep" / "up").symlink_to(album)
    folders = [listed.folder for listed in walk(album, pytest.fail)]
    assert names(folders, album) == [".", "deep", "set [1]"]
    assert names([listed.folder for listed in walk(album, pytest.fail, album / "deep")], album) == [".", "set [1]"]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*.jpg", ["1.jpg", "2.jpg", "10.jpg"]),
        ("?.jpg", ["1.jpg", "2.jpg"]),
        (".*.jpg", [".hidden.jpg"]),
        ("set [1]/*.jpg", ["set [1]/4.jpg"]),
        ("**/*.jpg", ["1.jpg", "2.jpg", "10.jpg", "deep/3.jpg", "set [1]/4.jpg"]),
        ("*.png", []),
    ],
)
def test_patterns(album: Path, pattern: str, matches: list[str]) -> None:
    assert names(expand(album / pattern, pytest.fail), album) == matches


def test_what_is_no_file_has_a_reason(album: Path) -> None:
    assert trouble(album / "1.jpg") is None
    assert "missing" in str(trouble(album / "gone.jpg"))
    (album / "broken.jpg").symlink_to(album / "gone.jpg")
    assert "broken link" in str(trouble(album / "broken.jpg"))
    (album / "loop.jpg").symlink_to(album / "loop.jpg")
    assert "link" in str(trouble(album / "loop.jpg"))
    assert trouble(album) is not None


def test_a_link_has_the_identity_of_its_target(album: Path) -> None:
    (album / "link.jpg").symlink_to(album / "1.jpg")
    assert identity(album / "link.jpg") == identity(album / "1.jpg") != identity(album / "2.jpg")


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert home_expanded("~/a.jpg") == tmp_path / "a.jpg"
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "a.jpg").touch()
    assert home_expanded("~/a.jpg") == Path("~/a.jpg")


@pytest.mark.parametrize("name", ["a", "x_2-y z", "größe", "cafe\u0301", "หมู", "घोड़ा", "_", "馬" * 60])
def test_names_of_objects_in_any_script(name: str) -> None:
    assert is_object_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " a",
        "a ",
        "-a",
        "a-",
        "\u0301a",
        "a/b",
        "..",
        "a.b",
        "a=b",
        "a\nb",
        "a\u202eb",
        "\ud800",
        "a" * 61,
        "𐀀" * 60 + "b",
    ],
)
def test_texts_that_are_no_names_of_objects(name: str) -> None:
    assert not is_object_name(name)
