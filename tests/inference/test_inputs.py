"""Which files are meant, and what their results are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coseg.errors import CosegError
from coseg.imaging.read import SUFFIXES
from coseg.inference.inputs import OTHER_SUFFIXES, collect, exemplar_word


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``album/`` in the working directory, with pictures, other files and a folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "album"
    for name in ("10.jpg", "2.JPG", "b.webp", "notes.txt", ".hidden.jpg", "deep/x.png", ".git/y.png", "empty/z.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(*words: str, recursive: bool = False, leave_out: str = "coseg-output") -> tuple[list[str], tuple[str, ...]]:
    inputs = collect(words, recursive, Path(leave_out))
    return [path.as_posix() for path in inputs.paths], inputs.problems


def test_a_folder_gives_its_pictures_as_people_count(album: Path) -> None:
    assert found("album") == (["album/2.JPG", "album/10.jpg", "album/b.webp"], ())


def test_recursive(album: Path) -> None:
    assert found("album", recursive=True)[0] == ["album/2.JPG", "album/10.jpg", "album/b.webp", "album/deep/x.png"]


def test_patterns(album: Path) -> None:
    assert found("album/*.[jw]*") == (["album/10.jpg", "album/b.webp"], ())
    assert found("album/**/*.png") == (["album/deep/x.png"], ())
    assert found("alb*")[0] == ["album/2.JPG", "album/10.jpg", "album/b.webp"]
    (album / "a[1].jpg").touch()
    assert found("album/a[1].jpg")[0] == ["album/a[1].jpg"]


def test_a_file_that_is_named_may_have_any_name(album: Path) -> None:
    assert found("album/notes.txt") == (["album/notes.txt"], ())


def test_what_is_not_there_is_told_and_the_rest_taken(album: Path) -> None:
    paths, problems = found("nowhere.jpg", "album/empty", "*.png", "album/10.jpg")
    assert paths == ["album/10.jpg"]
    assert [problem.replace(":", "").split()[0] for problem in problems] == ["nowhere.jpg", "album/empty", "*.png"]
    assert "missing" in problems[0] and "--recursive" in problems[1]


def test_a_file_that_is_given_twice_is_taken_once(album: Path) -> None:
    paths, problems = found("album/b.webp", "album", str(album / "b.webp"))
    assert paths == ["album/b.webp", "album/2.JPG", "album/10.jpg"]
    (problem,) = problems
    assert problem.startswith("album/b.webp ") and "3" in problem


def test_results_are_no_inputs(album: Path) -> None:
    (album / "out").mkdir()
    (album / "out" / "b_mask.png").touch()
    assert "album/out/b_mask.png" not in found("album", recursive=True, leave_out="album/out")[0]
    paths, (problem,) = found("album/out", leave_out="album/out")
    assert paths == [] and problem.startswith("album/out ") and "results" in problem


def test_another_name_is_told(album: Path) -> None:
    inputs = collect(["album/b.webp", "album/deep/x.png"])
    assert inputs.names == ("b", "x")
    (album / "x.png").touch()
    inputs = collect(["album/x.png", "album/deep/x.png"])
    assert inputs.names == ("album-x", "deep-x")
    assert inputs.problems[1].startswith("album/deep/x.png ") and "deep-x" in inputs.problems[1].split("x.png ")[1]


# what is not as it seems


def test_a_broken_link_is_told_wherever_it_is(album: Path) -> None:
    (album / "a.jpg").symlink_to("/nowhere/a.jpg")
    (album / "notes-link.txt").symlink_to("/nowhere/notes.txt")
    for words in (("album",), ("album/*.jpg",), ("album/a.jpg", "album/10.jpg")):
        paths, problems = found(*words)
        assert "album/10.jpg" in paths and "album/a.jpg" not in paths
        (problem,) = problems
        assert problem.startswith("album/a.jpg ") and "link" in problem and " /nowhere/a.jpg" in problem
    (album / "2020").symlink_to("/nowhere/2020")
    assert len(found("album")[1]) == 1
    assert len(found("album", recursive=True)[1]) == 3  # each might have been a folder


def test_a_link_to_itself(album: Path) -> None:
    (album / "a.jpg").symlink_to("a.jpg")
    (problem,) = found("album")[1]
    assert problem.startswith("album/a.jpg ") and "itself" in problem


def test_pipes_and_devices_are_told(album: Path) -> None:
    os.mkfifo(album / "pipe.jpg")
    assert [problem.split()[0] for problem in found("album", "/dev/null")[1]] == ["album/pipe.jpg", "/dev/null"]


def test_pictures_of_other_formats_are_named_and_counted_and_other_files_not(album: Path) -> None:
    for name in ("1.CR2", "2.svg", "3.eps", "10.psd", "film.mov", "edit.aae"):
        (album / name).touch()
    paths, (problem,) = found("album")
    assert len(paths) == 3
    assert "4 " in problem and "1.CR2, 2.svg, 3.eps" in problem and "10.psd" not in problem
    (album / "deep" / "one.jxl").touch()
    (problem,) = found("album/deep")[1]
    assert problem.startswith("album/deep ") and "one.jxl" in problem


@pytest.mark.parametrize(
    "begin", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ", b"II*\0"]
)
def test_a_picture_whose_name_is_that_of_none_is_told(album: Path, begin: bytes) -> None:
    (album / "IMG_0001").write_bytes(begin + b"more")
    (album / "10.jpg.1").write_bytes(begin)
    (problem,) = found("album")[1]
    assert "2 " in problem and "10.jpg.1, IMG_0001" in problem


def test_no_suffix_is_of_both_kinds() -> None:
    assert not SUFFIXES & OTHER_SUFFIXES
    assert {".cr2", ".svg", ".eps", ".heic", ".jxl"} <= OTHER_SUFFIXES


def test_the_documentation_has_the_suffixes() -> None:
    text = (Path(__file__).parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")
    listed = next(line for line in text.splitlines() if line.startswith("| a folder |"))
    assert {f".{word}" for word in listed.split("`")[1].split()} == SUFFIXES


def test_recursive_follows_linked_folders_and_loops_end(album: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.jpg").touch()
    (tmp_path / "elsewhere" / "back").symlink_to(album)
    (album / "2020").symlink_to("../elsewhere")
    (album / "deep" / "up").symlink_to("..")
    expected = ["album/2.JPG", "album/10.jpg", "album/2020/c.jpg", "album/b.webp", "album/deep/x.png"]
    assert found("album", recursive=True) == (expected, ())
    assert sorted(found("album/**/*.jpg")[0]) == ["album/10.jpg", "album/2020/c.jpg"]


def test_the_results_are_left_out_by_any_way_to_them(album: Path) -> None:
    (album / "out").mkdir()
    (album / "out" / "b_mask.png").touch()
    (album / "link").symlink_to("out")
    assert found("album", recursive=True, leave_out="album/out")[0][-1] == "album/deep/x.png"
    assert found("album/**/*.png", leave_out="album/out")[0] == ["album/deep/x.png"]
    assert found("album/*/*.png", leave_out="album/out")[0] == ["album/deep/x.png"]
    assert found("album/out/*.png", leave_out="album/out")[0] == ["album/out/b_mask.png"]  # meant


def test_an_unreadable_folder_is_told(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listdir = os.listdir

    def refused(folder: Path) -> list[str]:
        if Path(folder).name == "deep":
            raise PermissionError(13, "Permission denied")
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refused)
    for words, recursive in ((("album", "album/deep"), False), (("album/*/*.png", "album"), False), (("album",), True)):
        problems = found(*words, recursive=recursive)[1]
        assert problems[0].startswith("album/deep ") and "Permission denied" in problems[0]


@pytest.mark.parametrize("word", ["", "a\0b.jpg"])
def test_an_empty_name_is_no_folder(album: Path, word: str) -> None:
    """As of a variable that is not set: the working directory is not meant."""
    paths, (problem,) = found(word, "album/10.jpg")
    assert paths == ["album/10.jpg"] and "empty" in problem


def test_the_home_folder(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(album))
    assert found("~/10.jpg")[0] == [f"{album.as_posix()}/10.jpg"]
    assert found("~/*.jpg")[0] == [f"{album.as_posix()}/10.jpg"]
    (problem,) = found("~nobody-of-this-name/a.jpg")[1]
    assert "~nobody-of-this-name/a.jpg" in problem and "missing" in problem
    Path("~here.jpg").touch()
    assert found("~here.jpg")[0] == ["~here.jpg"]


def test_a_long_name_is_shortened_and_told(album: Path) -> None:
    (album / f"{'é' * 120}.jpg").touch()
    inputs = collect(["album/é*"], longest=100)
    (name,), (problem,) = inputs.names, inputs.problems
    assert len(os.fsencode(name)) <= 100 and name.startswith("é" * 40)
    assert "long" in problem and name in problem


def test_the_words_of_an_exemplar(tmp_path: Path) -> None:
    photo, odd = tmp_path / "a.jpg", tmp_path / "a:1,2.jpg"
    photo.touch()
    odd.touch()
    assert exemplar_word(f"{photo}:m.png") == (photo, Path("m.png"))
    assert exemplar_word(f"{photo}:1,2.5") == (photo, (1.0, 2.5))
    assert exemplar_word(f"{photo}: 1, 2, 30, 40") == (photo, (1.0, 2.0, 30.0, 40.0))
    assert exemplar_word(f"{odd}:-3,4") == (odd, (-3.0, 4.0))
    assert exemplar_word(f"{photo}:C:/m.png") == (photo, Path("C:/m.png"))
    for word in (
        "",
        ":",
        f"{photo}",
        f"{photo}:",
        f"{photo}:1",
        f"{photo}:1,2,3",
        f"{photo}:1,,2",
        f"{tmp_path}/b:1,2",
    ):
        with pytest.raises(CosegError):
            exemplar_word(word)
